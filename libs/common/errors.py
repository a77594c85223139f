"""Errors are facts, one class each; HTTP shows them as RFC 9457 problems.

AppError
├── Malformed         400  not even the shape is right; `field` names what
├── Unauthenticated   401  no token, or one that is not valid here
├── Forbidden         403  a member of the tenant without the right
├── NotFound          404  not there, or another tenant's: the answer is the same
├── Conflict          409  the fact that stands in the way is the subclass, beside its feature
├── Gone              410  it was there, and is used or expired
├── Outdated          412  the row has changed since it was read
├── TooLarge          413  more than is taken here
├── UnsupportedMediaType 415  a body of another kind than is read here
├── Unprocessable     422  well-formed, and against a rule
├── VersionRequired   428  say which version you have read
├── TooMany           429  try again after `retry_after` seconds
└── Unavailable       503  a part is away; try again after `retry_after` seconds
"""

import re
from typing import ClassVar


class AppError(Exception):
    """Base of all errors that a rule raises. Raise, never return: a returned response would commit the transaction.

    keep: commit what was written on the way (a failed sign-in must be counted), then raise.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong here"
    keep: ClassVar[bool] = False

    def __init__(self, **params: object) -> None:
        super().__init__(self.title, params)
        self.params = params

    @classmethod
    def code(cls) -> str:
        """The class name in snake_case: what clients switch on."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


class Malformed(AppError):
    status, title = 400, "The request is not well-formed"


class Unauthenticated(AppError):
    status, title = 401, "Sign in first"


class Forbidden(AppError):
    status, title = 403, "You may not do this"


class NotFound(AppError):
    status, title = 404, "There is no such thing"


class Conflict(AppError):
    status, title = 409, "This is not possible as things stand"


class Gone(AppError):
    status, title = 410, "This is used or has expired"


class Outdated(AppError):
    status, title = 412, "It has changed since you read it"


class TooLarge(AppError):
    status, title = 413, "This is more than is taken here"


class UnsupportedMediaType(AppError):
    """Raised with taken: the media type that is."""

    status, title = 415, "Send this in another format"


class Unprocessable(AppError):
    status, title = 422, "This is against a rule"


class VersionRequired(AppError):
    status, title = 428, "Send If-Match with the ETag you have read"


class TooMany(AppError):
    """Raised with retry_after: seconds."""

    status, title = 429, "Too many requests; wait a little"


class Unavailable(AppError):
    """Raised with retry_after: seconds."""

    status, title = 503, "A part of the system is away; try again soon"
