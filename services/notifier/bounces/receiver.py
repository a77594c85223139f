"""Takes bounces by SMTP: what comes to a return path of ours is read as a report and answered after it is committed.

So nothing is lost: while the database is away the mail server that brings the bounce is told to come again. A mail that
holds no report (an answering machine) is taken and forgotten. See docs/decisions for why SMTP.
"""

import asyncio
from typing import Any

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy.exc import SQLAlchemyError

from libs.common.db import Database
from libs.common.keys import KeyRing
from libs.common.metrics import counter
from services.notifier.bounces.reports import read_report
from services.notifier.bounces.rules import take_report
from services.notifier.bounces.verp import read_return_path

log = structlog.get_logger()

REPORTS = counter("mail_reports_total", "What came back: failed, delayed, delivered, complained, none.", "kind")
_LARGEST = 2_000_000


class Receiver:
    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database, self._ring = database, ring

    async def listen(self, host: str, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: self._connection(loop), host, port)

    def _connection(self, loop: asyncio.AbstractEventLoop) -> SMTP:
        return SMTP(self, data_size_limit=_LARGEST, hostname="bounces", ident="bounces", loop=loop)

    async def handle_RCPT(  # noqa: N802 aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if read_return_path(self._ring, address) is None:
            return "550 5.1.1 Only bounces of our own mail"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        raw: Any = envelope.original_content or b""
        report = read_report(raw)
        REPORTS.labels(report.kind if report else "none").inc()
        if report is None:
            return "250 2.0.0 Taken"
        try:
            for address in envelope.rcpt_tos:
                if found := read_return_path(self._ring, address):
                    async with self._database.session(found[0]) as database_session:
                        await take_report(database_session, found[1], report, raw)
        except (SQLAlchemyError, OSError) as error:
            log.warning("bounce_not_taken", error=type(error).__name__)
            return "451 4.3.0 Come again later"
        return "250 2.0.0 Taken"
