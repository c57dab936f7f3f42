"""Delivery: assignments reach the replica that holds the worker's stream, and go out on it."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from uuid import UUID

from muster_coordinator.engine.batching import Pacer
from muster_coordinator.engine.errors import NotFound, Unavailable
from muster_coordinator.engine.model import Assignment
from muster_coordinator.engine.ports import AssignmentStore, WorkerStore
from muster_coordinator.engine.retry import Backoff, RetryPolicy

log = logging.getLogger(__name__)

# Under load, one look finds what several workers were given.
_PACE = 0.01


class Stream:
    """One worker's open stream on this replica."""

    def __init__(self, worker_id: str) -> None:
        self.worker_id = worker_id
        self.id = uuid.uuid4()
        self.delivered: dict[UUID, int] = {}
        self._queue: asyncio.Queue[Assignment | None] = asyncio.Queue()

    def put(self, assignment: Assignment) -> None:
        """Send one assignment."""
        self.delivered[assignment.workload_id] = assignment.generation
        self._queue.put_nowait(assignment)

    def end(self) -> None:
        """Close the stream after what has been put."""
        self._queue.put_nowait(None)

    async def assignments(self) -> AsyncIterator[Assignment]:
        """What is put, until the end."""
        while (assignment := await self._queue.get()) is not None:
            yield assignment


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
        self._wake = asyncio.Event()
        self._stopping = False

    @contextlib.asynccontextmanager
    async def open(self, worker_id: str) -> AsyncIterator[Stream]:
        """A worker's stream while the context is open; an older one of the same worker ends.

        Raises:
            NotFound: the worker is unknown and must register first.
            Unavailable: this replica stops, or the database is away.
        """
        if self._stopping:
            raise Unavailable("this coordinator stops; connect to another one")
        stream = Stream(worker_id)
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

    def wake_all(self) -> None:
        """Look after all workers, as notifications may have been missed."""
        self._dirty.update(self._streams)
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
