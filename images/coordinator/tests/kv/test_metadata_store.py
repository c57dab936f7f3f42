"""Connections to PostgreSQL: how many there are, and how long they last."""

import asyncio
from collections.abc import Callable

import pytest

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
    database = Database(dsn, PoolLimits(3, 2, call=60.0), meter)
    await database.open()
    try:
        assert (meter.connections["idle"](), meter.connections["used"]()) == (2, 0)
        async with database.connection(), database.connection():
            async with database.connection():
                assert (meter.connections["idle"](), meter.connections["used"]()) == (0, 3)
                waiting = asyncio.create_task(database.ping())
                # Long enough for one that does not wait.
                await asyncio.wait({waiting}, timeout=0.5)
                assert not waiting.done()
            await waiting
    finally:
        await database.close()


async def test_a_connection_in_use_all_the_time_is_renewed(dsn: str) -> None:
    database = Database(dsn, PoolLimits(1, 1, max_lifetime=0.5, call=60.0), Meter())
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
