"""What the public doors work with: sign-in, links, tokens. There no token has named a tenant yet, so their rules open
their own transactions, in the tenant that a slug, a link or a session leads to.
"""

import httpx
import msgspec

from libs.common.bus import Bus
from libs.common.db import Database
from libs.common.http_client import Rules, http_client
from libs.common.keys import SECRETS, TOKEN, KeyRing, SecretBox
from libs.common.links import Links, Purpose
from libs.common.passwords import PasswordCosts, Passwords
from libs.common.tokens import IssuerKeys, TokenIssuer
from services.identity.settings import Settings


class Doors(msgspec.Struct, frozen=True):
    settings: Settings
    database: Database
    passwords: Passwords
    links: Links
    keys: IssuerKeys
    tokens: TokenIssuer
    secrets: SecretBox
    outgoing: httpx.AsyncClient
    """For whatever leaves the installation; closed with the application."""
    bus: Bus | None


def open_doors(settings: Settings, database: Database, bus: Bus | None = None) -> Doors:
    """Raises KeyProblem where a key is missing: no key, no start."""
    keys = IssuerKeys(KeyRing(settings.keys_dir, TOKEN))
    return Doors(
        settings=settings,
        database=database,
        passwords=Passwords(PasswordCosts(settings.password_time_cost, settings.password_memory_kib)),
        links=Links.load(settings.keys_dir, Purpose.INVITATION, Purpose.PASSWORD_RESET),
        keys=keys,
        tokens=TokenIssuer(keys, settings.public_url),
        secrets=SecretBox(KeyRing(settings.keys_dir, SECRETS)),
        outgoing=http_client(Rules(allow_loopback=settings.outgoing_loopback)),
        bus=bus,
    )
