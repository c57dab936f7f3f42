"""Delivery: what a worker should know reaches the replica with its stream, and goes out on it."""

import asyncio
import contextlib
import logging
import uuid
from collections import defaultdict, deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from uuid import UUID

from muster_coordinator.engine.batching import Pacer
from muster_coordinator.engine.errors import NotFound, Unavailable
from muster_coordinator.engine.model import (
    Assignment,
    Cancel,
    Claim,
    Command,
    Drain,
    Moved,
    Pause,
)
from muster_coordinator.engine.ports import AssignmentStore, WorkerStore
from muster_coordinator.engine.retry import Backoff, RetryPolicy

log = logging.getLogger(__name__)

# Under load, one look finds what several workers were given.
_PACE = 0.01

# Of what is at work on them, so that a statement stays short however much that is.
_CLAIMS_AT_ONCE = 2000


class Stream:
    """One worker's open stream on this replica.

    Args:
        holding: what it works on already, by an earlier stream.
    """

    def __init__(self, worker_id: str, holding: Sequence[Claim] = ()) -> None:
        self.worker_id = worker_id
        self.id = uuid.uuid4()
        # What may still wait for its beginning, as far as it is known here.
        self._delivered: dict[UUID, int] = {}
        self._looking = False
        self._given = {claim.workload_id: claim.generation for claim in holding}
        self._told: set[Cancel | Pause] = set()
        self._draining = False
        self._queue: deque[Command | None] = deque()
        self._filled = asyncio.Event()

    def put(self, assignment: Assignment) -> None:
        """Send one assignment, once."""
        if self._delivered.get(assignment.workload_id) == assignment.generation:
            return
        self._delivered[assignment.workload_id] = assignment.generation
        self._given[assignment.workload_id] = assignment.generation
        self._say(assignment)

    def order(self, command: Cancel | Pause) -> None:
        """Send a command about an assignment, once."""
        if command not in self._told:
            self._told.add(command)
            self._say(command)

    def drain(self) -> None:
        """Tell the worker to take nothing more, once."""
        if not self._draining:
            self._draining = True
            self._say(Drain())

    def look(self) -> Mapping[UUID, int]:
        """What was delivered, to be settled once it is known what of it waits."""
        self._looking = True
        return dict(self._delivered)

    def settle(self, looked_at: Mapping[UUID, int], waiting: Collection[UUID]) -> None:
        """Of `looked_at`, which was delivered, only `waiting` still waits for its beginning."""
        self._looking = False
        for workload_id, generation in looked_at.items():
            if workload_id not in waiting:
                _drop(self._delivered, workload_id, generation)

    def finished(self, workload_id: UUID, generation: int) -> None:
        """The worker's report that ended an assignment was taken in."""
        _drop(self._given, workload_id, generation)
        # A look under way may have found it waiting, before its end.
        if not self._looking:
            _drop(self._delivered, workload_id, generation)

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
            _drop(self._given, claim.workload_id, claim.generation)
        self._told = {one for one in self._told if one.workload_id in self._given}

    def end(self) -> None:
        """Close the stream after what has been put."""
        self._say(None)

    async def commands(self) -> AsyncIterator[Command]:
        """What is put, until the end; nothing is waited for between what is there at once."""
        while True:
            while self._queue:
                command = self._queue.popleft()
                if command is None:
                    return
                yield command
            self._filled.clear()
            await self._filled.wait()

    async def assignments(self) -> AsyncIterator[Assignment]:
        """The assignments alone, for workers that can be told nothing else."""
        async for command in self.commands():
            if isinstance(command, Assignment):
                yield command

    def _say(self, command: Command | None) -> None:
        self._queue.append(command)
        self._filled.set()


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
        # Apart, so that trouble with the one does not hold up the other.
        self._deliveries = _Looks(self._deliver, self._streams, poll)
        self._orders = _Looks(self._order, self._streams, poll)
        self._stopping = False
        self._gone = False
        # Whoever notes that this replica lives, or that it has gone, is alone with that.
        self._noting = asyncio.Lock()

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
            self._deliveries.wake()
            log.info("stream ended", extra={"worker_id": worker_id})

    def wake(self, worker_id: str) -> None:
        """Something was scheduled on a worker; of no matter if its stream is elsewhere."""
        if worker_id in self._streams:
            self._deliveries.wake(worker_id)

    def wake_orders(self, worker_id: str) -> None:
        """There may be something to tell a worker of what it runs, or of itself."""
        if worker_id in self._streams:
            self._orders.wake(worker_id)

    def wake_all(self) -> None:
        """Look after all workers, as notifications may have been missed."""
        self._deliveries.wake(*self._streams)
        self._orders.wake(*self._streams)

    def assigned(self, moved: Iterable[Moved]) -> None:
        """Send what the leader on this replica has just given; others are notified."""
        for one in moved:
            stream = self._streams.get(one.worker_id or "")
            if stream is None:
                continue
            if one.assignment is None:
                self._deliveries.wake(stream.worker_id)
            else:
                stream.put(one.assignment)

    def holds(self, worker_id: str | None) -> bool:
        """Whether this worker's stream is on this replica."""
        return worker_id in self._streams

    def finished(self, claim: Claim) -> None:
        """A worker's report that ended its assignment was taken in here."""
        stream = self._streams.get(claim.worker_id)
        if stream is not None:
            stream.finished(claim.workload_id, claim.generation)

    async def run(self) -> None:
        """Deliver for ever; while the database is away, try again with pauses."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliveries.run())
            group.create_task(self._orders.run())

    async def hold(self) -> None:
        """Keep this replica known as alive until `leave`, and its streams as they are recorded.

        A stream goes unrecorded where the leader gave up this replica, or its worker left or was
        started anew: it ends here too, and its worker connects again. One that is recorded only,
        as its call was cut off while it opened, is noted as ended.
        """
        while not self._gone:
            held = list(self._streams.values())
            try:
                async with self._noting:
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
            self._deliveries.wake()

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

    async def leave(self) -> None:
        """Let this replica be known no more; nothing notes it as alive after that.

        Raises:
            Unavailable: the database is away.
        """
        self._gone = True
        async with self._noting:
            await self._workers.replica_stopped(self._replica_id)

    async def _note_ended(self) -> None:
        ended = frozenset(self._ended)
        if not ended:
            return
        await self._workers.close_streams(ended, self._policy.lost)
        self._ended -= ended

    async def _deliver(self, woken: Collection[str]) -> None:
        """Send what waits for workers; note first which streams have ended."""
        await self._note_ended()
        streams = {one: self._streams[one] for one in woken if one in self._streams}
        if not streams:
            return
        known = {worker_id: stream.look() for worker_id, stream in streams.items()}
        found = await self._assignments.deliverable(
            streams.keys(),
            {key: value for delivered in known.values() for key, value in delivered.items()},
        )
        for worker_id, stream in streams.items():
            stream.settle(known[worker_id], found.waiting)
        for assignment in found.fresh:
            # A stream that was replaced meanwhile is looked after under its own wake-up.
            stream = streams[assignment.worker_id]
            if self._streams.get(assignment.worker_id) is stream:
                stream.put(assignment)

    async def _order(self, woken: Collection[str]) -> None:
        """Tell workers what became of their assignments without them."""
        streams = {one: self._streams[one] for one in woken if one in self._streams}
        if not streams:
            return
        given = [claim for stream in streams.values() for claim in stream.given()]
        for claims in _parts(given):
            orders = await self._assignments.orders(streams.keys(), claims)
            for worker_id, command in orders.commands:
                streams[worker_id].order(command)
            for worker_id in orders.draining:
                streams[worker_id].drain()
            mine: defaultdict[str, list[Claim]] = defaultdict(list)
            for claim in claims:
                mine[claim.worker_id].append(claim)
            for worker_id, looked_at in mine.items():
                streams[worker_id].forget(looked_at, orders.held)


class _Looks:
    """Looks after the workers that were woken, and now and then after all, however busy it is.

    Args:
        look: what to do for some workers; again where it raises `Unavailable`.
        everybody: all there are, at any time.
        poll: seconds between two looks after everybody.
    """

    def __init__(
        self,
        look: Callable[[Collection[str]], Awaitable[None]],
        everybody: Collection[str],
        poll: float,
    ) -> None:
        self._look = look
        self._everybody = everybody
        self._poll = poll
        self._woken: set[str] = set()
        self._wake = asyncio.Event()

    def wake(self, *workers: str) -> None:
        """Look soon, after these workers as well."""
        self._woken.update(workers)
        self._wake.set()

    async def run(self) -> None:
        """Look for ever."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(first=0.2, longest=2.0)
        failures = 0
        pacer = Pacer(_PACE)
        due = loop.time() + self._poll
        while True:
            await _set_by(self._wake, due)
            await pacer.turn()
            self._wake.clear()
            if loop.time() >= due:
                self._woken.update(self._everybody)
                due = loop.time() + self._poll
            woken, self._woken = self._woken, set()
            try:
                await self._look(woken)
                failures = 0
            except Unavailable as error:
                self.wake(*woken)
                log.warning("delivery waits for the database", extra={"error": str(error)})
                await asyncio.sleep(backoff.after(failures))
                failures += 1


def _drop(generations: dict[UUID, int], workload_id: UUID, generation: int) -> None:
    """Forget an assignment, unless its workload was given anew meanwhile."""
    if generations.get(workload_id) == generation:
        del generations[workload_id]


def _parts(claims: Sequence[Claim]) -> Iterator[Sequence[Claim]]:
    """At least one, which may be empty."""
    for first in range(0, max(1, len(claims)), _CLAIMS_AT_ONCE):
        yield claims[first : first + _CLAIMS_AT_ONCE]


async def _set_by(event: asyncio.Event, when: float) -> None:
    """Wait until `event` is set, or the loop's time is `when`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(when):
            await event.wait()
