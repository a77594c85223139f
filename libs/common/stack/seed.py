"""The demo: what a fresh stack holds for whoever looks at it first. Made over HTTP, as a stranger would."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from libs.common.stack.stack import Stack


class Operator(msgspec.Struct, frozen=True):
    address: str = ""
    password: str = ""
    totp: str = ""
    """The secret, as authenticator apps take it."""


class Member(msgspec.Struct, frozen=True):
    login: str
    address: str
    password: str
    column: str
    """Of the status matrix: added, invited, active, locked, …"""


class Tenant(msgspec.Struct, frozen=True):
    slug: str
    members: Sequence[Member] = ()


class Demo(msgspec.Struct, frozen=True):
    operator: Operator = Operator()
    demo: Sequence[Tenant] = ()


def seed(stack: "Stack") -> Demo:
    """Talks to stack.gateway over HTTP, reads mail at stack.addresses.mail; stack.control_centre() runs a command.

    Called at every start: what an earlier one made is found again (stack.state.folder is the place to remember it).
    """
    return Demo()
