"""How often a tenant may write and read."""

from dataclasses import dataclass
from typing import Protocol


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


class Buckets(Protocol):
    """Token buckets, two for each tenant."""

    def take(self, tenant: str, *, write: bool, per_minute: int, tokens: int = 1) -> Allowance:
        """Take `tokens` of a tenant's bucket, if it has that many; else none.

        Args:
            per_minute: the size of the bucket; negative for no limit.
        """
        ...
