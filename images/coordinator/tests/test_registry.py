"""Silence: when it makes a worker suspect, dead and forgotten, with the limits of production."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from muster_coordinator.app import health_limits
from muster_coordinator.config import CoordinatorConfig, LeaderElectionSection
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import Registration
from muster_coordinator.store.database import Database
from muster_coordinator.store.leadership import PostgresLeadership
from muster_coordinator.store.migrate import migrate
from muster_coordinator.store.workers import PostgresWorkers

from .harness import rows

pytestmark = pytest.mark.integration

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
DAY = 24 * 3600

LIMITS = health_limits(
    CoordinatorConfig(leader_election=LeaderElectionSection(backend="advisory-lock"))
)


class Registry:
    """One registered worker, and a leader."""

    def __init__(self, database: Database, epoch: int) -> None:
        self._database = database
        self._epoch = epoch
        self.workers = PostgresWorkers(database)
        self.leadership = PostgresLeadership(database)

    async def after(self, seconds: float) -> str:
        """The worker's status once it has been silent for so long."""
        await self._database.fetch(
            "UPDATE workers SET last_heartbeat_at = now() - make_interval(secs => $1)", seconds
        )
        await self.leadership.judge_workers(self._epoch, LIMITS, LONG_AGO)
        await self.leadership.maintain(self._epoch, LIMITS)
        found = await self.workers.workers()
        return found[0].status if found else "forgotten"


@pytest_asyncio.fixture
async def registry(dsn: str) -> AsyncIterator[Registry]:
    await migrate(dsn)
    async with Database(dsn) as database:
        epoch, _ = await PostgresLeadership(database).take_epoch("c-0")
        made = Registry(database, epoch)
        await made.workers.register(Registration("w-0", "demo", 2, frozenset({"prove.range"})))
        await made.workers.open_stream("w-0", "c-0", new_id())
        yield made


async def test_suspect_after_30_seconds_dead_after_90_forgotten_after_7_days(
    registry: Registry, dsn: str
) -> None:
    # Seconds may pass until it is judged.
    assert await registry.after(20) == "ACTIVE"
    assert await registry.after(31) == "SUSPECT"
    assert await registry.after(80) == "SUSPECT"
    assert await registry.after(91) == "DEAD"
    assert await registry.after(7 * DAY - 60) == "DEAD"
    assert await registry.after(7 * DAY + 60) == "forgotten"
    way = "SELECT event, before, after FROM audit WHERE worker_id = 'w-0' ORDER BY seq"
    assert await rows(dsn, way) == [
        ("worker.registered", None, "ACTIVE"),
        ("worker.status", "ACTIVE", "SUSPECT"),
        ("worker.status", "SUSPECT", "DEAD"),
        ("worker.forgotten", "DEAD", None),
    ]
    assert await registry.workers.beat({"w-0": 0}) == set()


@pytest.mark.parametrize("silent", [31, 91])
async def test_a_heartbeat_brings_it_back(registry: Registry, silent: int) -> None:
    await registry.after(31)
    assert await registry.after(silent) in {"SUSPECT", "DEAD"}
    assert await registry.workers.beat({"w-0": 1}) == {"w-0"}
    [worker] = await registry.workers.workers()
    assert (worker.status, worker.connected, worker.status_reason) == ("ACTIVE", True, "heartbeat")


async def test_who_was_quarantined_and_went_is_forgotten_too(registry: Registry) -> None:
    await registry.workers.quarantine("w-0", "a lie", 30.0 * DAY)
    assert await registry.after(91) == "QUARANTINED"
    assert await registry.after(7 * DAY + 60) == "forgotten"
