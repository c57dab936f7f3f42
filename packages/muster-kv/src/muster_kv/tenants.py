"""What a tenant may choose."""

from enum import Enum


class ConflictResolution(Enum):
    """What becomes of writes that did not know of each other."""

    SIBLINGS = "Siblings"
    LAST_WRITE_WINS = "LastWriteWins"


class Durability(Enum):
    """Where a write is when it is acknowledged: on the disks, or with their kernels only."""

    SYNC = "Sync"
    ASYNC = "Async"


class Idempotency(Enum):
    """Where operations with an idempotency key are remembered."""

    REPLICAS = "Replicas"
    REDIS = "Redis"
