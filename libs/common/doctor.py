"""`control-centre doctor`: try every address that the environment names, and say what is wrong and what to do.

Without any, in a folder with a running local stack, that stack is examined. Nothing is changed anywhere.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec
from rich.console import Console


class Wrong(Exception):
    """What is wrong, and what to do."""


type Check = Callable[[str, Mapping[str, str]], Awaitable[str]]


@click.command()
def doctor() -> None:
    """Try every address that is set, and say what is wrong and what to do."""
    console = Console(highlight=False, soft_wrap=True)
    environ = {name: os.environ[name] for name in _ASKED if os.environ.get(name)} or _local_stack()
    if not environ:
        raise click.UsageError(f"No address is set ({', '.join(CHECKS)}), and there is no .stack/stack.json here.")
    if not asyncio.run(_examine(console, environ)):
        raise SystemExit(1)


async def _examine(console: Console, environ: Mapping[str, str]) -> bool:
    """Whether everything is well."""
    well = True
    for name, check in CHECKS.items():
        for variable in (one for one in environ if one == name or one.startswith(f"{name}.")):
            shown = f"{variable}  [dim]{_without_password(environ[variable])}[/]"
            try:
                async with asyncio.timeout(10):
                    console.print(f"[green]✓[/] {shown}  {await check(environ[variable], environ)}")
            except Exception as error:
                well = False
                why = "no answer within 10 s" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
                console.print(f"[red]✗[/] {shown}")
                console.print(f"    {why}", markup=False)
    return well


async def _database(url: str, _: Mapping[str, str]) -> str:
    import asyncpg

    try:
        connection = await asyncpg.connect(url)
    except asyncpg.InvalidPasswordError as error:
        raise Wrong(f"{error}. Is the password the one that the role was made with?") from None
    except asyncpg.InvalidCatalogNameError as error:
        raise Wrong(f"{error}. Provision the service's database first.") from None
    except OSError as error:
        raise Wrong(f"{error}. Is PostgreSQL running there?") from None
    try:
        version, bypass = await connection.fetchrow(
            "SELECT current_setting('server_version'), rolsuper OR rolbypassrls"
            " FROM pg_roles WHERE rolname = current_user"
        )
    finally:
        await connection.close()
    if int(version.split(".")[0]) < 18:
        raise Wrong(f"PostgreSQL {version}: 18 or later is needed (uuidv7).")
    return f"PostgreSQL {version}{', sees every tenant' if bypass else ''}"


async def _app_database(url: str, environ: Mapping[str, str]) -> str:
    from libs.common.roles import check_app_role

    found = await _database(url, environ)
    await check_app_role(url)
    return found


async def _nats(url: str, _: Mapping[str, str]) -> str:
    from libs.common.bus import Bus
    from libs.common.events.subjects import SERVICES, events_of
    from libs.common.streams import check

    bus = Bus(url)
    await bus.start()
    try:
        await bus.connected()
        if bus.user in SERVICES:
            await check(bus, {events_of(bus.user), "REVOKED"})
    finally:
        await bus.close()
    return f"as {bus.user}"


async def _s3(endpoint: str, environ: Mapping[str, str]) -> str:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = environ.get("S3_BUCKET", "")
    if missing := [name for name in ("S3_KEY", "S3_SECRET", "S3_BUCKET") if not environ.get(name)]:
        raise Wrong(f"{', '.join(missing)} not set.")

    def look() -> None:
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=environ["S3_KEY"],
            aws_secret_access_key=environ["S3_SECRET"],
            region_name=environ.get("S3_REGION", "us-east-1"),
            config=Config(connect_timeout=3, read_timeout=5, retries={"max_attempts": 0}),
        )
        client.head_bucket(Bucket=bucket)

    try:
        await asyncio.to_thread(look)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        reasons = {403: "the key or the secret is wrong, or may not use it", 404: "there is no such bucket: make it"}
        raise Wrong(f"bucket {bucket}: {reasons.get(status or 0, str(error))}") from None
    except BotoCoreError as error:
        raise Wrong(f"{error}. Is an S3 server running there?") from None
    return f"bucket {bucket}"


async def _smtp(url: str, _: Mapping[str, str]) -> str:
    import aiosmtplib

    place = urlsplit(url)
    client = aiosmtplib.SMTP(
        hostname=place.hostname,
        port=place.port,
        use_tls=place.scheme == "smtps",
        username=place.username,
        password=place.password,
        timeout=5,
    )
    try:
        async with client:
            await client.noop()
    except (aiosmtplib.SMTPException, OSError) as error:
        raise Wrong(f"{error}. Is a mail relay running there, and the password right?") from None
    return "answers"


async def _identity(url: str, _: Mapping[str, str]) -> str:
    return f"{len((await _get(f'{url.rstrip("/")}/identity/v1/jwks')).json()['keys'])} public keys"


async def _http(url: str, _: Mapping[str, str]) -> str:
    await _get(url)
    return "answers"


async def _get(url: str) -> Any:
    import httpx

    try:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            answer = await client.get(url)
    except httpx.HTTPError as error:
        raise Wrong(f"{url}: {error or type(error).__name__}. Is it running there?") from None
    if answer.is_server_error:
        raise Wrong(f"{url} answers {answer.status_code}: look at its log.")
    return answer


async def _keys(directory: str, _: Mapping[str, str]) -> str:
    from libs.common.keys import PURPOSES, KeyRing

    for purpose in PURPOSES:
        KeyRing(Path(directory), purpose)
    return f"a key for each of {len(PURPOSES)} purposes"


CHECKS: Mapping[str, Check] = {
    "POSTGRES_URL": _database,
    "DATABASE_URL": _app_database,
    "DATABASE_RELAY_URL": _database,
    "DATABASE_SWEEP_URL": _database,
    "DATABASE_OPERATOR_URL": _database,
    "DATABASE_MIGRATE_URL": _database,
    "NATS_URL": _nats,
    "S3_ENDPOINT": _s3,
    "SMTP_URL": _smtp,
    "IDENTITY_URL": _identity,
    "PUBLIC_URL": _http,
    "MAIL_PAGE": _http,
    "KEYS_DIR": _keys,
}
_ASKED = (*CHECKS, "S3_KEY", "S3_SECRET", "S3_BUCKET", "S3_REGION")


def _local_stack() -> dict[str, str]:
    """What stack.json names, under the names of the environment."""
    path = Path(".stack/stack.json")
    if not path.exists():
        return {}
    stack = msgspec.json.decode(path.read_bytes())
    found = {f"POSTGRES_URL.{service}": url for service, url in stack["postgres"].items()}
    found |= {f"S3_{name.upper()}": value for name, value in stack["s3"].items()}
    found |= {"NATS_URL": stack["nats"], "SMTP_URL": stack["smtp"], "MAIL_PAGE": stack["mail"]}
    found |= {"PUBLIC_URL": stack["gateway"], "IDENTITY_URL": stack["gateway"]}
    return {name: value for name, value in found.items() if value}


def _without_password(url: str) -> str:
    place = urlsplit(url)
    return place._replace(netloc=place.netloc.rpartition("@")[2]).geturl() if place.password else url
