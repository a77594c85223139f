import asyncio
import uuid

import click

from libs.common.errors import AppError
from services.members.settings import load


@click.group()
def commands() -> None:
    """Customer organisations."""


@commands.command()
@click.argument("slug")
@click.argument("name")
@click.option("--owner", "owner", metavar="ADDRESS", required=True, help="Whom to invite as the first owner.")
@click.option("--owner-login", help="Otherwise what stands before the @.")
@click.option("--owner-name", help="Otherwise the login name.")
@click.option("--seats", type=click.IntRange(1), default=10, show_default=True)
@click.option("--locale", default="de", show_default=True)
@click.option("--time-zone", default="Europe/Berlin", show_default=True)
def create(
    slug: str,
    name: str,
    owner: str,
    owner_login: str | None,
    owner_name: str | None,
    seats: int,
    locale: str,
    time_zone: str,
) -> None:
    """Make a tenant and invite its first owner; prints the tenant's id."""
    asked = {
        "slug": slug,
        "name": name,
        "locale": locale,
        "time_zone": time_zone,
        "seats": seats,
        "owner": {"email": owner, "login_name": owner_login, "display_name": owner_name},
    }
    click.echo(asyncio.run(_create(asked)))


async def _create(asked: dict[str, object]) -> uuid.UUID:
    """The same checks as by HTTP. Raises click.ClickException that says what is wrong."""
    import msgspec

    from libs.common.db import PLATFORM, Database
    from libs.common.tokens import Actor
    from services.members.tenants.rules import create_tenant, owner_profile
    from services.members.tenants.schemas import OperatorTenantIn

    settings = load()
    database = Database(settings.database_url, pool_size=1)
    try:
        data = msgspec.convert(asked, OperatorTenantIn)
        profile = owner_profile(data.owner.email, data.owner.login_name, data.owner.display_name, data.locale)
        async with database.session(PLATFORM) as session:
            tenant = await create_tenant(
                session,
                Actor.system(PLATFORM),
                slug=data.slug,
                name=data.name,
                locale=data.locale,
                time_zone=data.time_zone,
                seats=data.seats,
                owner=profile,
            )
        return tenant.id
    except msgspec.ValidationError as error:
        raise click.ClickException(str(error)) from error
    except AppError as error:
        raise click.ClickException(f"{error.title}: {error.params}") from error
    finally:
        await database.close()
