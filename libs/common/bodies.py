"""What a request must be before it is read: its body of the media type that the handler reads (RFC 9110 §15.5.16), its
query plain text.
"""

import re

from litestar.connection import ASGIConnection
from litestar.enums import RequestEncodingType
from litestar.handlers import BaseRouteHandler
from litestar.params import BodyKwarg

from libs.common.errors import Malformed, UnsupportedMediaType

_CONTROL = re.compile("[\x00-\x1f\x7f]")


def media_type_of(handler: BaseRouteHandler) -> str | None:
    """What the handler's `data` is read from; None where it takes none."""
    data = handler.parsed_fn_signature.parameters.get("data")
    if data is None:
        return None
    kwarg = data.kwarg_definition
    return RequestEncodingType(kwarg.media_type).value if isinstance(kwarg, BodyKwarg) else "application/json"


async def require_media_type(connection: ASGIConnection, handler: BaseRouteHandler) -> None:
    """App-level guard. Raises UnsupportedMediaType (415). No type at all is read as the right one."""
    if connection.scope.get("method") not in {"POST", "PUT", "PATCH", "DELETE"}:
        return
    given = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given and (taken := media_type_of(handler)) and given != taken:
        raise UnsupportedMediaType(taken=taken)


async def require_plain_query(connection: ASGIConnection, handler: BaseRouteHandler) -> None:
    """App-level guard. Raises Malformed (400) for control characters in the query: no name, word or cursor has any, and
    PostgreSQL would not take a NUL.
    """
    if not connection.scope["query_string"]:
        return
    for name, value in connection.query_params.multi_items():
        if _CONTROL.search(str(value)):
            raise Malformed(field=name, message="control characters are not taken")
