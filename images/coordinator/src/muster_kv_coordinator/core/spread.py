"""One write on its way to its replicas: callbacks all the way, no task, no waiting for the slowest.

A write of a tenant that keeps siblings is taken by one replica, which makes its dot, and merged by
the others. A take has a deadline of its own, which its node keeps to. It is short, since
nobody else may take the write before it has passed: a late take would replace what came after it.
A write where the last one wins is merged by all at once.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from muster_kv.clock import VectorClock
from muster_kv.consistency import Progress, State
from muster_kv.errors import FailureCode
from muster_kv.merging import Intent, Outcome
from muster_kv.record import decode
from muster_kv.wire.messages import Failure, Merge, Merged, ReplyBody, Take, Took
from muster_kv_coordinator.core import failures
from muster_kv_coordinator.core.errors import ErrorCode, KvError
from muster_kv_coordinator.core.hints import Hints
from muster_kv_coordinator.core.patience import Patience
from muster_kv_coordinator.core.ports import Meter, Place, Replica


class UnsureError(Exception):
    """The node `late` may have taken the write, or not, and will not from now on."""

    def __init__(self, error: KvError, late: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.late = late


@dataclass(frozen=True, slots=True)
class Spreading:
    """What every write needs.

    Args:
        hedge_seconds: how long a replica may take to answer a read before another is asked.
    """

    hints: Hints
    meter: Meter
    patience: Patience
    hedge_seconds: float


@dataclass(frozen=True, slots=True)
class Spread:
    """A write that enough replicas hold."""

    outcome: Outcome
    clock: VectorClock
    replicas: int
    siblings: int


class SpreadingWrite:
    """One write; `result` is set once, and what comes after it only makes hints.

    Args:
        writers: all nodes that get it, in the order of preference.
        end: when replicas must have answered, by the loop's clock.
        unsynced: whether replicas may answer before it is on their disks.
    """

    __slots__ = (
        "_acked",
        "_end",
        "_failures",
        "_kept",
        "_loop",
        "_place",
        "_progress",
        "_record",
        "_siblings",
        "_slot",
        "_takers",
        "_told",
        "_unmerged",
        "_unsure",
        "_unsynced",
        "_with",
        "_writers",
        "result",
    )

    def __init__(
        self,
        spreading: Spreading,
        place: Place,
        writers: tuple[Replica, ...],
        slot: bytes,
        progress: Progress,
        end: float,
        *,
        unsynced: bool = False,
    ) -> None:
        self._with = spreading
        self._place = place
        self._writers = writers
        self._slot = slot
        self._progress = progress
        self._end = end
        self._unsynced = unsynced
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[Spread] = self._loop.create_future()
        self._failures: list[Failure] = []
        self._unsure = False
        self._takers: list[Replica] = []
        self._record = b""
        self._kept: Replica | None = None
        self._told: tuple[Outcome, VectorClock] = (Outcome.NEW, {})
        self._siblings = 1
        self._unmerged: list[Replica] = []

    def take(self, intent: Intent, base: bytes = b"", late: Collection[str] = ()) -> None:
        """Begin with one replica that takes the write, a healthy one if there is any.

        Args:
            base: a record that it joins before.
            late: nodes that were asked before, and did not say in time; they come last.
        """
        # One of those may have taken it, whatever others say now.
        self._unsure = bool(late)
        natural = self._writers[: len(self._place.placement.natural)]
        # The last is asked first.
        self._takers = sorted(natural, key=lambda replica: self._rank(replica, late))[::-1]
        self._ask(Take(self._slot, intent, base, self._unsynced))

    def merge(
        self, record: bytes, outcome: Outcome, clock: VectorClock, holders: tuple[str, ...] = ()
    ) -> None:
        """Begin with a record that is made already.

        Args:
            holders: nodes that have it.
        """
        self._told = (outcome, clock)
        for node in holders:
            self._progress = self._progress.ack(node)
        self._begin(record)

    def _rank(self, replica: Replica, late: Collection[str]) -> tuple[bool, bool]:
        suspect = self._with.patience.suspects(replica.node_id, self._loop.time())
        return replica.node_id in late, suspect or not replica.healthy

    def _ask(self, body: Take) -> None:
        if not self._takers:
            self._fail(self._short())
            return
        replica = self._takers.pop()
        begun = self._loop.time()
        # There must be time for another.
        seconds = min(self._left() / 3, self._with.patience.seconds(replica.node_id))
        took = partial(self._took, replica, body, begun, begun + seconds)
        replica.submit(body, self._place.ring_version, seconds, took)

    def _took(
        self, replica: Replica, body: Take, begun: float, fence: float, reply: ReplyBody
    ) -> None:
        seconds = self._loop.time() - begun
        if isinstance(reply, Took):
            self._with.patience.answered(replica.node_id, seconds)
            if reply.outcome is Outcome.CONFLICT:
                self._fail(conflict())
                return
            self._progress = self._progress.ack(replica.node_id)
            self._told = (reply.outcome, reply.clock)
            self._kept = replica
            self._begin(reply.record)
            return
        failure = _failure(reply)
        self._failures.append(failure)
        if failure.code is FailureCode.TIMEOUT:
            self._with.patience.late(replica.node_id, seconds, self._loop.time())
        error = failures.refused((failure,)) or failures.stale((failure,))
        if error is not None:
            self._fail(error)
        elif failure.unknown:
            unsure = UnsureError(self._short(), replica.node_id)
            if body.intent.context is None:
                # Its request may still be read: a blind one must not be done after another.
                self._loop.call_at(fence, self._fail, unsure)
            else:
                self._fail(unsure)
        else:
            self._ask(body)

    def _begin(self, record: bytes) -> None:
        self._record = record
        self._siblings = len(decode(record, self._slot).versions)
        acked = self._progress.acked
        rest = [replica for replica in self._writers if replica.node_id not in acked]
        sick = [replica for replica in rest if not replica.healthy]
        well = [replica for replica in rest if replica.healthy]
        for replica in well:
            self._merge_to(replica)
        # Nothing is expected of the sick, so they are not asked, unless nobody else is left.
        if sick and self._needs(sick):
            for replica in sick:
                self._merge_to(replica)
        else:
            for replica in sick:
                self._missed(replica)
        self._judge()

    def _needs(self, sick: list[Replica]) -> bool:
        without = self._progress
        for replica in sick:
            without = without.fail(replica.node_id)
        return without.state is State.IMPOSSIBLE

    def _merge_to(self, replica: Replica) -> None:
        body = Merge(self._slot, self._record, unsynced=self._unsynced)
        replica.submit(body, self._place.ring_version, self._left(), partial(self._merged, replica))

    def _merged(self, replica: Replica, reply: ReplyBody) -> None:
        if isinstance(reply, Merged):
            if self._kept is None:
                self._kept = replica
                self._hint_missed()
            self._progress = self._progress.ack(replica.node_id)
        else:
            self._failures.append(_failure(reply))
            self._missed(replica)
        self._judge()

    def _missed(self, replica: Replica) -> None:
        """A replica does not have the record: another keeps it for that one."""
        self._progress = self._progress.fail(replica.node_id)
        self._unmerged.append(replica)
        self._hint_missed()

    def _hint_missed(self) -> None:
        if self._kept is None:
            return
        for replica in self._unmerged:
            self._with.hints.add(replica.node_id, self._kept, (self._slot, self._record))
        self._unmerged.clear()

    def _judge(self) -> None:
        if self.result.done():
            return
        state = self._progress.state
        if state is State.REACHED:
            outcome, clock = self._told
            answered = self._progress.answered
            self.result.set_result(Spread(outcome, clock, answered, self._siblings))
        elif state is State.IMPOSSIBLE:
            stale = failures.stale(self._failures)
            if stale is not None:
                stale.made = partial(_goes_on, self._record, *self._told)
            self._fail(stale or self._short())

    def _short(self) -> KvError:
        taken = self._unsure or bool(self._record)
        unsure = taken or any(failure.unknown for failure in self._failures)
        return failures.not_reached(self._progress.shortfall(), self._failures, unsure=unsure)

    def _fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)

    def _left(self) -> float:
        return max(0.001, self._end - self._loop.time())


def conflict() -> KvError:
    """The error of an idempotency key that came with another value before."""
    return KvError(
        ErrorCode.IDEMPOTENCY_KEY_CONFLICT,
        "this idempotency key came with another value before; a new value takes a new key",
    )


def _failure(reply: ReplyBody) -> Failure:
    if isinstance(reply, Failure):
        return reply
    return Failure(FailureCode.INTERNAL, f"an answer to something else: {type(reply).__name__}")


def _goes_on(
    record: bytes, outcome: Outcome, clock: VectorClock, spreading: SpreadingWrite
) -> None:
    spreading.merge(record, outcome, clock)


Start = Callable[[SpreadingWrite], None]
"""Begins a write."""
