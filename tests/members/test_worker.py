"""What runs beside HTTP: the beat, the command line."""

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path

from click.testing import CliRunner
from sqlalchemy import select

from libs.common.changes import Outbox
from libs.common.db import PLATFORM, Database, now
from services.members.beat import beat
from services.members.cli import commands
from tests.conftest import UrlsOf
from tests.members.conftest import MEMBERS, As, at, ok


async def test_a_beat_goes_the_way_of_all_events(database: Database) -> None:
    """R-10: identity mints tokens only while these arrive."""
    await beat(database)
    async with database.session(PLATFORM) as session:
        newest = (await session.scalars(select(Outbox).order_by(Outbox.sequence.desc()).limit(1))).one()
    assert newest.type == "members.worker.beat.v1"
    assert now() - at(str(newest.data["at"])) < timedelta(seconds=30)


async def test_a_tenant_is_made_on_the_command_line(
    urls_of: UrlsOf, keys_dir: Path, as_: As, database: Database
) -> None:
    urls = await urls_of("members")
    environ = {
        "DATABASE_URL": urls.app, "DATABASE_RELAY_URL": urls.relay, "DATABASE_SWEEP_URL": urls.sweep,
        "DATABASE_OPERATOR_URL": urls.operator, "NATS_URL": "nats://nobody@127.0.0.1:1", "KEYS_DIR": str(keys_dir),
        "PUBLIC_URL": "http://127.0.0.1:1", "IDENTITY_URL": "http://127.0.0.1:1",
    }  # fmt: skip

    async def run(*arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner(env=environ).invoke, commands, ["create", *arguments])
        return done.exit_code, done.output

    slug = f"cli-{uuid.uuid4().hex[:8]}"
    code, printed = await run(slug, "Acme", "--owner", "boss@acme.example", "--seats", "3")
    assert code == 0, printed
    [owner] = (await ok(as_("admin", uuid.UUID(printed.strip())).get(MEMBERS)))["items"]
    assert (owner["login_name"], owner["access"]) == ("boss", "invited")
    code, printed = await run(slug, "Acme", "--owner", "boss@acme.example")
    assert (code, slug in printed) == (1, True)
    code, printed = await run("No Slug", "Acme", "--owner", "boss@acme.example")
    assert (code, "slug" in printed) == (1, True)
