"""What the tests of the broker have in common: a configuration, submitting, looking."""

import json
from collections import Counter
from typing import Any
from uuid import UUID

from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import NewWorkload, Requirement, Workload
from muster_coordinator.engine.states import State
from muster_coordinator.store.database import Database
from muster_coordinator.store.queue import PostgresQueue
from muster_testing.nats import NatsServer
from muster_testing.waiting import eventually

from .harness import rows, settings

NEED = Requirement("general", "echo")


def brokered(server: NatsServer, **coordinator: Any) -> dict[str, Any]:
    """A configuration with a broker, and one pool that does no proofs."""
    return settings(**{"heartbeat_timeout": "6s"} | coordinator) | {
        "proving": {"pools": []},
        "workloads": {"pools": [{"name": "general"}]},
        "broker": {"servers": [server.url]},
    }


class Owner:
    """Whose workloads the tests are about; speaks to the database as the faces do."""

    def __init__(self, dsn: str, database: Database) -> None:
        self._dsn = dsn
        self.store = PostgresQueue(database)

    async def submit(self, number: int = 1, **more: Any) -> list[UUID]:
        """Submit so many workloads at once."""
        made = []
        for i in range(number):
            fields: dict[str, Any] = {"requirement": NEED, "input": json.dumps(i).encode()} | more
            made.append(NewWorkload(new_id(), **fields))
        await self.store.submit(made)
        return [one.id for one in made]

    async def reaches(self, workload_id: UUID, state: State) -> Workload:
        """A workload once it is in a state."""

        async def probe() -> Workload:
            found = await self.store.get(workload_id, "default")
            assert found is not None
            assert found.state is state, found
            return found

        found: Workload = await eventually(probe, what=f"{workload_id} is {state}")
        return found

    async def begun(self, number: int) -> list[UUID]:
        """The workloads that run, once there are so many."""
        query = "SELECT id FROM workloads WHERE state = 'RUNNING'"

        async def probe() -> list[UUID] | None:
            found = [one for (one,) in await rows(self._dsn, query)]
            return found if len(found) == number else None

        found: list[UUID] = await eventually(probe, what=f"{number} run")
        return found

    async def all_completed(self, ids: list[UUID]) -> None:
        """Wait until all are completed, and see that each was so exactly once."""
        query = "SELECT state, count(*) FROM workloads WHERE id = ANY ($1) GROUP BY state"

        async def probe() -> bool:
            states = dict(await rows(self._dsn, query, ids))
            assert states == {"COMPLETED": len(ids)}, states
            return True

        # They are many, and what held some of them may have to be found out first.
        await eventually(probe, deadline=180, every=0.2, what="all are completed")
        assert set((await self.events(ids, "workload.completed")).values()) == {1}

    async def events(self, ids: list[UUID], event: str) -> Counter[UUID]:
        """How often something happened to workloads."""
        query = "SELECT workload_id FROM audit WHERE workload_id = ANY ($1) AND event = $2"
        return Counter(one for (one,) in await rows(self._dsn, query, ids, event))
