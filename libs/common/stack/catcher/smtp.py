"""The SMTP side: aiosmtpd with the rules of behaviour.py in between."""

import asyncio
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from libs.common.stack.catcher.behaviour import Behaviour, Rule
from libs.common.stack.catcher.mailbox import Mailbox, Recipient, Transaction


class Hooks:
    """What aiosmtpd calls: each returns the answer."""

    def __init__(self, mailbox: Mailbox, behaviour: Behaviour) -> None:
        self.mailbox, self.behaviour = mailbox, behaviour

    async def handle_MAIL(  # noqa: N802
        self, server: "Server", session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        server.abandon()
        server.transaction = self.mailbox.begin(str(session.peer), session.host_name or "", address)
        if refusal := await server.follow(self.behaviour.take("mail")):
            server.end("refused", refusal)
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender accepted"

    async def handle_RCPT(  # noqa: N802
        self, server: "Server", session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await server.follow(self.behaviour.take("rcpt", [address])) or "250 2.1.5 Recipient accepted"
        if server.transaction:
            server.transaction.recipients.append(Recipient(address, answer))
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: "Server", session: Session, envelope: Envelope) -> str:  # noqa: N802
        transaction = server.transaction
        if transaction is None:
            return "503 5.5.1 Say MAIL first"
        body = envelope.original_content or b""
        transaction.size = len(body)
        rule = self.behaviour.take("data", envelope.rcpt_tos)
        if rule and rule.action == "drop" and rule.record:
            self.mailbox.receive(transaction, body)
        if refusal := await server.follow(rule):
            server.end("refused", refusal)
            return refusal
        self.mailbox.receive(transaction, body)
        answer = f"250 2.0.0 Kept as {transaction.message}"
        server.end("accepted", answer)
        return answer

    async def handle_RSET(self, server: "Server", session: Session, envelope: Envelope) -> str:  # noqa: N802
        server.abandon()
        return "250 2.0.0 Forgotten"


class Server(SMTP):
    """One connection."""

    transaction: Transaction | None = None
    _hooks: Hooks

    def __init__(self, hooks: Hooks, **options: Any) -> None:
        super().__init__(hooks, hostname="catcher.test", enable_SMTPUTF8=True, data_size_limit=50_000_000, **options)
        self._hooks = hooks

    async def follow(self, rule: Rule | None) -> str | None:
        """Do what the rule says; the answer, if it has one. A dropped connection ends here."""
        if rule is None:
            return None
        if rule.action == "stall":
            await asyncio.sleep(rule.seconds)
            return None
        if rule.action == "reply":
            return rule.reply
        self.end("dropped", "")
        if self.transport is not None:
            self.transport.close()
        await asyncio.Event().wait()  # until connection_lost cancels us
        return None

    def end(self, outcome: str, reply: str) -> None:
        if self.transaction is not None:
            self._hooks.mailbox.end(self.transaction, outcome, reply)
            self.transaction = None

    def abandon(self) -> None:
        """The client went on or away without finishing; refused if no recipient was good enough."""
        if self.transaction is not None:
            tried = self.transaction.recipients
            refused = bool(tried) and not self.transaction.accepted
            self.end("refused" if refused else "abandoned", tried[-1].reply if refused else "")

    def connection_lost(self, error: Exception | None) -> None:
        self.abandon()
        super().connection_lost(error)

    async def _handle_client(self) -> None:
        refusal = await self.follow(self._hooks.behaviour.take("connect"))
        if refusal is None:
            await super()._handle_client()
        else:
            await self.push(refusal)
            if self.transport is not None:
                self.transport.close()
