"""Delivery: what a worker should know reaches the replica with its stream, and goes out on it."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from uuid import UUID

from muster_coordinator.engine.batching import Pacer
from muster_coordinator.engine.errors import NotFound, Unavailable
from muster_coordinator.engine.model import (
    Assignment,
    Cancel,
    Claim,
    Command,
    Drain,
    Pause,
)
from muster_coordinator.engine.ports import AssignmentStore, WorkerStore
from muster_coordinator.engine.retry import Backoff, RetryPolicy

log = logging.getLogger(__name__)

# Under load, one look finds what several workers were given.
_PACE = 0.01


class Stream:
    """One worker's open stream on this replica.

    Args:
        holding: what it works on already, by an earlier stream.
    """

    def __init__(self, worker_id: str, holding: Sequence[Claim] = ()) -> None:
        self.worker_id = worker_id
        self.id = uuid.uuid4()
        self.delivered: dict[UUID, int] = {}
        self._given = {claim.workload_id: claim.generation for claim in holding}
        self._told: set[Cancel | Pause] = set()
        self._draining = False
        self._queue: asyncio.Queue[Command | None] = asyncio.Queue()

    def put(self, assignment: Assignment) -> None:
        """Send one assignment."""
        self.delivered[assignment.workload_id] = assignment.generation
        self._given[assignment.workload_id] = assignment.generation
        self._queue.put_nowait(assignment)

    def order(self, command: Cancel | Pause) -> None:
        """Send a command about an assignment, once."""
        if command not in self._told:
            self._told.add(command)
            self._queue.put_nowait(command)

    def drain(self) -> None:
        """Tell the worker to take nothing more, once."""
        if not self._draining:
            self._draining = True
            self._queue.put_nowait(Drain())

    def given(self) -> list[Claim]:
        """The assignments that may be at work here."""
        return [
            Claim(workload_id, self.worker_id, generation)
            for workload_id, generation in self._given.items()
        ]

    def forget(self, looked_at: Collection[Claim], held: Collection[UUID]) -> None:
        """Of `looked_at`, only `held` are still at work."""
        for claim in looked_at:
            if claim.workload_id in held:
                continue
            # It may have been given anew meanwhile.
            if self._given.get(claim.workload_id) == claim.generation:
                del self._given[claim.workload_id]
        self._told = {one for one in self._told if one.workload_id in self._given}

    def end(self) -> None:
        """Close the stream after what has been put."""
        self._queue.put_nowait(None)

    async def commands(self) -> AsyncIterator[Command]:
        """What is put, until the end."""
        while (command := await self._queue.get()) is not None:
            yield command

    async def assignments(self) -> AsyncIterator[Assignment]:
        """The assignments alone, for workers that can be told nothing else."""
        async for command in self.commands():
            if isinstance(command, Assignment):
                yield command


class Delivery:
    """Holds the streams of this replica's workers.

    Args:
        replica_id: this replica's name in the registry.
        poll: seconds between two looks without a notification.
    """

    def __init__(
        self,
        assignments: AssignmentStore,
        workers: WorkerStore,
        policy: RetryPolicy,
        replica_id: str,
        poll: float,
    ) -> None:
        self._assignments = assignments
        self._workers = workers
        self._policy = policy
        self._replica_id = replica_id
        self._poll = poll
        self._streams: dict[str, Stream] = {}
        self._opening: set[UUID] = set()
        self._ended: set[UUID] = set()
        self._dirty: set[str] = set()
        self._ordered: set[str] = set()
        self._wake = asyncio.Event()
        self._stopping = False

    @contextlib.asynccontextmanager
    async def open(self, worker_id: str, holding: Sequence[Claim] = ()) -> AsyncIterator[Stream]:
        """A worker's stream while the context is open; an older one of the same worker ends.

        Args:
            holding: what the worker says that it works on already.

        Raises:
            NotFound: the worker is unknown and must register first.
            Unavailable: this replica stops, or the database is away.
        """
        if self._stopping:
            raise Unavailable("this coordinator stops; connect to another one")
        stream = Stream(worker_id, holding)
        self._opening.add(stream.id)
        try:
            if not await self._workers.open_stream(worker_id, self._replica_id, stream.id):
                raise NotFound(f"worker {worker_id}: unknown; register first")
            older = self._streams.get(worker_id)
            self._streams[worker_id] = stream
        finally:
            self._opening.discard(stream.id)
        if older is not None:
            older.end()
        log.info("stream opened", extra={"worker_id": worker_id})
        self.wake(worker_id)
        self.wake_orders(worker_id)
        try:
            yield stream
        finally:
            if self._streams.get(worker_id) is stream:
                del self._streams[worker_id]
            # Noted by the loop of `run`: whoever waits here may have been cancelled.
            self._ended.add(stream.id)
            self._wake.set()
            log.info("stream ended", extra={"worker_id": worker_id})

    def wake(self, worker_id: str) -> None:
        """Something was scheduled on a worker; of no matter if its stream is elsewhere."""
        if worker_id in self._streams:
            self._dirty.add(worker_id)
            self._wake.set()

    def wake_orders(self, worker_id: str) -> None:
        """There may be something to tell a worker of what it runs, or of itself."""
        if worker_id in self._streams:
            self._ordered.add(worker_id)
            self._wake.set()

    def wake_all(self) -> None:
        """Look after all workers, as notifications may have been missed."""
        self._dirty.update(self._streams)
        self._ordered.update(self._streams)
        self._wake.set()

    async def run(self) -> None:
        """Deliver for ever; while the database is away, try again with pauses."""
        backoff = Backoff(first=0.2, longest=2.0)
        failures = 0
        pacer = Pacer(_PACE)
        while True:
            try:
                await pacer.turn()
                await self._note_ended()
                await self._deliver()
                await self._order()
                failures = 0
            except Unavailable as error:
                log.warning("delivery waits for the database", extra={"error": str(error)})
                await asyncio.sleep(backoff.after(failures))
                failures += 1
                continue
            await _woken(self._wake, self._poll, self.wake_all)

    async def hold(self) -> None:
        """Keep this replica known as alive, and its streams as they are recorded.

        A stream goes unrecorded where the leader gave up this replica, or its worker left or was
        started anew: it ends here too, and its worker connects again. One that is recorded only,
        as its call was cut off while it opened, is noted as ended.
        """
        while True:
            held = list(self._streams.values())
            try:
                recorded = frozenset(await self._workers.replica_lives(self._replica_id))
            except Unavailable as error:
                log.warning("can't be noted as alive", extra={"error": str(error)})
            else:
                self._compare(held, recorded)
            await asyncio.sleep(self._poll)

    def _compare(self, held: Collection[Stream], recorded: frozenset[UUID]) -> None:
        for stream in held:
            if stream.id not in recorded:
                stream.end()
        live = {stream.id for stream in self._streams.values()} | self._opening
        if stray := recorded - live:
            self._ended |= stray
            self._wake.set()

    async def stop(self) -> None:
        """End all streams, so that their workers connect elsewhere, and note that they ended.

        What runs on the workers stays theirs: they have the grace to open a stream elsewhere.
        """
        self._stopping = True
        self._ended.update(stream.id for stream in self._streams.values())
        for stream in self._streams.values():
            stream.end()
        with contextlib.suppress(Unavailable):
            await self._note_ended()

    async def _note_ended(self) -> None:
        ended = frozenset(self._ended)
        if not ended:
            return
        await self._workers.close_streams(ended, self._policy.lost)
        self._ended -= ended

    async def _deliver(self) -> None:
        workers = self._dirty & self._streams.keys()
        self._dirty = set()
        if not workers:
            return
        streams = {worker_id: self._streams[worker_id] for worker_id in workers}
        known: dict[UUID, int] = {}
        for stream in streams.values():
            known.update(stream.delivered)
        try:
            found = await self._assignments.deliverable(workers, known)
        except Unavailable:
            self._dirty |= workers
            raise
        for stream in streams.values():
            stream.delivered = _kept(stream.delivered, found.waiting)
        for assignment in found.fresh:
            # A stream that was replaced meanwhile is looked after under its own wake-up.
            stream = streams[assignment.worker_id]
            if self._streams.get(assignment.worker_id) is stream:
                stream.put(assignment)

    async def _order(self) -> None:
        """Tell workers what became of their assignments without them."""
        workers = self._ordered & self._streams.keys()
        self._ordered = set()
        if not workers:
            return
        streams = {worker_id: self._streams[worker_id] for worker_id in workers}
        given = {worker_id: stream.given() for worker_id, stream in streams.items()}
        try:
            orders = await self._assignments.orders(
                workers, [claim for claims in given.values() for claim in claims]
            )
        except Unavailable:
            self._ordered |= workers
            raise
        for worker_id, command in orders.commands:
            streams[worker_id].order(command)
        for worker_id in orders.draining:
            streams[worker_id].drain()
        for worker_id, claims in given.items():
            streams[worker_id].forget(claims, orders.held)


def _kept(delivered: Mapping[UUID, int], waiting: Collection[UUID]) -> dict[UUID, int]:
    return {key: value for key, value in delivered.items() if key in waiting}


async def _woken(wake: asyncio.Event, seconds: float, otherwise: Callable[[], None]) -> None:
    """Wait for `wake`, or call `otherwise` after `seconds`; either way `wake` is clear after."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        otherwise()
    wake.clear()
