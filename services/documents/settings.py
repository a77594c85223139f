from collections.abc import Mapping
from typing import Literal

from libs.common import settings


class Settings(settings.Settings, frozen=True, kw_only=True):
    """What documents needs beyond what every service needs: where the files are, and who scans them."""

    s3_key: str
    s3_secret: str
    s3_bucket: str
    s3_endpoint: str = ""
    """Empty: Amazon's own for the region."""
    s3_public_endpoint: str = ""
    """The same store as people's browsers reach it; links are signed for this name. Empty: s3_endpoint."""
    s3_region: str = "us-east-1"
    s3_addressing: Literal["path", "virtual"] = "path"
    s3_ca_file: str = ""
    """PEM file of an own certificate authority."""
    s3_encryption: Literal["", "AES256", "aws:kms"] = ""
    """Server-side encryption that is asked for with every new object."""
    s3_kms_key: str = ""
    s3_timeout: float = 15
    """Seconds that one answer of the store may take."""
    scanner_url: str = ""
    """ClamAV: tcp://host:3310 or unix:///run/clamd.sock. Empty: files are not scanned."""


def load(environ: Mapping[str, str] | None = None) -> Settings:
    return settings.load(Settings, environ)
