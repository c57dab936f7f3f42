"""The node as coordinators see it: batches of requests in, one reply for each out."""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from muster_kv.errors import FailureCode
from muster_kv.ring import Ring
from muster_kv.wire.messages import (
    Cause,
    Done,
    Failure,
    GetDigest,
    HintsWaiting,
    Item,
    MergeMany,
    NodeState,
    ReplyBody,
    RequestBody,
    ScanRange,
    SetRing,
    SetState,
    Stat,
    StoreHint,
)
from muster_kv.wire.peer import Call
from muster_records import Batch, Rules
from muster_storage import layout
from muster_storage.disk import Fill, Thresholds, Usage, refusal
from muster_storage.engine import Change, EngineCorruptError, Family
from muster_storage.lane import LaneFullError
from muster_storage.metrics import Metrics
from muster_storage.store import REFUSALS, Store, units
from muster_storage.transaction import Transaction
from muster_storage.writer import DiskFullError, Job, OverloadedError
from muster_storage.writes import Writes, hints_of, largest, slots_of

log = logging.getLogger(__name__)

WRITES = (MergeMany, StoreHint)
READS = (GetDigest,)
_OF_WHOLE = (ScanRange, *READS)
"""What only a node can do that has all that it should."""
_ALWAYS = (HintsWaiting, Stat, SetRing, SetState)
"""Answered in every state: what it takes to see to a node that does not serve."""
_PLAIN = ("Take", "Merge", "Get", "Lookup")
_SERVING = (NodeState.NORMAL, NodeState.DRAINING)
_NEXT = {
    NodeState.NORMAL: (NodeState.DRAINING, NodeState.DECOMMISSIONED),
    NodeState.DRAINING: (NodeState.NORMAL, NodeState.DECOMMISSIONED),
    NodeState.DECOMMISSIONED: (),
}

Admin = Callable[[Any], Awaitable[ReplyBody]]
_LATE = Failure(FailureCode.DEADLINE, "its turn came after the deadline; nothing was done")
_UNFILLED = "the node has yet to be given its data"


class NotDoneError(Exception):
    """A request that is not done; the text is the answer."""

    def __init__(self, reason: str, code: FailureCode = FailureCode.INVALID) -> None:
        super().__init__(reason)
        self.code = code


class Node:
    """Judges requests, and has them answered.

    Args:
        sync: whether clients' writes are on disk before they are answered, unless they say that
            they need not be; otherwise soon after.
    """

    def __init__(
        self,
        store: Store,
        writes: Writes,
        thresholds: Thresholds,
        metrics: Metrics,
        *,
        sync: bool = True,
    ) -> None:
        self._sync = sync
        self._store = store
        self._writes = writes
        self._thresholds = thresholds
        self._metrics = metrics
        self.admin: dict[type, Admin] = {SetRing: self._set_ring, SetState: self._set_state}
        """How requests are answered that neither write nor look up keys, by their type."""
        self.usage = Usage(0, 0)
        self.fill = Fill.NORMAL
        self.stopping = False
        ring = store.engine.get(Family.META, layout.META_RING)
        self.ring = Ring(0) if ring is None else msgspec.msgpack.decode(ring, type=Ring)
        state = store.engine.get(Family.META, layout.META_STATE)
        self.state = NodeState.NORMAL if state is None else NodeState(state.decode())
        self._readable = self._may_be_read()
        metrics.entered(self.state.name)

    @property
    def serving(self) -> bool:
        """Whether it takes reads and writes."""
        return not self.stopping and self.state in _SERVING and self._store.engine.is_open

    @property
    def takes_writes(self) -> bool:
        """Whether the disk, and RocksDB, have taken the latest ones."""
        return self.fill < Fill.ALL and not self._store.writer.refusing.some

    @property
    def situation(self) -> str:
        """The state, or why it does not serve in that."""
        if self.stopping:
            return "stopping"
        return self.state.value if self._store.engine.is_open else "reopening"

    def _may_be_read(self) -> bool:
        # Without a ring it may be a new folder of one that is counted on.
        return self.ring.version > 0 and self.filled

    @property
    def filled(self) -> bool:
        """Whether this is the data folder that the ring counts on: not with a replaced disk."""
        identity = self._store.writer.identity
        member = self.ring.member(identity.node_id)
        if member is None or not member.folder or not identity.folder:
            return True
        return member.folder == identity.folder

    async def handle(self, calls: list[Call]) -> list[ReplyBody]:
        """Answer a batch, in its order: writes together, lookups together, the rest one by one."""
        rules = self._rules()
        answers: list[ReplyBody | None] = [self._refusal(rules, call) for call in calls]
        left = [at for at, answer in enumerate(answers) if answer is None]
        writes = [at for at in left if isinstance(calls[at].body, WRITES)]
        reads = [at for at in left if isinstance(calls[at].body, READS)]
        rest = [at for at in left if not isinstance(calls[at].body, WRITES + READS)]
        if writes:
            self._put(answers, writes, await self._write([calls[at] for at in writes]))
        if reads:
            self._put(answers, reads, await self._read([calls[at].body for at in reads]))
        for at in rest:
            self._put(answers, [at], [await self._administer(calls[at].body)])
        for kind, count in Counter(type(call.body) for call in calls).items():
            self._metrics.answered(kind.__name__, count)
        return [answer for answer in answers if answer is not None]

    async def write(self, batch: Batch) -> None:
        """Answer plain writes, in their batch."""
        batch.judge(self._rules(), _monotonic_us())
        if batch.open:
            try:
                await self._store.write(self._plain_job(batch), units(len(batch), batch.weight))
            except REFUSALS as error:
                batch.fail(*_why(error, "writes", "a batch failed", requests=len(batch)))
        self._tell(batch)

    async def read(self, batch: Batch) -> None:
        """Answer plain reads, in their batch."""
        batch.judge(self._rules(), _monotonic_us())
        if batch.open:
            try:
                await self._store.find(batch)
            except REFUSALS as error:
                batch.fail(*_why(error, "reads", "a lookup failed", requests=len(batch)))
        self._tell(batch)

    def _rules(self) -> Rules:
        full = large = None
        if self.fill is Fill.ALL:
            full = refusal(self.fill, self.usage.percent, 0, self._thresholds)
        elif self.fill is Fill.LARGE:
            size = self._thresholds.large_value
            reason = refusal(self.fill, self.usage.percent, size, self._thresholds)
            large = None if reason is None else (size, reason)
        return Rules(
            not_ready=None if self.serving else f"the node is {self.situation}",
            ring_version=self.ring.version,
            unfilled=None if self._readable else _UNFILLED,
            full=full,
            large=large,
        )

    def _plain_job(self, batch: Batch) -> Job[None]:
        def work(transaction: Transaction) -> None:
            transaction.apply(batch, _monotonic_us())

        sync = self._sync and batch.synced
        return Job((), work, requests=len(batch), sync=sync, batch=batch)

    def _tell(self, batch: Batch) -> None:
        for operation, count in zip(_PLAIN, batch.kinds, strict=True):
            if count:
                self._metrics.answered(operation, count)
        for code, count in batch.failures:
            self._metrics.refused(FailureCode(code).name, count)

    @staticmethod
    def _put(
        answers: list[ReplyBody | None], places: list[int], found: Sequence[ReplyBody]
    ) -> None:
        for at, answer in zip(places, found, strict=True):
            answers[at] = answer

    def _refusal(self, rules: Rules, call: Call) -> Failure | None:
        """Why a request is not even begun with."""
        body, write = call.body, None
        # How large it is matters, and costs a look at all of it, only where there is little room.
        if self.fill >= Fill.LARGE and isinstance(body, WRITES):
            # What is only kept for others, or could be had from others later, goes first.
            spare = isinstance(body, StoreHint) or body.cause is Cause.STREAM
            write = largest(body), spare
        packed = rules.refusal(
            call.ring_version,
            always=isinstance(body, _ALWAYS),
            of_whole=isinstance(body, _OF_WHOLE),
            write=write,
        )
        if packed is None:
            return None
        failure = msgspec.msgpack.decode(packed, type=Failure)
        self._count([failure])
        return failure

    async def _write(self, calls: Sequence[Call]) -> list[ReplyBody]:
        bodies: list[Any] = [call.body for call in calls]
        apply = self._writes.apply

        def work(transaction: Transaction) -> list[ReplyBody]:
            now = time.monotonic()
            return [
                apply(transaction, call.body) if now <= call.expires_at else _LATE  # type: ignore[arg-type]
                for call in calls
            ]

        job = Job(
            [slot for body in bodies for slot in slots_of(body)],
            work,
            [key for body in bodies for key in hints_of(body)],
            len(bodies),
            sync=self._sync,
        )
        weight = units(len(bodies), sum(call.weight for call in calls))
        try:
            answers = await self._store.write(job, weight)
        except REFUSALS as error:
            return self._all(bodies, *_why(error, "writes", "a batch failed", requests=len(bodies)))
        self._count(answers)
        return answers

    async def _read(self, bodies: Sequence[Any]) -> list[ReplyBody]:
        try:
            answers = await self._store.read(bodies)
        except REFUSALS as error:
            return self._all(bodies, *_why(error, "reads", "a lookup failed", requests=len(bodies)))
        self._count(answers)
        return answers

    async def _administer(self, body: RequestBody) -> ReplyBody:
        try:
            answer = await self.admin[type(body)](body)
        except NotDoneError as error:
            answer = Failure(error.code, str(error))
        except EngineCorruptError as error:
            self._metrics.corrupted()
            answer = Failure(FailureCode.CORRUPT, str(error))
        except REFUSALS as error:
            answer = Failure(
                *_why(error, "writes", "a request failed", operation=type(body).__name__)
            )
        self._count([answer])
        return answer

    async def _set_ring(self, body: SetRing) -> ReplyBody:
        ring, held = body.ring, self.ring
        if ring.version < held.version:
            return Failure(
                FailureCode.STALE_RING,
                f"ring version {ring.version}; the node has {held.version}",
                held.version,
            )
        if ring.version == held.version:
            if ring != held:
                raise NotDoneError(
                    f"ring: another one of version {ring.version}; allowed: a new version"
                )
            return Done()
        await self._remember(layout.META_RING, msgspec.msgpack.encode(ring))
        # Another one may have come meanwhile.
        if ring.version > self.ring.version:
            self.ring = ring
            self._readable = self._may_be_read()
            log.info("ring changed", extra={"version": ring.version, "phase": ring.phase.value})
        return Done()

    async def _set_state(self, body: SetState) -> ReplyBody:
        if body.state is self.state:
            return Done()
        allowed = _NEXT[self.state]
        if body.state not in allowed:
            names = " or ".join(state.value for state in allowed) or "none, empty its data folder"
            raise NotDoneError(
                f"state: {body.state.value}, from {self.state.value}; allowed: {names}"
            )
        await self._remember(layout.META_STATE, body.state.value.encode())
        self.state = body.state
        self._metrics.entered(self.state.name)
        log.info("state changed", extra={"state": self.state.value})
        return Done()

    async def join(self, items: tuple[Item, ...]) -> None:
        """Join records that did not come by the wire.

        Raises:
            NotDoneError: they are damaged. Besides what writing raises.
        """
        body = MergeMany(items, Cause.REPAIR)

        def work(transaction: Transaction) -> ReplyBody:
            return self._writes.apply(transaction, body)

        answer = await self._store.write(Job(slots_of(body), work), units(1, body.weight()))
        if isinstance(answer, Failure):
            raise NotDoneError(answer.detail, answer.code)

    async def _remember(self, name: bytes, value: bytes) -> None:
        change = Change(Family.META, name, value)
        await self._store.write(Job((), lambda transaction: transaction.put_meta(change)))

    def _all(self, bodies: Sequence[object], code: FailureCode, detail: str) -> list[ReplyBody]:
        answers: list[ReplyBody] = [Failure(code, detail) for _ in bodies]
        self._count(answers)
        return answers

    def _count(self, answers: Sequence[ReplyBody]) -> None:
        for answer in answers:
            if isinstance(answer, Failure):
                self._metrics.refused(answer.code.name)


def _why(error: Exception, waiting: str, failed: str, **asked: object) -> tuple[FailureCode, str]:
    """What those are told whose requests raised one of `REFUSALS`."""
    if isinstance(error, LaneFullError):
        return FailureCode.OVERLOADED, f"too many {waiting} wait"
    if isinstance(error, OverloadedError):
        return FailureCode.OVERLOADED, str(error)
    if isinstance(error, DiskFullError):
        return FailureCode.DISK_FULL, str(error)
    log.error(failed, extra=asked, exc_info=error)
    return FailureCode.INTERNAL, str(error)


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1000
