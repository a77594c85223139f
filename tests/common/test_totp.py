from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from libs.common.totp import accepted_step, enrolment_uri, new_secret

# RFC 6238 appendix B, its last six digits; the secret is "12345678901234567890".
RFC = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
NOW = 1_111_111_109
STEP = NOW // 30


@pytest.mark.parametrize(
    ("now", "code"), [(59, "287082"), (NOW, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
)
def test_codes_are_those_of_the_standard(now: int, code: str) -> None:
    assert accepted_step(RFC, code, last_step=0, now=now) == now // 30


def _code(step: int) -> str:
    return pyotp.TOTP(RFC).generate_otp(step)


@pytest.mark.parametrize(("offset", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_one_step_before_and_after_is_taken(offset: int, taken: bool) -> None:
    assert accepted_step(RFC, _code(STEP + offset), last_step=0, now=NOW) == (STEP + offset if taken else None)


def test_a_code_works_once_and_so_do_those_before_it() -> None:
    step = accepted_step(RFC, _code(STEP), last_step=0, now=NOW)
    assert step == STEP
    assert accepted_step(RFC, _code(STEP), last_step=step, now=NOW + 29) is None
    assert accepted_step(RFC, _code(STEP - 1), last_step=step, now=NOW) is None
    assert accepted_step(RFC, _code(STEP + 1), last_step=step, now=NOW + 30) == STEP + 1


def test_spaces_as_apps_show_them_are_fine() -> None:
    code = _code(STEP)
    assert accepted_step(RFC, f"{code[:3]} {code[3:]}", last_step=0, now=NOW) == STEP


@pytest.mark.parametrize(
    "code",
    [
        "",
        "1",
        "12345",
        "1234567",
        "abcdef",
        "08180\uff14",
        "\uff10\uff18\uff11\uff18\uff10\uff14",
        "-81804",
        "8180.4",
        "081804\n",
    ],
)
def test_anything_but_six_digits_is_wrong(code: str) -> None:
    assert accepted_step(RFC, code, last_step=0, now=NOW) is None


def test_secrets_are_new_each_time_and_long_enough() -> None:
    assert new_secret() != new_secret()
    assert len(new_secret()) * 5 >= 160


def test_the_enrolment_address_names_the_issuer_and_the_account() -> None:
    address = urlsplit(enrolment_uri(RFC, account="bob@example.org", issuer="Acme & Co"))
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    assert parse_qs(address.query) == {"secret": [RFC], "issuer": ["Acme & Co"]}
