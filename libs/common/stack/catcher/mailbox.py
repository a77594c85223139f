"""Everything that was received, on disk: it outlives a restart of the catcher.

A mail is a file as it came, a transaction is a line of a journal; the journal is what memory holds.
"""

import re
import threading
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import lru_cache
from pathlib import Path

import msgspec


class Recipient(msgspec.Struct):
    address: str
    reply: str


class Transaction(msgspec.Struct):
    """One attempt to hand over a mail, from MAIL to its end."""

    id: int
    started_at: datetime
    peer: str
    helo: str
    sender: str
    recipients: list[Recipient] = []
    ended_at: datetime | None = None
    outcome: str = "open"
    """accepted, refused, dropped, abandoned (by the client), open"""
    reply: str = ""
    """The last answer."""
    size: int = 0
    message: str | None = None
    """The mail's id, where it was received."""

    @property
    def accepted(self) -> list[str]:
        return [one.address for one in self.recipients if one.reply.startswith("2")]


class Envelope(msgspec.Struct, frozen=True, rename={"sender": "from", "recipients": "to"}):
    sender: str
    recipients: Sequence[str]


class Attachment(msgspec.Struct, frozen=True):
    filename: str
    content_type: str
    size: int


class Message(msgspec.Struct, frozen=True, rename={"sender": "from", "recipients": "to"}):
    id: str
    received_at: datetime
    envelope: Envelope
    message_id: str
    subject: str
    sender: str
    recipients: str
    headers: Mapping[str, str]
    """By name as written; a repeated one is joined by newlines."""
    text: str | None
    html: str | None
    attachments: Sequence[Attachment]
    size: int


class Mailbox:
    def __init__(self, folder: Path) -> None:
        self._folder = folder / "messages"
        self._folder.mkdir(exist_ok=True)
        self._journal = folder / "transactions.jsonl"
        self._lock = threading.Lock()
        self._transactions: dict[int, Transaction] = {}
        if self._journal.exists():
            lines = self._journal.read_bytes().splitlines()
            known = [msgspec.json.decode(line, type=Transaction) for line in lines if line.endswith(b"}")]
            self._transactions = {one.id: one for one in known}
        self._next = max(self._transactions, default=0) + 1
        self.parse = lru_cache(2000)(self._parse)

    def begin(self, peer: str, helo: str, sender: str) -> Transaction:
        with self._lock:
            transaction = Transaction(self._next, datetime.now(UTC), peer, helo, sender)
            self._next += 1
            self._transactions[transaction.id] = transaction
            return transaction

    def receive(self, transaction: Transaction, raw: bytes) -> None:
        """Keep the mail. From here on it counts as received, whatever is answered."""
        name = f"{transaction.id:06}"
        (self._folder / f"{name}.eml").write_bytes(raw)
        transaction.message = name

    def end(self, transaction: Transaction, outcome: str, reply: str) -> None:
        transaction.outcome, transaction.reply, transaction.ended_at = outcome, reply, datetime.now(UTC)
        with self._lock, self._journal.open("ab") as journal:
            journal.write(msgspec.json.encode(transaction) + b"\n")

    def transactions(self) -> list[Transaction]:
        with self._lock:
            return list(self._transactions.values())

    def messages(self, to: str = "", limit: int | None = None, *, whole: bool = True) -> list[Message]:
        """Newest first; `to` is a recipient of the envelope, or part of one, in any case."""
        to = to.lower()
        wanted = [
            one.id
            for one in reversed(self.transactions())
            if one.message
            and (not to or any(to == address.lower() if whole else to in address.lower() for address in one.accepted))
        ]
        return [self.parse(number) for number in wanted[:limit]]

    def count(self) -> int:
        return sum(1 for one in self.transactions() if one.message)

    def find(self, name: str) -> Message | None:
        transaction = self._with(name)
        return self.parse(transaction.id) if transaction else None

    def raw(self, name: str) -> bytes | None:
        return (self._folder / f"{name}.eml").read_bytes() if self._with(name) else None

    def page(self, name: str) -> str | None:
        """The mail's HTML as a page may show it: pictures that came with it inside, links in a tab of their own."""
        raw = self.raw(name)
        message = self.find(name)
        if raw is None or message is None or message.html is None:
            return None
        html = message.html
        for part in message_from_bytes(raw, policy=default).walk():
            if (content_id := part.get("Content-ID")) and part.get_content_maintype() == "image":
                picture = b64encode(part.get_payload(decode=True)).decode()  # type: ignore[arg-type]
                html = html.replace(
                    f"cid:{content_id.strip('<> ')}", f"data:{part.get_content_type()};base64,{picture}"
                )
        base = '<base target="_blank">'
        with_base = re.sub(r"<head[^>]*>", lambda head: head[0] + base, html, count=1, flags=re.IGNORECASE)
        return with_base if with_base != html else base + html

    def delete(self, name: str) -> bool:
        transaction = self._with(name)
        if transaction is None:
            return False
        transaction.message = None
        (self._folder / f"{name}.eml").unlink(missing_ok=True)
        self._rewrite()
        return True

    def clear(self) -> None:
        with self._lock:
            self._transactions.clear()
        for file in self._folder.glob("*.eml"):
            file.unlink()
        self.parse.cache_clear()
        self._rewrite()

    def _with(self, name: str) -> Transaction | None:
        transaction = self._transactions.get(int(name)) if name.isdecimal() else None
        return transaction if transaction and transaction.message == name else None

    def _rewrite(self) -> None:
        with self._lock:
            lines = (msgspec.json.encode(one) + b"\n" for one in self._transactions.values() if one.ended_at)
            self._journal.write_bytes(b"".join(lines))

    def _parse(self, number: int) -> Message:
        transaction = self._transactions[number]
        name = f"{number:06}"
        raw = (self._folder / f"{name}.eml").read_bytes()
        parsed = message_from_bytes(raw, policy=default)
        assert isinstance(parsed, EmailMessage)  # noqa: S101, what this policy makes
        return Message(
            id=name,
            received_at=transaction.started_at,
            envelope=Envelope(transaction.sender, transaction.accepted),
            message_id=str(parsed["Message-ID"] or ""),
            subject=str(parsed["Subject"] or ""),
            sender=str(parsed["From"] or ""),
            recipients=str(parsed["To"] or ""),
            headers=_headers(parsed),
            text=_body(parsed, "plain"),
            html=_body(parsed, "html"),
            attachments=[
                Attachment(
                    part.get_filename() or "", part.get_content_type(), len(part.get_payload(decode=True) or b"")
                )
                for part in parsed.iter_attachments()
            ],
            size=len(raw),
        )


def _headers(parsed: EmailMessage) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parsed.items():
        found[name] = f"{found[name]}\n{value}" if name in found else str(value)
    return found


def _body(parsed: EmailMessage, kind: str) -> str | None:
    part = parsed.get_body(preferencelist=(kind,))
    return part.get_content().replace("\r\n", "\n") if part is not None else None
