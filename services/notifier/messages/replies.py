"""What an SMTP reply says about a mail: by its enhanced code first (RFC 3463), by words only where it has none.

Careful in one direction: an address is called bad only where the reply says so. A full mailbox, a policy, a block list
or our own credentials never put anybody on the suppression list.
"""

import re
from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    LATER = "later"
    """Try again: full mailbox, greylisting, a server in trouble."""
    BAD_ADDRESS = "bad_address"
    """There is no such mailbox or domain: suppress."""
    REFUSED = "refused"
    """Not this mail, or not from us; the address may be good."""
    RELAY = "relay"
    """Our own relay's trouble (it closes, wants other credentials): not about the mail, costs no attempt."""


class Reply(msgspec.Struct, frozen=True):
    """code: RFC 5321, three digits. enhanced: RFC 3463, or empty."""

    code: int
    text: str
    enhanced: str = ""


_ENHANCED = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_KEPT = 500


def read_reply(code: int, text: str) -> Reply:
    """One line, cut to what a log needs, with its enhanced code where it begins with one. What a database does not take
    (Latin-1, a NUL) is marked as unreadable.
    """
    line = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))[:_KEPT]
    found = _ENHANCED.match(line)
    return Reply(code, line, found.group(0) if found else "")


_BAD_ADDRESS = {"1.0", "1.1", "1.2", "1.3", "1.4", "1.6", "1.9", "1.10", "2.1", "4.4"}
_TOLD_BY_WORDS = {"0.0", "2.0", "4.1", "5.0", "7.1"}  # Microsoft's 5.4.1 and 5.5.0, many a 5.7.1: no such recipient
_PASSING = {"2.2", "3.1", "3.2", "4.5", "4.7"}  # said with a 5, and over tomorrow all the same: full, overloaded
_OUR_CODES = {530, 534, 535, 538}
_NO_SUCH_CODES = {521, 556}  # RFC 7504: the domain takes no mail

_UNKNOWN = re.compile(
    r"(user|mailbox|recipient|address|account|e-?mail)\W.{0,40}?"
    r"(unknown|not found|not exist|doesn't have|unavailable|disabled|inactive|invalid"
    r"|no longer|does not|rejected: undeliverable)"
    r"|no such (user|mailbox|recipient|person|address)|unknown (user|recipient|address|mailbox|local)"
    r"|invalid (recipient|mailbox|address)|no mailbox|not a valid (mailbox|recipient)|unrouteable|not our customer"
    r"|recipient address rejected: access denied",
    re.IGNORECASE,
)
_FULL = re.compile(r"quota|mailbox.{0,20}full|full mailbox|over.?limit|insufficient.{0,20}storage", re.IGNORECASE)
_POLICY = re.compile(
    r"spam|block|black ?list|policy|reputation|dmarc|dkim|spf|denied by|virus|content|spamhaus|abuse|listed",
    re.IGNORECASE,
)
_RELAYING = re.compile(r"relay(ing)? (access )?(denied|not permitted|not allowed)", re.IGNORECASE)


def judge(reply: Reply) -> Verdict:
    """The verdict on one mail to one recipient, from a reply to RCPT or DATA (replies before these are the relay's)."""
    if reply.code in _OUR_CODES or (reply.code >= 500 and _RELAYING.search(reply.text)):
        return Verdict.RELAY
    if reply.code == 421 and not reply.enhanced.startswith("4.7."):  # with 4.7 it is this mail that shall wait
        return Verdict.RELAY
    if reply.code in _NO_SUCH_CODES:
        return Verdict.BAD_ADDRESS
    if reply.enhanced:
        return _by_enhanced_code(reply)
    if reply.code < 400:
        return Verdict.ACCEPTED
    return Verdict.LATER if reply.code < 500 else _by_words(reply.text)


def judge_status(status: str, diagnostic: str) -> Verdict:
    """The verdict of a delivery report (RFC 3464): its Status field, and what the last server said."""
    return judge(Reply(int(status[:1] or 5) * 100 + 50, diagnostic, status))


def _by_enhanced_code(reply: Reply) -> Verdict:
    kind, _, detail = reply.enhanced.partition(".")
    if kind == "2":
        return Verdict.ACCEPTED
    if kind == "4" or detail in _PASSING:
        return Verdict.LATER
    if detail in _BAD_ADDRESS or (detail in _TOLD_BY_WORDS and _means_unknown(reply.text)):
        return Verdict.BAD_ADDRESS
    return Verdict.REFUSED


def _by_words(text: str) -> Verdict:
    if _FULL.search(text):
        return Verdict.LATER
    return Verdict.BAD_ADDRESS if _means_unknown(text) else Verdict.REFUSED


def _means_unknown(text: str) -> bool:
    return bool(_UNKNOWN.search(text)) and not _POLICY.search(text)
