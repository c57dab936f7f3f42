"""How often a tenant may write and read: two token buckets for each."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from muster_kv.rates import Bucket, Rate

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a tenant has left after one request.

    Args:
        limit: tokens of a full bucket, which is one minute's worth; 0 for no limit.
        remaining: whole tokens that are left.
        reset: seconds until the bucket is full again, rounded up.
        retry_after: seconds until there are tokens enough; None where this request had them.
    """

    limit: int
    remaining: int
    reset: int
    retry_after: float | None = None


NO_LIMIT = Allowance(0, 0, 0)


class Buckets:
    """Token buckets by tenant and kind; one that would be full again is forgotten.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # In the order of their last use, so that the full ones are in front.
        self._buckets: OrderedDict[tuple[str, bool], Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, tenant: str, *, write: bool, per_minute: int, tokens: int = 1) -> Allowance:
        """Take `tokens` of a tenant's bucket, if it has that many; else none.

        Args:
            per_minute: the size of the bucket; negative for no limit.
        """
        if per_minute < 0:
            return NO_LIMIT
        now = self._clock()
        self._forget(now)
        key = (tenant, write)
        bucket = self._buckets.get(key) or Bucket(0.0, now)
        verdict = bucket.ask(Rate(per_minute, _SECONDS), now, tokens)
        self._buckets[key] = verdict.bucket
        self._buckets.move_to_end(key)
        return Allowance(
            per_minute,
            verdict.remaining,
            math.ceil(verdict.reset_seconds),
            None if verdict.allowed else max(0.001, verdict.retry_seconds),
        )

    def _forget(self, now: float) -> None:
        while self._buckets:
            key, bucket = next(iter(self._buckets.items()))
            if bucket.at > now - _SECONDS:
                return
            del self._buckets[key]
