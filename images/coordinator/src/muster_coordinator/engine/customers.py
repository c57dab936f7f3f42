"""Customers: whose work it is, and how much of it there may be at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from muster_coordinator.engine.states import State


class Tier(StrEnum):
    """What a customer has a right to."""

    FREE = "free"
    STANDARD = "standard"
    PREMIUM = "premium"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True, slots=True)
class Terms:
    """The limits of a tier; 0 stands for none.

    Args:
        weight: its part of the fleet, beside the other tiers'.
        max_concurrent: workloads that workers may hold at once.
        max_queued: workloads that may wait.
        rate: requests a second.
        burst: requests at once.
    """

    weight: float
    max_concurrent: int
    max_queued: int
    rate: float
    burst: int


TERMS: Mapping[Tier, Terms] = {
    Tier.FREE: Terms(1.0, 10, 50, 1.0, 5),
    Tier.STANDARD: Terms(10.0, 100, 500, 10.0, 50),
    Tier.PREMIUM: Terms(50.0, 500, 2000, 50.0, 200),
    Tier.ENTERPRISE: Terms(100.0, 2000, 10_000, 200.0, 1000),
}


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer; limits that are None are those of the tier, 0 stands for none."""

    id: str
    name: str = ""
    tier: Tier = Tier.FREE
    max_concurrent: int | None = None
    max_queued: int | None = None
    created_at: datetime | None = None

    @property
    def terms(self) -> Terms:
        """The limits that hold for this customer."""
        of_tier = TERMS[self.tier]
        return Terms(
            of_tier.weight,
            of_tier.max_concurrent if self.max_concurrent is None else self.max_concurrent,
            of_tier.max_queued if self.max_queued is None else self.max_queued,
            of_tier.rate,
            of_tier.burst,
        )


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret.

    Args:
        customer_id: empty for a key of administrators.
        prefix: its first characters, which tell keys apart where they are listed.
        admin: whether it may do what administrators may, for every customer.
    """

    id: UUID
    customer_id: str
    prefix: str
    admin: bool = False
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def valid(self, now: datetime) -> bool:
        """Whether it opens anything at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class CustomerStats:
    """What a customer has in the system.

    Args:
        workloads: how many are in each state; those that were deleted after their time of keeping
            are not counted.
        average_duration_ms: that workers took for what is completed.
    """

    workloads: Mapping[State, int]
    average_duration_ms: float
    oldest_pending_seconds: float


@dataclass(frozen=True, slots=True)
class WorkloadConfig:
    """A stored configuration that workloads can be made from.

    Args:
        input_params, affinity: JSON objects in the words of the workload API.
    """

    id: UUID
    customer_id: str
    name: str
    workload_type: str
    input_params: Mapping[str, object]
    priority: int
    timeout_seconds: float | None
    max_retries: int
    affinity: Mapping[str, object]
    created_at: datetime | None = None
    updated_at: datetime | None = None
