from collections.abc import Mapping

from libs.common import settings


class Settings(settings.Settings, frozen=True, kw_only=True):
    """What notifier needs beyond what every service needs."""

    smtp_url: str
    """smtp://[user:password@]host:port[?starttls=require|no], smtps://… for TLS from the first byte."""
    smtp_connections: int = 6
    """That this process has open at most."""
    smtp_seconds: float = 30
    """For each answer but the last."""
    smtp_data_seconds: float = 600
    """For the answer to the final dot (RFC 5321 section 4.5.3.2.6: ten minutes)."""
    smtp_ca_file: str = ""
    """Certificates to trust beside the system's."""
    mail_from: str = "mail@control-centre.test"
    """The one address that all mail comes from (D-33)."""
    bounce_domain: str = ""
    """Where bounces come back to; empty: the domain of mail_from."""
    bounce_port: int = 0
    """Where the worker takes bounces by SMTP, 0: nowhere (docs/decisions/bounces-by-smtp.md)."""
    bounce_host: str = "127.0.0.1"
    mail_lease_seconds: float = 60
    """How long a worker that has died keeps a mail to itself."""
    mail_poll_seconds: float = 0.5

    @property
    def bounces_to(self) -> str:
        return self.bounce_domain or self.mail_from.rpartition("@")[2]


def load(environ: Mapping[str, str] | None = None) -> Settings:
    return settings.load(Settings, environ)
