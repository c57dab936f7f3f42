"""How often a tenant may write and read: two token buckets for each."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


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


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """Token buckets by tenant and kind; one that would be full again is forgotten.

    A full bucket holds a minute's worth, and fills in a minute.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # In the order of their last use, so that the full ones are in front.
        self._buckets: OrderedDict[tuple[str, bool], _Bucket] = OrderedDict()

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
        bucket = self._buckets.setdefault((tenant, write), _Bucket(per_minute, now))
        self._buckets.move_to_end((tenant, write))
        rate = per_minute / 60
        bucket.tokens = min(per_minute, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        granted = bucket.tokens >= tokens
        if granted:
            bucket.tokens -= tokens
        missing = per_minute - bucket.tokens
        return Allowance(
            limit=per_minute,
            remaining=int(bucket.tokens),
            reset=math.ceil(missing / rate) if rate else 0,
            retry_after=None if granted else self._wait(tokens - bucket.tokens, rate),
        )

    @staticmethod
    def _wait(missing: float, rate: float) -> float:
        return max(0.001, missing / rate) if rate else 60.0

    def _forget(self, now: float) -> None:
        while self._buckets:
            key, bucket = next(iter(self._buckets.items()))
            if bucket.at > now - 60:
                return
            del self._buckets[key]
