"""R-24, R-12: what a server's reply means for a mail and for the address (RFC 3463), by a corpus of replies."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.messages.replies import Verdict, judge, judge_status, read_reply

LINES = [
    line.split(maxsplit=2)
    for line in Path(__file__).with_name("replies.txt").read_text().splitlines()
    if not line.startswith("#")
]


def test_the_corpus_is_large_enough() -> None:
    assert len(LINES) >= 60
    assert {verdict for verdict, *_ in LINES} == set(Verdict)


@pytest.mark.parametrize(("verdict", "code", "text"), LINES, ids=[f"{code} {text[:40]}" for _, code, text in LINES])
def test_a_reply_means_what_servers_mean_by_it(verdict: str, code: str, text: str) -> None:
    """R-24: bad addresses are told from full mailboxes, policies and our own faults."""
    assert judge(read_reply(int(code), text)) == verdict


@pytest.mark.parametrize(
    ("status", "diagnostic", "verdict"),
    [
        ("5.1.1", "550 5.1.1 User unknown", "bad_address"),
        ("5.2.2", "552 mailbox full", "later"),
        ("5.7.1", "550 5.7.1 rejected as spam", "refused"),
        ("4.4.1", "connection timed out", "later"),
        ("5.0.0", "550 no such user", "bad_address"),
        ("", "", "refused"),
    ],
)
def test_a_report_is_judged_like_a_reply(status: str, diagnostic: str, verdict: str) -> None:
    assert judge_status(status, diagnostic) == verdict


@given(st.integers(200, 599), st.text(max_size=300))
def test_any_reply_has_a_verdict_and_fits_a_line_of_the_log(code: int, text: str) -> None:
    reply = read_reply(code, text)
    assert judge(reply) in Verdict
    assert "\n" not in reply.text
    assert len(reply.text) <= 500
