"""What a tenant has chosen, or had chosen for it."""

from enum import Enum

import msgspec

from muster_kv.consistency import Level
from muster_kv.limits import VALUE_BYTES, LimitError, check_tenant
from muster_kv.rates import DEFAULT_READS, DEFAULT_WRITES, Rate

DEFAULT_REPLICATION_FACTOR = 3


class ConflictResolution(Enum):
    """What becomes of writes that did not know of each other."""

    SIBLINGS = "Siblings"
    LAST_WRITE_WINS = "LastWriteWins"


class Durability(Enum):
    """Where a write is when it is acknowledged: on the disks; nothing less is offered."""

    SYNC = "Sync"


class Idempotency(Enum):
    """Where operations with an idempotency key are remembered."""

    REPLICAS = "Replicas"
    REDIS = "Redis"


def _check_between(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise LimitError(field, str(value), f"{least} to {most}")


class Policy(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A tenant's choices, as they are kept in the metadata. Raises ValueError where one is wrong.

    `idempotency_seconds` is how long an operation is remembered.
    """

    conflict_resolution: ConflictResolution = ConflictResolution.SIBLINGS
    durability: Durability = Durability.SYNC
    idempotency: Idempotency = Idempotency.REPLICAS
    consistency: Level = Level.QUORUM
    idempotency_seconds: int = 24 * 3600
    max_value_bytes: int = VALUE_BYTES
    writes: Rate = DEFAULT_WRITES
    reads: Rate = DEFAULT_READS

    def __post_init__(self) -> None:
        _check_between("idempotencySeconds", self.idempotency_seconds, 1, 7 * 24 * 3600)
        _check_between("maxValueBytes", self.max_value_bytes, 1, VALUE_BYTES)
        for name, rate in (("writes", self.writes), ("reads", self.reads)):
            _check_between(f"{name}.limit", rate.limit, 0, 1_000_000_000)
            if not 0.001 <= rate.seconds <= 24 * 3600:
                raise LimitError(f"{name}.seconds", str(rate.seconds), "0.001 to 86400")


class Tenant(msgspec.Struct, frozen=True):
    """A tenant. `moving_to` is the replication factor that it is changing to, while it is."""

    tenant_id: str
    replication_factor: int = DEFAULT_REPLICATION_FACTOR
    policy: Policy = Policy()
    moving_to: int | None = None

    def __post_init__(self) -> None:
        check_tenant(self.tenant_id)
