"""The engine over a real database, without faces: one replica in the hands of a test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from muster_coordinator.engine.acceptance import AsReported
from muster_coordinator.engine.admission import QueueLimits
from muster_coordinator.engine.affinity import NO_AFFINITY, Affinity
from muster_coordinator.engine.customers import Customer, Tier
from muster_coordinator.engine.delivery import Delivery, Stream
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.leader import Leader, LeaderSettings
from muster_coordinator.engine.model import (
    Assignment,
    Cancel,
    Claim,
    Command,
    Moved,
    NewWorkload,
    Pause,
    Registration,
    Requirement,
    Workload,
)
from muster_coordinator.engine.notes import Notes
from muster_coordinator.engine.ports import HealthLimits, Submission, Verdict
from muster_coordinator.engine.queue import Queue
from muster_coordinator.engine.registry import Registry
from muster_coordinator.engine.reports import Reports, Times
from muster_coordinator.engine.retry import Backoff, RetryPolicy
from muster_coordinator.engine.scheduling import STRATEGIES
from muster_coordinator.engine.states import State
from muster_coordinator.engine.waiters import Waiters
from muster_coordinator.ops.metrics import Metrics
from muster_coordinator.proving.offers import Offers
from muster_coordinator.store import signals
from muster_coordinator.store.accounts import PostgresAccounts
from muster_coordinator.store.assignments import PostgresAssignments
from muster_coordinator.store.database import SERVER_SETTINGS, Database
from muster_coordinator.store.history import PostgresHistory
from muster_coordinator.store.leadership import PostgresLeadership
from muster_coordinator.store.migrate import migrate
from muster_coordinator.store.notes import PostgresNotes
from muster_coordinator.store.queue import PostgresQueue
from muster_coordinator.store.witnesses import Witnesses
from muster_coordinator.store.workers import PostgresWorkers
from muster_runtime.notifications import Notifications
from muster_testing.waiting import eventually

NEED = Requirement("general", "sleep")

# Short, but longer than anything here takes on a busy machine.
LEASE = 60.0
# Hands send no heartbeats.
PATIENT = HealthLimits(suspect=600.0, dead=1800.0, replica=600.0)


@dataclass
class Settings:
    """How a replica under test differs from others."""

    strategy: str = "least-loaded"
    lease: float = LEASE
    poll: float = 0.2
    limits: QueueLimits = field(default_factory=QueueLimits)
    health: HealthLimits = PATIENT
    policy: RetryPolicy = field(default_factory=lambda: RetryPolicy(Backoff(first=0.05, jitter=0)))
    witnesses: Witnesses = field(default_factory=Witnesses)
    replica: str = "c-0"


class Parts:
    """Everything between the faces and the database."""

    def __init__(self, dsn: str, database: Database, settings: Settings) -> None:
        self.dsn = dsn
        self.database = database
        self.settings = settings
        self.metrics = Metrics(Offers([]))
        self.accounts = PostgresAccounts(database)
        self.history = PostgresHistory(database)
        self.leadership = PostgresLeadership(database, settings.witnesses, settings.replica)
        self.workers = PostgresWorkers(database)
        self.assignments = PostgresAssignments(database, settings.witnesses)
        self.waiters = Waiters()
        store = PostgresQueue(database, settings.witnesses)
        self.queue = Queue(store, self.waiters, settings.limits)
        self.registry = Registry(self.workers, self.assignments, settings.policy)
        self.notes = PostgresNotes(database, settings.witnesses)
        self.reports = Reports(
            self.assignments,
            Notes(self.notes, self.metrics, settings.lease),
            self.workers,
            AsReported(),
            settings.policy,
            self.metrics,
            Times(settings.lease),
        )
        self.delivery = Delivery(
            self.assignments, self.workers, settings.policy, settings.replica, settings.poll
        )
        self.leader = Leader(
            self.leadership,
            self.workers,
            STRATEGIES[settings.strategy](),
            settings.policy,
            LeaderSettings(poll=settings.poll, lease=settings.lease, limits=settings.health),
            self.metrics,
        )
        self.queue.hand_over = self.leader.hand_over
        self.leader.on_assigned = self._assigned
        self.reports.on_ended = self.delivery.finished

    def _assigned(self, moved: Sequence[Moved]) -> None:
        self.reports.assigned(one for one in moved if self.delivery.holds(one.worker_id))
        self.delivery.assigned(moved)

    @contextlib.asynccontextmanager
    async def running(self, *, leads: bool = True) -> AsyncIterator["Parts"]:
        """Deliver, listen, and lead, while the context is open."""
        await self.workers.replica_started(self.settings.replica)
        connected = asyncio.Event()
        listener = Notifications(
            self.dsn,
            SERVER_SETTINGS,
            {
                signals.WORK: lambda what: self.leader.wake(workers=what == signals.WORKERS),
                signals.ASSIGNED: self.delivery.wake,
                signals.ORDERS: self.delivery.wake_orders,
                signals.DONE: self.waiters.wake_named,
            },
            connected.set,
        )
        works = [listener.run(), self.delivery.run(), self.delivery.hold()]
        if leads:
            works.append(self.leader.lead(self.settings.replica))
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await connected.wait()
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def worker(
        self, name: str = "w-0", capacity: int = 1, **more: Any
    ) -> AsyncIterator["Hand"]:
        """A worker in the hands of the test, with an open stream."""
        fields = {"pool": "general", "types": frozenset({"sleep"})} | more
        await self.registry.register(Registration(id=name, capacity=capacity, **fields))
        async with self.delivery.open(name) as stream:
            hand = Hand(self, name, stream)
            try:
                yield hand
            finally:
                hand.close()

    async def submit(
        self, *, customer: Customer | None = None, affinity: Affinity = NO_AFFINITY, **more: Any
    ) -> UUID:
        """Submit one workload; its id."""
        fields: dict[str, Any] = {"requirement": NEED, "input": b"{}"} | more
        if customer is not None:
            fields |= {"customer_id": customer.id}
        made = NewWorkload(new_id(), affinity=affinity, **fields)
        [workload_id] = await self.queue.submit([made], customer=customer)
        return workload_id

    async def customer(self, name: str = "", tier: Tier = Tier.FREE, **limits: Any) -> Customer:
        """A stored customer."""
        name = name or f"customer-{uuid4()}"
        return await self.accounts.put_customer(Customer(name, name, tier, **limits))

    async def reaches(
        self, workload_id: UUID, state: State, customer_id: str = "default"
    ) -> Workload:
        """A workload once it is in a state."""

        async def probe() -> Workload:
            found = await self.queue.get(workload_id, customer_id)
            assert found.state is state, found
            return found

        found: Workload = await eventually(probe, what=f"{workload_id} is {state}")
        return found

    async def events(self, workload_id: UUID, customer_id: str = "default") -> list[str]:
        """The names of what happened to a workload, in order."""
        return [one.event for one in await self.history.audit(workload_id, customer_id)]


class Hand:
    """A worker that does what the test says."""

    def __init__(self, parts: Parts, name: str, stream: Stream) -> None:
        self.parts = parts
        self.name = name
        self.commands: list[Command] = []
        self._taken: set[tuple[UUID, int]] = set()
        self._reading = asyncio.create_task(self._read(stream))

    async def _read(self, stream: Stream) -> None:
        async for command in stream.commands():
            self.commands.append(command)

    def close(self) -> None:
        """Read no more."""
        self._reading.cancel()

    def claim(self, one: Assignment | Cancel | Pause) -> Claim:
        """What a report on an assignment says of itself."""
        return Claim(one.workload_id, self.name, one.generation)

    async def given(self, workload_id: UUID | None = None) -> Assignment:
        """The next assignment, or the next one of a workload."""

        def probe() -> Assignment | None:
            for one in self.commands:
                if (
                    isinstance(one, Assignment)
                    and workload_id in {None, one.workload_id}
                    and (one.workload_id, one.generation) not in self._taken
                ):
                    return one
            return None

        found = await eventually(probe, what=f"{self.name} is given {workload_id or 'work'}")
        assert found is not None
        self._taken.add((found.workload_id, found.generation))
        return found

    async def begun(self, workload_id: UUID | None = None) -> Assignment:
        """The next assignment, at work."""
        one = await self.given(workload_id)
        await self.parts.reports.start(self.claim(one))
        return one

    async def told(self, command: Command) -> None:
        """Wait until a command has come."""
        await eventually(
            lambda: command in self.commands or None, what=f"{self.name} is told {command}"
        )

    async def completes(self, one: Assignment, output: bytes | None = None) -> Verdict:
        """Report a result."""
        return await self.parts.reports.complete(self.claim(one), Submission(5, output=output))


@contextlib.asynccontextmanager
async def parts(dsn: str, settings: Settings | None = None) -> AsyncIterator[Parts]:
    """A replica that does nothing by itself."""
    await migrate(dsn)
    async with Database(dsn) as database:
        yield Parts(dsn, database, settings or Settings())


def held(hands: Sequence[Hand]) -> dict[str, list[UUID]]:
    """What was given to whom."""
    return {
        hand.name: [one.workload_id for one in hand.commands if isinstance(one, Assignment)]
        for hand in hands
    }
