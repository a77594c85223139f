"""What work stands on that outlives a transaction: bytes move between transactions, never within one."""

import asyncio

import msgspec
from litestar.di import NamedDependency

from libs.common.db import Database
from services.documents.scanner import Scanner
from services.documents.store import Store


class Edges(msgspec.Struct, frozen=True):
    database: Database
    store: Store
    scanner: Scanner
    streams: asyncio.Semaphore = msgspec.field(default_factory=lambda: asyncio.Semaphore(16))
    """How many uploads pass through this process at once: each holds up to two parts in memory. The others wait."""


FileEdges = NamedDependency[Edges]
"""What a handler asks for, by the name `edges`."""
