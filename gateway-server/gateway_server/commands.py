"""What the commands share that need the database, and no secret of the serving process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from gateway_server.database import Database
from gateway_server.settings import Settings


def with_database(
    environment: Mapping[str, str], work: Callable[[Database], Awaitable[int]]
) -> int:
    """`work`'s exit status."""

    async def prepared() -> int:
        database = Database(Settings.read_database_url(environment))
        try:
            await database.prepare()
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(prepared())
