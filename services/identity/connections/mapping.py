"""What a provider's claims come to here: who she is, and which roles and permission groups her groups give.

Pure: the same claims come to the same, in a test, in the preview and at a sign-in.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from libs.common.errors import Malformed
from libs.common.permissions import Role, may_grant
from libs.common.text import canonical_address, plain_name
from services.identity.connections.schemas import Mapping


class Mapped(msgspec.Struct, frozen=True):
    """email: only where it is proven. roles and permission_groups: None where the provider said nothing of groups,
    which changes nothing; empty where it said that she is in none, which takes what it gave.
    """

    subject: str
    email: str | None
    display_name: str
    locale: str | None
    roles: list[str] | None
    permission_groups: list[str] | None
    groups: list[str] | None
    remarks: list[str]
    """What keeps her out, or will surprise: keys of texts, `error.remark.<one of these>`."""


def map_claims(claims: dict[str, Any], mapping: Mapping, rights: Iterable[str]) -> Mapped:
    """rights: of who confirmed the mapping; nobody gives by it what he could not give by hand, and owner never."""
    remarks: list[str] = []
    email = _email(claims, mapping, remarks)
    name = plain_name(_text(claims.get(mapping.display_name)))[:200]
    if not name:
        remarks.append("no_name")
    groups = _groups(claims, mapping, remarks)
    given = [one for one in mapping.groups if groups is not None and one.value in groups]
    roles = {role for one in given for role in one.roles if role in (Role.MEMBER, Role.ADMIN)}
    permission_groups = {group for one in given for group in one.permission_groups}
    allowed_roles = sorted(role for role in roles - {Role.MEMBER} if may_grant(rights, [role], []))
    allowed_groups = sorted(group for group in permission_groups if may_grant(rights, [], [group]))
    if len(allowed_roles) + len(allowed_groups) < len(roles - {Role.MEMBER}) + len(permission_groups):
        remarks.append("not_grantable")
    return Mapped(
        subject=_text(claims.get("sub")),
        email=email,
        display_name=name,
        locale=_locale(claims.get(mapping.locale)),
        roles=None if groups is None else [str(role) for role in allowed_roles],
        permission_groups=None if groups is None else [str(group) for group in allowed_groups],
        groups=groups,
        remarks=remarks,
    )


def _email(claims: dict[str, Any], mapping: Mapping, remarks: list[str]) -> str | None:
    """Proven is what the provider marks `email_verified: true`: the boolean, no word that looks like it."""
    said = _text(claims.get(mapping.email))
    if not said:
        remarks.append("no_email")
        return None
    try:
        canonical_address(said)
    except Malformed:
        remarks.append("email_malformed")
        return None
    if claims.get("email_verified") is not True:
        remarks.append("email_not_verified" if "email_verified" in claims else "email_verified_missing")
        return None
    return said.strip()


def _groups(claims: dict[str, Any], mapping: Mapping, remarks: list[str]) -> list[str] | None:
    if not mapping.groups_claim:
        return None
    said = claims.get(mapping.groups_claim)
    if isinstance(said, str):
        said = [said] if said else []
    if not isinstance(said, list):
        remarks.append("no_groups")  # left out (too many for the token, perhaps): not the same as none
        return None
    found = [one[:200] for one in said if isinstance(one, str)][:1000]
    if not {one.value for one in mapping.groups} & set(found):
        remarks.append("no_group_matches")
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _locale(value: Any) -> str | None:
    """Two letters; members takes no more than the languages that it has."""
    language = _text(value).replace("_", "-").partition("-")[0].lower()
    return language if language in ("de", "en") else None
