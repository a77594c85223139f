from collections.abc import Mapping

from libs.common import settings


class Settings(settings.Settings, frozen=True, kw_only=True):
    """What members needs beyond what every service needs."""


def load(environ: Mapping[str, str] | None = None) -> Settings:
    return settings.load(Settings, environ)
