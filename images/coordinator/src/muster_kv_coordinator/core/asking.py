"""Asking several replicas the same: as many as are needed at first, others when those are slow."""

import asyncio
from dataclasses import dataclass, field
from functools import partial

from muster_kv.wire.messages import Failure, ReplyBody, RequestBody
from muster_kv_coordinator.core import failures
from muster_kv_coordinator.core.failures import StaleRingError
from muster_kv_coordinator.core.ports import Replica
from muster_kv_coordinator.core.spread import Spreading


@dataclass(slots=True)
class Answers:
    """Who said what, in the order in which it came."""

    good: dict[str, ReplyBody] = field(default_factory=dict)
    bad: list[Failure] = field(default_factory=list)

    @property
    def stale(self) -> StaleRingError | None:
        """The newest ring that replicas know of, where one refused for it."""
        return failures.stale(self.bad)


class _Asking:
    __slots__ = ("_answers", "_asked", "_body", "_end", "_hedge", "_least", "_loop", "_out",
                 "_rest", "_ring", "_with", "result")  # fmt: skip

    def __init__(
        self,
        replicas: tuple[Replica, ...],
        body: RequestBody,
        ring_version: int,
        least: int,
        end: float,
        spreading: Spreading,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[Answers] = self._loop.create_future()
        self._body = body
        self._ring = ring_version
        self._least = least
        self._end = end
        self._with = spreading
        self._answers = Answers()
        self._out = 0
        self._hedge: asyncio.TimerHandle | None = None
        # The last is asked first.
        self._rest = sorted(replicas, key=lambda replica: not replica.healthy)[::-1]
        for _ in range(min(least, len(self._rest))):
            self._ask()
        self._arm()
        self._judge()

    def _ask(self) -> None:
        replica = self._rest.pop()
        self._out += 1
        left = max(0.001, self._end - self._loop.time())
        replica.submit(self._body, self._ring, left, partial(self._answered, replica))

    def _arm(self) -> None:
        if self._rest and self._hedge is None and not self.result.done():
            self._hedge = self._loop.call_later(self._with.hedge_seconds, self._hedged)

    def _hedged(self) -> None:
        self._hedge = None
        # Those that failed meanwhile may have been replaced by all that were left.
        if not self._rest:
            return
        self._with.meter.hedged()
        self._ask()
        self._arm()

    def _answered(self, replica: Replica, reply: ReplyBody) -> None:
        self._out -= 1
        if self.result.done():
            return
        if isinstance(reply, Failure):
            self._answers.bad.append(reply)
            if self._rest and failures.stale((reply,)) is None:
                self._ask()
        else:
            self._answers.good[replica.node_id] = reply
        self._judge()

    def _judge(self) -> None:
        if self.result.done():
            return
        done = len(self._answers.good) >= self._least or self._answers.stale is not None
        if done or not self._out:
            if self._hedge is not None:
                self._hedge.cancel()
            self.result.set_result(self._answers)


def ask(
    replicas: tuple[Replica, ...],
    body: RequestBody,
    ring_version: int,
    least: int,
    end: float,
    spreading: Spreading,
) -> "asyncio.Future[Answers]":
    """What at least `least` replicas answer, or all that do where they are fewer.

    Healthy replicas are asked first; one more for each that fails, and for each
    `hedge_seconds` without an end. Ends at once where a replica knows of a newer ring.

    Args:
        end: when replicas must have answered, by the loop's clock.
    """
    return _Asking(replicas, body, ring_version, least, end, spreading).result
