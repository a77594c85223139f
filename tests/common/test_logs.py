import base64
import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from libs.common import logs, traces
from libs.common.scrub import SECRET, is_secret_name, scrub

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, warnings = logging.getLogger(), logging.getLogger("py.warnings")
    before, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)
    warnings.handlers.clear()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """What was logged since the last call, parsed: each line is one JSON object, or the test fails."""
    logs.configure("members", "info", json=True)
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_says_what_when_where_and_to_what_it_belongs(lines: Lines) -> None:
    tenant = uuid.uuid4()
    with traces.span("test"):
        logs.bind(tenant_id=tenant, request_id="r1")
        structlog.get_logger().info("member_invited", member_id=tenant)
        trace_id = traces.current_trace_id()
    logs.bind(tenant_id=None)
    structlog.get_logger().warning("later")
    first, second = lines()
    assert first["timestamp"].endswith("Z")
    del first["timestamp"]
    assert first == {
        "event": "member_invited",
        "level": "info",
        "service": "members",
        "tenant_id": str(tenant),
        "member_id": str(tenant),
        "request_id": "r1",
        "trace_id": trace_id,
    }
    assert "tenant_id" not in second
    assert "trace_id" not in second


def test_below_the_level_nothing_is_said(lines: Lines) -> None:
    structlog.get_logger().debug("detail")
    logging.getLogger("somewhere").debug("detail")
    logging.getLogger("httpx").info("HTTP Request: GET https://example.org/?code=…")
    assert lines() == []


@pytest.mark.parametrize("name", ["litestar", "_granian", "sqlalchemy.pool", "nats.aio.client", "anything"])
def test_a_library_goes_the_same_way(lines: Lines, name: str) -> None:
    logs.bind(request_id="r1")
    logging.getLogger(name).warning("lost %s", "postgresql://app:hunter2@db/members")
    (line,) = lines()
    assert (line["event"], line["logger"], line["request_id"]) == ("library_message", name, "r1")
    assert line["message"] == f"lost postgresql://{SECRET}@db/members"


@pytest.mark.parametrize("log", [structlog.get_logger(), logging.getLogger("library")])
def test_an_exception_is_told_whole_and_without_secrets(lines: Lines, log: Any) -> None:
    try:
        raise ValueError("sent Authorization: Bearer abcdefgh12345\nforged \x1b[31mline")
    except ValueError:
        log.exception("failed")
    (line,) = lines()
    assert "Traceback" in line["exception"]
    assert "test_logs.py" in line["exception"]
    assert "abcdefgh12345" not in line["exception"]
    assert "\x1b" not in line["exception"]


CANARY = "c4nary-S3cret-value"
CODE = base64.urlsafe_b64encode(hashlib.sha512(b"a link code").digest()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("authorization", CANARY),
        ("Authorization", f"Bearer {CANARY}"),
        ("cookie", f"__Host-session={CANARY}"),
        ("set-cookie", CANARY),
        ("password", CANARY),
        ("new_password", CANARY),
        ("code", CANARY),
        ("recovery_code", CANARY),
        ("token", CANARY),
        ("refresh_token", CANARY),
        ("client_secret", CANARY),
        ("note", f"Bearer {CANARY}"),
        ("note", f"header authorization: bearer {CANARY}, next"),
        ("note", f"Cookie: a={CANARY}; b={CANARY}"),
        ("note", f"GET /identity/v1/accept?code={CANARY}&x=1"),
        ("note", f"SignIn(login='ada', password='two words {CANARY}')"),
        ("note", f'{{"password": "{CANARY}"}}'),
        ("note", f"smtp://user:{CANARY}@relay.example.org:587"),
        ("note", f"eyJhbGciOiJFZDI1NTE5In0.{CANARY}.x"),
        ("note", f"/t/acme/invitation/{CODE}"),
        ("note", [{"deep": {"token": CANARY}}]),
        ("note", ValueError(f"token={CANARY}")),
        ("note", f"[parameters: ('ada', '{CANARY}')]"),
        ("note", f"DETAIL:  Key (tenant_id, login)=(1, {CANARY}) already exists."),
        ("note", b"password=" + CANARY.encode()),
    ],
)
def test_a_secret_is_not_written(lines: Lines, key: str, value: Any) -> None:
    structlog.get_logger().info("tried", **{key: value})
    text = json.dumps(lines())
    assert CANARY not in text
    assert CODE not in text
    assert "tried" in text


def test_a_mail_address_is_not_written() -> None:
    assert scrub("550 5.1.1 <ada.lovelace@mail.example.org>: unknown") == "550 5.1.1 <[address]>: unknown"


@pytest.mark.parametrize(
    "text",
    [
        "invitation_issued",
        "members.member.access.v1",
        "/members/v1/tags/{tag_id}",
        "01937b1e-7c00-7a3b-8f5e-3d2c1b0a9f8e",
        "0123456789abcdef" * 4,
        "JetStream error code=500 err_code=10047",
        "/srv/.venv/lib/python3.13/site-packages/litestar/_openapi/schema_generation/plugins/struct.py:33",
        "identity_membership_suspension_refused_again_and_again",
        "Straße, ẞ und 你好",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize("name", ["status_code", "token_id", "session_id", "member_id", "event", "decode", "passport"])
def test_a_name_that_only_looks_like_a_secret_stays(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "mark", ["\n", "\r", "\r\n", "\x1b[2K", "\x00", "\x7f", "\x85", "\x9b31m", "\u2028", "\u2029", "\u202e"]
)
@pytest.mark.parametrize("json", [True, False])
def test_no_value_begins_a_line_of_its_own(mark: str, json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("members", "info", json=json)
    structlog.get_logger().info("tried", name=f"a{mark}forged")
    structlog.get_logger().info(f"tried{mark}forged", **{f"key{mark}x": "a"})
    logging.getLogger("library").warning("a%sforged", mark)
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 3
    if json:
        assert mark not in written.replace("\n", "", 3)
    for line in written.splitlines():
        assert not line.startswith("forged")


def test_on_a_terminal_a_traceback_cannot_pass_for_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("members", "info", json=False)
    try:
        raise ValueError("a\n2026-11-21T09:30:00Z [info] forged\r\x1b[2K")
    except ValueError:
        structlog.get_logger().exception("failed")
    first, *rest = capsys.readouterr().err.splitlines()
    assert "failed" in first
    assert rest
    assert all(line.startswith("    | ") for line in rest)


def test_without_a_terminal_it_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("members")
    structlog.get_logger().info("tried")
    assert json.loads(capsys.readouterr().err)["event"] == "tried"


def test_granian_keeps_to_our_lines(lines: Lines) -> None:
    from granian.log import LogLevels, configure_logging

    configure_logging(LogLevels.info, logs.GRANIAN_LOGGING)
    logging.getLogger("_granian").info("Started worker-1")
    logging.getLogger("granian.access").info("GET /?code=x")
    (line,) = lines()
    assert (line["event"], line["message"]) == ("library_message", "Started worker-1")
