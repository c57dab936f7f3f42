"""A call of the database that is cancelled ends, whatever the database does."""

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from muster_coordinator.store.database import Database, Limits
from muster_testing.waiting import eventually

from .blackhole import Network
from .harness import rows

pytestmark = pytest.mark.integration

RUNNING = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"


async def test_a_silent_database_does_not_take_the_place_of_a_cancellation(dsn: str) -> None:
    """A leader that lost its Lease is cancelled: one that went on could never follow."""
    host = urlsplit(dsn)
    async with Network(f"{host.hostname}:{host.port}") as network:
        far = dsn.replace(f"{host.hostname}:{host.port}", network.target)
        limits = Limits(idle_connections=1, statement=30.0, attempt=30.0)
        async with Database(far, limits) as database:
            # There is time to connect, and little to give the connection back.
            database._limits = replace(limits, attempt=0.5)
            calling = asyncio.create_task(database.fetch("SELECT pg_sleep(60)"))
            await eventually(lambda: rows(dsn, RUNNING), what="the statement runs")
            network.cut()
            calling.cancel()
            await asyncio.wait({calling}, timeout=30.0)
            assert calling.cancelled()
