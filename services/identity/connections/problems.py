"""What can be wrong with a provider, an answer of it, or whom it sends: one class each kind, one reason each defect.

The reasons are words of the API and keys of the pages' texts (pages/connection_strings.py); a test asks for each.
"""

from libs.common.errors import AppError, Conflict, Forbidden, Unprocessable


class ProviderUnfit(Unprocessable):
    """With reason, and field where one of the provider's is meant: it cannot be connected as it describes itself."""

    title = "The identity provider cannot be connected as it is"


class SignInNotValid(Forbidden):
    """With reason: this browser's way to the provider and back is not one that we began, or not any more."""

    title = "This sign-in was not begun here, or is over: begin again"


class ProviderRefused(Forbidden):
    """With reason, and said: what the provider itself gives as the cause."""

    title = "The identity provider did not sign you in"


class AnswerNotValid(Forbidden):
    """With reason: what the provider sent is not proof of anything."""

    title = "The identity provider's answer was not accepted"


class NotAdmitted(Forbidden):
    """With reason: the provider's answer is good, and yet she does not come in, with the way out in the text."""

    title = "You are known to the identity provider, and have no access here"


class SubjectTaken(Conflict):
    title = "This account of the identity provider is somebody else's here"


def reason_of(error: AppError) -> str:
    """`answer_not_valid.nonce`: as attempts remember it and texts are keyed."""
    reason = error.params.get("reason") or error.params.get("cause")
    return f"{error.code()}.{reason}" if reason else error.code()
