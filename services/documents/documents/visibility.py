"""Who sees a document. One condition decides for list, get, download, delete and zip; nothing else may.

private        its uploader
own_or_admin   and whoever has documents:read:any
staff          and whoever has documents:read
subject        and the member it is about
group          and the members of one group

What the tenant does not allow (any more) opens nothing: then a document is as good as private.

Everything is bound to the human, not the place: a membership that another human holds now sees nothing of the former's.
Who has lost documents:read keeps only what concerns himself. Past a visibility there is only an opening (break-glass).
"""

from sqlalchemy import ColumnElement, and_, any_, exists, false, func, or_

from libs.common.permissions import Permission
from libs.common.tokens import Actor
from services.documents.documents.tables import Document
from services.documents.openings.tables import Opening
from services.documents.people.tables import GroupMember
from services.documents.tenants.tables import Policy


def visible(actor: Actor) -> ColumnElement[bool]:
    """What the actor may read. The tenant is the session's."""
    return and_(Document.deleted_at.is_(None), or_(mine(actor), _shown(actor), _opened(actor)))


def changeable(actor: Actor) -> ColumnElement[bool]:
    """What the actor may also rename, describe, tag and delete; who sees it, its uploader alone says."""
    if Permission.DOCUMENTS_WRITE not in actor.rights:
        return and_(Document.deleted_at.is_(None), mine(actor), _about(actor))
    admin = Document.visibility == "own_or_admin" if Permission.DOCUMENTS_READ_ANY in actor.rights else false()
    return and_(Document.deleted_at.is_(None), or_(mine(actor), and_(admin, _allowed())))


def binned(actor: Actor) -> ColumnElement[bool]:
    """What stands in the actor's recycle bin."""
    return and_(Document.deleted_at.is_not(None), mine(actor))


def mine(actor: Actor) -> ColumnElement[bool]:
    uploaded = and_(Document.uploader_id == actor.id, Document.uploader_holder == actor.holder)
    return uploaded if Permission.DOCUMENTS_READ in actor.rights else and_(uploaded, _about(actor))


def _about(actor: Actor) -> ColumnElement[bool]:
    return and_(Document.member_id == actor.id, Document.member_holder == actor.holder)


def _shown(actor: Actor) -> ColumnElement[bool]:
    in_group = exists().where(
        GroupMember.group_id == Document.group_id, GroupMember.member_id == actor.id, GroupMember.inside
    )
    ways = [
        and_(Document.visibility == "subject", _about(actor)),
        and_(Document.visibility == "group", in_group),
    ]
    if Permission.DOCUMENTS_READ in actor.rights:
        ways.append(Document.visibility == "staff")
    if Permission.DOCUMENTS_READ_ANY in actor.rights:
        ways.append(Document.visibility == "own_or_admin")
    return and_(_allowed(), or_(*ways))


def _allowed() -> ColumnElement[bool]:
    return exists().where(Policy.tenant_id == Document.tenant_id, Document.visibility == any_(Policy.visibilities))


def _opened(actor: Actor) -> ColumnElement[bool]:
    if Permission.DOCUMENTS_BREAK_GLASS not in actor.rights:
        return false()
    return exists().where(
        Opening.member_id == Document.member_id,
        Opening.opened_by == actor.id,
        Opening.holder == actor.holder,
        Opening.until > func.now(),
    )
