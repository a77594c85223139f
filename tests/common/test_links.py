import base64
import uuid
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.keys import KeyProblem, KeyRing, ensure_keys
from libs.common.links import (
    LinkClaims,
    LinkError,
    LinkForAnother,
    LinkNotValid,
    Links,
    LinkUnreadable,
    Purpose,
    read_code,
)

ACME, GLOBEX = uuid.UUID(int=1), uuid.UUID(int=2)
ROW = uuid.UUID("019a0000-0000-7000-8000-000000000001")
DEADLINE = datetime(2026, 12, 1, 12, 0, 0, 654321, tzinfo=UTC)
ADDRESS = "Bob@Example.org"

FIELDS: dict[str, Any] = {
    "tenant_id": ACME,
    "id": ROW,
    "generation": 3,
    "address": ADDRESS,
    "deadline": DEADLINE,
}


@cache
def _links() -> Links:
    directory = Path(mkdtemp())
    ensure_keys(directory, [purpose.keys for purpose in Purpose])
    return Links.load(directory)


def _code(purpose: Purpose = Purpose.INVITATION, **changed: Any) -> str:
    return _links().make_code(purpose, **{**FIELDS, **changed})


def _verify(code: str, purpose: Purpose = Purpose.INVITATION, **changed: Any) -> LinkClaims:
    return _links().verify_code(code, purpose, **{"address": ADDRESS, "deadline": DEADLINE, **changed})


def _raw(code: str) -> bytes:
    return base64.urlsafe_b64decode(code + "=" * (-len(code) % 4))


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("deadline", [DEADLINE, None])
def test_a_code_says_its_row_and_is_verified_for_it(purpose: Purpose, deadline: datetime | None) -> None:
    code = _code(purpose, deadline=deadline)
    claims = read_code(code)
    assert (claims.purpose, claims.tenant_id, claims.id, claims.generation) == (purpose, ACME, ROW, 3)
    assert _verify(code, purpose, deadline=deadline) == claims
    assert len(code) < 130
    assert code == _code(purpose, deadline=deadline)  # a mail sent again carries the same link


def test_the_spelling_of_the_address_and_fractions_of_seconds_do_not_matter() -> None:
    berlin = timezone(timedelta(hours=1))
    _verify(_code(), address=" bob@EXAMPLE.org ", deadline=DEADLINE.replace(microsecond=0).astimezone(berlin))


@pytest.mark.parametrize(
    "other",
    [
        {"address": "bobby@example.org"},
        {"address": "bob@example.com"},
        {"deadline": DEADLINE + timedelta(seconds=1)},
        {"deadline": None},
    ],
)
def test_a_code_dies_with_the_address_or_the_deadline_it_was_made_for(other: dict[str, Any]) -> None:
    with pytest.raises(LinkNotValid):
        _verify(_code(), **other)
    with pytest.raises(LinkNotValid):
        _verify(_code(**other))


def test_a_deadline_without_a_time_zone_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="time zone"):
        _code(deadline=datetime(2026, 12, 1))


_PURPOSE_AT = 2 + 19
_FIELD_AT = {"purpose": _PURPOSE_AT, "tenant": _PURPOSE_AT + 1, "id": _PURPOSE_AT + 17, "generation": _PURPOSE_AT + 33}


def _swapped(field: str, value: bytes) -> str:
    raw, at = _raw(_code()), _FIELD_AT[field]
    return _b64(raw[:at] + value + raw[at + len(value) :])


@pytest.mark.parametrize(
    ("field", "value"),
    [("tenant", GLOBEX.bytes), ("id", uuid.UUID(int=5).bytes), ("generation", (4).to_bytes(8))],
)
def test_a_code_with_another_field_put_in_is_not_valid(field: str, value: bytes) -> None:
    code = _swapped(field, value)
    assert read_code(code) != read_code(_code())
    with pytest.raises(LinkNotValid):
        _verify(code)


def test_a_code_of_a_later_version_or_for_an_unknown_purpose_is_unreadable() -> None:
    raw = _raw(_code())
    for at, value in ((0, 2), (0, 0), (1, 0), (1, 18), (1, 255), (_PURPOSE_AT, 0), (_PURPOSE_AT, 99), (2, 0xFF)):
        with pytest.raises(LinkUnreadable):
            read_code(_b64(raw[:at] + bytes([value]) + raw[at + 1 :]))


@pytest.mark.parametrize("made", Purpose)
@pytest.mark.parametrize("used", Purpose)
def test_a_code_is_good_for_its_own_purpose_only(made: Purpose, used: Purpose) -> None:
    if made == used:
        return
    with pytest.raises(LinkForAnother):
        _verify(_code(made), used)
    raw = bytearray(_raw(_code(made)))
    raw[_PURPOSE_AT] = used
    with pytest.raises(LinkNotValid):
        _verify(_b64(bytes(raw)), used)


def test_keys_of_different_purposes_are_different_even_in_one_directory(tmp_path: Path) -> None:
    """One leaked key opens one kind of link."""
    ensure_keys(tmp_path, [purpose.keys for purpose in Purpose])
    assert len({KeyRing(tmp_path, purpose.keys).newest()[1] for purpose in Purpose}) == len(Purpose)


def test_a_rotated_key_keeps_links_alive_and_a_deleted_one_ends_them(tmp_path: Path) -> None:
    directory = tmp_path / "link-invitation"
    ensure_keys(tmp_path, ["link-invitation"])
    (first,) = directory.iterdir()
    first.rename(directory / "20200101-000000-000")
    links = Links.load(tmp_path, Purpose.INVITATION)
    old = links.make_code(Purpose.INVITATION, **FIELDS)
    ensure_keys(tmp_path / "new", ["link-invitation"])
    next((tmp_path / "new" / "link-invitation").iterdir()).rename(directory / "20210101-000000-000")
    links = Links.load(tmp_path, Purpose.INVITATION)
    new = links.make_code(Purpose.INVITATION, **FIELDS)
    assert read_code(new).kid == "20210101-000000-000"
    for code in (old, new):
        links.verify_code(code, Purpose.INVITATION, address=ADDRESS, deadline=DEADLINE)
    (directory / "20200101-000000-000").unlink()
    links = Links.load(tmp_path, Purpose.INVITATION)
    with pytest.raises(LinkNotValid):
        links.verify_code(old, Purpose.INVITATION, address=ADDRESS, deadline=DEADLINE)
    with pytest.raises(KeyProblem):
        Links.load(tmp_path)


@given(st.integers(0, len(_raw(_code())) * 8 - 1))
def test_no_flipped_bit_is_taken(bit: int) -> None:
    raw = bytearray(_raw(_code()))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(LinkError):
        _verify(_b64(bytes(raw)))


@given(st.integers(0, len(_code()) - 1), st.sampled_from(["", "x", "=", " ", "\n", "A", "+", "/", ".", "é", "\x00"]))
def test_a_code_cut_off_or_with_something_behind_is_unreadable(length: int, behind: str) -> None:
    with pytest.raises(LinkUnreadable):
        read_code(_code()[:length])
    if behind:
        with pytest.raises(LinkError):
            _verify(_code() + behind)


def test_a_second_spelling_of_a_code_is_not_taken() -> None:
    """The last character of base64 carries bits that nothing reads; padding is a spelling, too."""
    code = next(code for generation in range(64) if len(_raw(code := _code(generation=generation))) % 3)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(code[-1])
    twin = code[:-1] + alphabet[last ^ 1]
    assert _raw(twin) == _raw(code)
    for other in (twin, code + "=" * (-len(code) % 4), f"{code[:20]}\n{code[20:]}", f" {code}"):
        with pytest.raises(LinkUnreadable):
            read_code(other)


@given(
    st.text(max_size=300) | st.binary(max_size=200).map(_b64) | st.from_regex(r"[A-Za-z0-9_-]{100,140}", fullmatch=True)
)
def test_hostile_text_raises_nothing_but_the_error(code: str) -> None:
    with pytest.raises(LinkUnreadable):
        read_code(code)
    for purpose in Purpose:
        with pytest.raises(LinkError):
            _verify(code, purpose)


@given(st.uuids(), st.uuids(), st.integers(0, 2**63 - 1), st.sampled_from(Purpose))
def test_every_row_has_a_code_of_its_own(tenant: uuid.UUID, id: uuid.UUID, generation: int, purpose: Purpose) -> None:
    code = _code(purpose, tenant_id=tenant, id=id, generation=generation)
    claims = _verify(code, purpose)
    assert (claims.tenant_id, claims.id, claims.generation) == (tenant, id, generation)
    with pytest.raises(LinkError):
        _verify(code[:-43] + _code()[-43:], purpose)
