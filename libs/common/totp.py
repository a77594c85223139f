"""One-time codes from an authenticator app (RFC 6238: six digits, 30 seconds, SHA-1 as the apps have it)."""

import hmac
import re

import pyotp

STEP = 30
_WINDOW = 1  # steps before and after: clocks and fingers differ
_CODE = re.compile(r"[0-9]{6}")


def new_secret() -> str:
    """160 random bits in base32. Store it sealed (libs.common.keys.SecretBox)."""
    return pyotp.random_base32(32)


def enrolment_uri(secret: str, *, account: str, issuer: str) -> str:
    """otpauth://…, which the page shows as a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def accepted_step(secret: str, code: str, *, last_step: int, now: float) -> int | None:
    """The time step that the code belongs to, or None if it is wrong or was used.

    Each code works once: store the step with the credential, in a compare-and-set (`… SET last_step = :new WHERE
    last_step < :new`), and give it as last_step the next time. 0 for one that was never used.
    """
    code = code.replace(" ", "")
    if not _CODE.fullmatch(code):
        return None
    totp, current = pyotp.TOTP(secret), int(now) // STEP
    found = None
    for step in range(current - _WINDOW, current + _WINDOW + 1):  # all of them: time tells nothing
        if hmac.compare_digest(totp.generate_otp(step), code) and step > last_step and found is None:
            found = step
    return found
