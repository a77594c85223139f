"""What travels: CloudEvents 1.0 in structured JSON, with the tenant, the row and its version as attributes.

`subject` is the row's id; `rowversion` orders a row's events for whoever keeps a state of it.
"""

from datetime import datetime
from uuid import UUID

import msgspec


class Envelope(msgspec.Struct, frozen=True):
    id: UUID
    type: str
    source: str
    subject: UUID
    time: datetime
    tenantid: UUID
    rowversion: int
    data: msgspec.Raw
    traceparent: str | None = None
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)


def seal(envelope: Envelope) -> bytes:
    return _encoder.encode(envelope)


def open_envelope(body: bytes) -> Envelope:
    """Unknown attributes are ignored. Raises msgspec.MsgspecError or UnicodeDecodeError for anything else."""
    return _decoder.decode(body)
