"""Rates of tenants, of which the front counts those calls that it answers itself."""

import math

from muster_front import Plain
from muster_kv_coordinator.core.ratelimit import NO_LIMIT, Allowance


class SharedBuckets:
    """`Buckets` that a front takes from too."""

    def __init__(self, plain: Plain) -> None:
        self._plain = plain

    def take(self, tenant: str, *, write: bool, per_minute: int, tokens: int = 1) -> Allowance:
        """Take tokens, or none; see `Buckets.take`."""
        if per_minute < 0:
            return NO_LIMIT
        remaining, reset, retry = self._plain.take(tenant, write, per_minute, tokens)
        return Allowance(
            per_minute,
            remaining,
            math.ceil(reset),
            None if retry is None else max(0.001, retry),
        )
