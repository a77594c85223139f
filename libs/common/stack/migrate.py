"""python -m libs.common.stack.migrate: migrate the services that standard input names, {service: url}, one by one."""

import asyncio
import sys
import traceback

import msgspec
from sqlalchemy.exc import DBAPIError

from libs.common.migrations import migrate


async def main(urls: dict[str, str]) -> None:
    for service, url in urls.items():
        try:
            await migrate(service, url)
        except DBAPIError as error:
            traceback.print_exc()
            sys.exit(
                f"{service}: {error.orig}"
            )  # last, where it is seen: SQLAlchemy's text repeats the whole migration


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, str])))
