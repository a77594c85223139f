"""Reads what comes back: delivery reports (RFC 3464) and complaints (RFC 5965). The rest is answering machines."""

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import Literal

import msgspec

Kind = Literal["failed", "delayed", "delivered", "complained"]

_ACTIONS: dict[str, Kind] = {"failed": "failed", "delayed": "delayed", "delivered": "delivered"}
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_KEPT = 500


class Report(msgspec.Struct, frozen=True):
    """status: RFC 3463, or empty. diagnostic: what the last server said, one line."""

    kind: Kind
    status: str = ""
    diagnostic: str = ""
    server: str = ""


def read_report(raw: bytes) -> Report | None:
    """The report in a mail that came to a return path; None where it holds none. Never raises, whatever the bytes are.

    relayed and expanded say only that the mail went on: no news beyond "sent".
    """
    try:
        mail = message_from_bytes(raw, policy=default)
        for part in mail.walk():
            if part.get_content_type() == "message/delivery-status":
                return _delivery(part)
            if part.get_content_type() == "message/feedback-report":
                return Report("complained", diagnostic=_field(_blocks(part), "feedback-type"))
    except Exception:  # the parser of the standard library fails in many ways on hostile mail
        return None
    return None


def _delivery(part: Message) -> Report | None:
    blocks = _blocks(part)
    kind = _ACTIONS.get(_field(blocks, "action").lower())
    if kind is None:
        return None
    status = _STATUS.search(_field(blocks, "status"))
    diagnostic = _field(blocks, "diagnostic-code").partition(";")[2].strip() or _field(blocks, "diagnostic-code")
    server = _field(blocks, "remote-mta").partition(";")[2].strip()
    return Report(kind, status.group(0) if status else "", diagnostic, server)


def _blocks(part: Message) -> list[Message]:
    """The fields of a report: header blocks, one for the mail and one for each recipient (ours have one)."""
    content = part.get_payload()
    return [block for block in content if isinstance(block, Message)] if isinstance(content, list) else [part]


def _field(blocks: list[Message], name: str) -> str:
    return next(iter(_values(blocks, name)), "")[:_KEPT]


def _values(blocks: list[Message], name: str) -> Iterator[str]:
    """One line each, of what can be read: no database takes a NUL, which an encoded word may hold, too."""
    for block in blocks:
        if value := block.get(name):
            yield " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
