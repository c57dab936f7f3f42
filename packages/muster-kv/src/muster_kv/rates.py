"""How much a tenant may ask for in a time: a token bucket, as a value."""

import msgspec


class Rate(msgspec.Struct, frozen=True):
    """At most `limit` requests in `seconds`, evenly refilled; all of them may come at once."""

    limit: int
    seconds: float = 60.0


DEFAULT_WRITES = Rate(1_000)
DEFAULT_READS = Rate(10_000)


class Verdict(msgspec.Struct, frozen=True):
    """The bucket after a request, and what its sender is told.

    `remaining` requests may come at once; `reset_seconds` until the bucket is full;
    `retry_seconds` until this one would be let in, 0 where it was.
    """

    bucket: "Bucket"
    allowed: bool
    remaining: int
    reset_seconds: float
    retry_seconds: float


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """What a tenant has used; `level` of the limit at the time `at` (seconds of any one clock)."""

    level: float = 0.0
    at: float = 0.0

    def ask(self, rate: Rate, now: float, cost: int = 1) -> Verdict:
        """Judge a request that costs `cost`; one that is refused costs nothing.

        A clock that goes back refills nothing. A limit of 0 lets nothing in.
        """
        per_second = rate.limit / rate.seconds
        level = max(0.0, self.level - max(0.0, now - self.at) * per_second)
        at = max(now, self.at)
        allowed = level + cost <= rate.limit
        if allowed:
            level += cost
        over = 0.0 if allowed else level + cost - rate.limit
        return Verdict(
            Bucket(level, at),
            allowed,
            max(0, int(rate.limit - level)),
            level / per_second if per_second else 0.0,
            over / per_second if per_second else rate.seconds if over else 0.0,
        )
