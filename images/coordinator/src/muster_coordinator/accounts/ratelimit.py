"""How often somebody may ask: one token bucket for each."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from muster_coordinator.engine.errors import EngineError


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a client has left after one request.

    Args:
        limit: tokens of a full bucket.
        remaining: whole tokens that are left.
        reset: seconds until the bucket is full again, rounded up.
        retry_after: seconds until the next token, rounded up; None where this request had one.
    """

    limit: int
    remaining: int
    reset: int
    retry_after: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """For the answer."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset),
        }


class TooOften(EngineError):  # noqa: N818 - named after the cause, as all of its kind
    """There was no token left; the caller may come back after `retry_after` seconds."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.retry_after = allowance.retry_after or 1
        super().__init__(
            f"asked too often; allowed: {allowance.limit} requests at once; "
            f"come back in {self.retry_after} s"
        )


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimit:
    """Token buckets by client; a bucket that would be full again is forgotten.

    Args:
        rate: tokens a second, above 0.
        burst: tokens of a full bucket.
        clock: seconds, never going back.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        # In the order of their last use.
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str) -> Allowance:
        """Take one token of a client's bucket, if it has one."""
        now = self._clock()
        self._forget(now)
        bucket = self._buckets.setdefault(client, _Bucket(self._burst, now))
        self._buckets.move_to_end(client)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        granted = bucket.tokens >= 1
        if granted:
            bucket.tokens -= 1
        return Allowance(
            limit=self._burst,
            remaining=int(bucket.tokens),
            reset=math.ceil((self._burst - bucket.tokens) / self._rate),
            retry_after=None if granted else max(1, math.ceil((1 - bucket.tokens) / self._rate)),
        )

    def must_take(self, client: str) -> Allowance:
        """Take one token.

        Raises:
            TooOften: there was none.
        """
        allowance = self.take(client)
        if allowance.retry_after is not None:
            raise TooOften(allowance)
        return allowance

    def _forget(self, now: float) -> None:
        filled = now - self._burst / self._rate
        while self._buckets:
            client, bucket = next(iter(self._buckets.items()))
            if bucket.at > filled:
                return
            del self._buckets[client]
