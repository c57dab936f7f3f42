"""Connections to PostgreSQL: how many there are, and how long they last."""

from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from muster_kv_coordinator.core.errors import UnavailableError
from muster_kv_coordinator.store.database import Database, PoolLimits
from muster_testing.waiting import eventually

pytestmark = pytest.mark.integration


class Meter:
    def __init__(self) -> None:
        self.connections: dict[str, Callable[[], float]] = {}

    def asked_database(self, seconds: float) -> None: ...
    def database_failed(self) -> None: ...

    def watch_connections(self, name: str, read: Callable[[], float]) -> None:
        self.connections[name] = read


async def test_there_are_as_many_as_are_wanted_and_no_more(dsn: str) -> None:
    meter = Meter()
    database = Database(dsn, PoolLimits(3, 2, call=1.0), meter)
    await database.open()
    try:
        assert (meter.connections["idle"](), meter.connections["used"]()) == (2, 0)
        async with AsyncExitStack() as used:
            for _ in range(3):
                await used.enter_async_context(database.connection())
            assert (meter.connections["idle"](), meter.connections["used"]()) == (0, 3)
            with pytest.raises(UnavailableError):
                await used.enter_async_context(database.connection())
        await database.ping()
    finally:
        await database.close()


async def test_a_connection_in_use_all_the_time_is_renewed(dsn: str) -> None:
    database = Database(dsn, PoolLimits(1, 1, max_lifetime=0.5), Meter())
    await database.open()
    try:

        async def server() -> int:
            async with database.connection() as connection:
                return int(await connection.fetchval("SELECT pg_backend_pid()"))

        first = await server()

        async def renewed() -> bool:
            return await server() != first

        # Asked all the time, it is never idle for so long.
        await eventually(renewed, every=0.01, what="another connection is in use")
    finally:
        await database.close()
