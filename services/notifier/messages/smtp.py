"""One connection to the mail relay, spoken by aiosmtplib, with what its failures mean for the mail in hand.

RelayAway   nothing was handed over: connecting, signing in, MAIL or RCPT did not get an answer that is about the mail
AnswerLost  the mail went out and no answer came: accepted or not, nobody can know (RFC 5321 section 6.1)

Every answer about the mail itself, good or bad, is returned as a Reply.
"""

import asyncio
import contextlib
import ssl
from functools import cache
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
import msgspec
from aiosmtplib.errors import SMTPException, SMTPResponseException

from services.notifier.messages.replies import Reply, Verdict, judge, read_reply


class RelayAway(Exception):
    """The message says why, without any secret."""


class AnswerLost(Exception):
    pass


_LOST = (SMTPException, OSError, TimeoutError, ssl.SSLError)


class Relay(msgspec.Struct, frozen=True):
    """Where mail is handed over. seconds: for each answer but the last, and for the last."""

    url: str
    seconds: float = 30
    data_seconds: float = 600
    ca_file: str = ""

    async def connect(self) -> "Connection":
        """Raises RelayAway: no answer, a certificate that is not its own, credentials that it does not take."""
        address = urlsplit(self.url)
        starttls = parse_qs(address.query).get("starttls", ["auto"])[0]
        client = aiosmtplib.SMTP(
            hostname=address.hostname or "localhost",
            port=address.port or (465 if address.scheme == "smtps" else 587),
            username=unquote(address.username) if address.username else None,
            password=unquote(address.password) if address.password else None,
            use_tls=address.scheme == "smtps",
            start_tls={"require": True, "no": False}.get(starttls),
            tls_context=_tls(self.ca_file),
            timeout=self.seconds,
        )
        try:
            await client.connect()
        except _LOST as error:
            client.close()
            raise RelayAway(_why(error)) from error
        return Connection(client, self.data_seconds)


@cache
def _tls(ca_file: str) -> ssl.SSLContext:
    """Reading the system's certificates takes a tenth of a second: once."""
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


class Connection:
    """Used by one coroutine. Broken after RelayAway or AnswerLost: close it and take another."""

    def __init__(self, client: aiosmtplib.SMTP, data_seconds: float) -> None:
        self._client = client
        self._data_seconds = data_seconds
        self.host = client.hostname or ""
        self._begun = ""

    @property
    def is_open(self) -> bool:
        return bool(self._client.is_connected)

    async def begin(self, return_path: str, envelope_id: str) -> None:
        """MAIL FROM: a refusal here is about us, not about any mail. Raises RelayAway."""
        self._begun = return_path
        await self._mail(
            return_path, [f"ENVID={envelope_id}", "RET=HDRS"] if self._client.supports_extension("dsn") else []
        )

    async def hand_over(self, recipient: str, content: bytes) -> Reply:
        """The answer to RCPT where that is a refusal, else the one to the mail. Raises RelayAway, AnswerLost."""
        encoding = "ascii"
        if not recipient.isascii():
            if not self._client.supports_extension("smtputf8"):
                await self.reset()
                return read_reply(553, "5.6.7 The relay takes no addresses beyond ASCII")
            await self.reset()
            await self._mail(self._begun, ["SMTPUTF8"])
            encoding = "utf-8"
        notify = ["NOTIFY=SUCCESS,FAILURE,DELAY"] if self._client.supports_extension("dsn") else []
        try:
            await self._client.rcpt(recipient, options=notify, encoding=encoding)
        except SMTPResponseException as error:
            await self.reset()
            return read_reply(error.code, error.message)
        except _LOST as error:
            raise RelayAway(_why(error)) from error
        try:
            answer = await self._client.data(content, timeout=self._data_seconds)
        except SMTPResponseException as error:
            await self.reset()
            return read_reply(error.code, error.message)
        except _LOST as error:
            raise AnswerLost(_why(error)) from error
        return read_reply(answer.code, answer.message)

    async def reset(self) -> None:
        """Forget the mail that was begun. One that hangs up instead is noticed by the next who uses it."""
        with contextlib.suppress(*_LOST):
            await self._client.rset()

    async def close(self) -> None:
        with contextlib.suppress(*_LOST, asyncio.CancelledError):
            if self._client.is_connected:
                await self._client.quit(timeout=1)
        self.drop()
        await asyncio.sleep(0)  # the transport gives its socket back one turn later

    def drop(self) -> None:
        """Hang up without a word."""
        self._client.close()

    async def _mail(self, return_path: str, options: list[str]) -> None:
        try:
            await self._client.mail(return_path, options=options)
        except _LOST as error:
            raise RelayAway(_why(error)) from error


def is_about_relay(reply: Reply) -> bool:
    return judge(reply) is Verdict.RELAY


def _why(error: BaseException) -> str:
    if isinstance(error, SMTPResponseException):
        return f"{error.code} {read_reply(error.code, error.message).text}"
    return f"{type(error).__name__}: {error}"[:300]
