"""Tenants, requests and their results, apart from any wire."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from muster_kv.clock import VectorClock
from muster_kv.consistency import Level
from muster_kv.record import Version
from muster_kv.tenants import ConflictResolution, Durability, Idempotency

WRITES_PER_MINUTE = 1_000
READS_PER_MINUTE = 10_000
UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class Policy:
    """How one tenant's data is treated; rates are per minute, -1 for no limit."""

    conflict_resolution: ConflictResolution = ConflictResolution.SIBLINGS
    durability: Durability = Durability.SYNC
    idempotency: Idempotency = Idempotency.REPLICAS
    writes_per_minute: int = WRITES_PER_MINUTE
    reads_per_minute: int = READS_PER_MINUTE


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant as the metadata store has it.

    Args:
        moving_to: the replication factor that it is being changed to, while it is.
        known_at: the version of the ring when it was looked up.
    """

    tenant_id: str
    replication_factor: int
    desired_replication_factor: int
    moving_to: int | None
    policy: Policy
    created_at: datetime
    updated_at: datetime
    known_at: int = 0


@dataclass(frozen=True, slots=True)
class Write:
    """A write, or a deletion where `value` is None.

    Args:
        context: what it replaces; None for whatever the replica that takes it holds.
        expires_at_us: Unix microseconds; 0 never.
    """

    tenant: str
    key: str
    value: bytes | None
    level: Level
    idempotency_key: str = ""
    context: VectorClock | None = None
    expires_at_us: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """How a write ended.

    Args:
        clock: the context that the writer may claim to know from now on.
        replicas: how many have said that they hold it.
        siblings: versions that live there now.
    """

    clock: VectorClock
    replicas: int
    duplicate: bool = False
    siblings: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """What a read found; the shown version first.

    Args:
        versions: the values that a reader gets to see, at least one.
        context: of a write that replaces all of it.
    """

    versions: tuple[Version, ...]
    context: VectorClock


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a scan; `token` is empty at the end."""

    entries: tuple[tuple[str, Found], ...]
    token: str


class NodeStatus(StrEnum):
    """What is wanted of a storage node."""

    JOINING = "joining"
    ACTIVE = "active"
    DRAINING = "draining"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A storage node as an administrator names it."""

    node_id: str
    host: str
    port: int
    virtual_nodes: int = 150
    zone: str = ""


@dataclass(frozen=True, slots=True)
class StoredNode:
    """A storage node in the metadata store."""

    spec: NodeSpec
    status: NodeStatus


class MigrationType(StrEnum):
    """What a migration brings about."""

    NODE_ADDITION = "node_addition"
    NODE_DELETION = "node_deletion"
    # A member came back with an empty disk.
    NODE_REPLACEMENT = "node_replacement"
    REPLICATION_CHANGE = "replication_change"


class MigrationStatus(StrEnum):
    """How far it is."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Migration:
    """A change of the topology; who carries it out is elsewhere."""

    migration_id: str
    type: MigrationType
    node_id: str
    tenant_id: str
    status: MigrationStatus
    keys_migrated: int = 0
    total_keys: int = 0
    error: str = ""
    cancel_requested: bool = False
    old_factor: int | None = None
    new_factor: int | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    estimated_completion: datetime | None = None
    finished_at: datetime | None = None

    @property
    def percentage(self) -> float:
        """Of its keys; 100 only when it is completed."""
        if self.status is MigrationStatus.COMPLETED:
            return 100.0
        if not self.total_keys:
            return 0.0
        return min(99.9, 100.0 * self.keys_migrated / self.total_keys)


class RepairStatus(StrEnum):
    """How far anti-entropy is that was asked for."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class AskedRepair:
    """Anti-entropy that was asked for, and its result.

    Args:
        tenant_id: whose records; empty for all.
        waiting_for: why it is not completed.
        ranges_differing: parts of ranges in which replicas were unlike each other.
        records_repaired: records that were brought to a replica.
    """

    repair_id: str
    tenant_id: str
    status: RepairStatus
    waiting_for: str = ""
    ranges_differing: int = 0
    records_repaired: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NodeView:
    """A storage node with what it says of itself; the figures are 0 while it does not answer."""

    node: StoredNode
    reachable: bool
    keys: int = 0
    disk_usage_percent: float = 0.0
    data_bytes: int = 0
    disk_bytes: int = 0
