"""Connections to the database: how long they last."""

import pytest

from muster_coordinator.store.database import Database, Limits
from muster_testing.waiting import eventually

pytestmark = pytest.mark.integration


async def test_a_connection_in_use_all_the_time_is_renewed(dsn: str) -> None:
    async with Database(dsn, Limits(max_connections=1, max_lifetime=0.5)) as database:

        async def server() -> int:
            row = await database.fetchrow("SELECT pg_backend_pid() AS pid")
            assert row is not None
            return int(row["pid"])

        first = await server()

        async def renewed() -> bool:
            return await server() != first

        # Asked all the time, it is never idle for so long.
        await eventually(renewed, every=0.01, what="another connection is in use")
