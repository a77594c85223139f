"""Why a command on a member is refused: one class per fact. facts.refusal names them, rules raise them, and
`allowed_actions` shows their codes.
"""

from libs.common.errors import Conflict, Forbidden, Unprocessable


class NoRight(Forbidden):
    title = "You may not do this"


class MayMore(Forbidden):
    title = "The member may more than you: ask somebody who may as much"


class NotPresent(Conflict):
    title = "This member is deleted or gone"


class NotMarkedDeleted(Conflict):
    title = "This member is not marked deleted, or can no longer be restored"


class AlreadyMember(Conflict):
    title = "This person is a member already"


class NoAccess(Conflict):
    title = "There is no access to revoke"


class NotInvited(Conflict):
    title = "There is no open invitation by mail"


class InvitationOpen(Conflict):
    """Params: instead, the command that fits."""

    title = "An invitation is open"


class Blocked(Conflict):
    """Params: blocks, those that stand in the way."""

    title = "The member is locked, deactivated or past the expiry date"


class NotLocked(Conflict):
    title = "The member is not locked"


class AlreadyDeactivated(Conflict):
    title = "The member is deactivated already"


class NotDeactivated(Conflict):
    title = "The member is not deactivated; entry and expiry dates are changed as dates"


class IsOwner(Conflict):
    title = "This is an owner: demote or transfer ownership first"


class IsSelf(Conflict):
    title = "Nobody does this to himself"


class EmailMissing(Unprocessable):
    title = "There is no e-mail address to send an invitation to"


class HasEmail(Unprocessable):
    title = "There is an e-mail address: send an invitation instead"


class MayNotGrant(Forbidden):
    """Params: roles, permission_groups."""

    title = "Nobody gives a role or a right that he lacks"
