"""Between messages on the wire and what the core speaks of."""

import time
from datetime import datetime

from muster_kv.clock import VectorClock
from muster_kv_coordinator.core import limits
from muster_kv_coordinator.core.administration import PolicyChange
from muster_kv_coordinator.core.model import (
    AskedRepair,
    Found,
    Migration,
    NodeStatus,
    NodeView,
    Policy,
    Tenant,
)
from muster_protos import kv_pb2 as pb


def clock(message: pb.VectorClock) -> VectorClock:
    """A context that a client sends.

    Raises:
        KvError: INVALID_REQUEST.
    """
    found: dict[str, int] = {}
    for entry in message.entries:
        actor, counter = entry.coordinator_node_id, entry.logical_timestamp
        found[actor] = max(counter, found.get(actor, counter))
    limits.check_context(found)
    return found


def clock_message(held: VectorClock) -> pb.VectorClock:
    """A context for a client."""
    message = pb.VectorClock()
    for actor, counter in held.items():
        message.entries.add(coordinator_node_id=actor, logical_timestamp=counter)
    return message


def expiry_us(ttl_seconds: int) -> int:
    """When a value that is written now is gone, Unix microseconds; 0 for never.

    Raises:
        KvError: INVALID_REQUEST.
    """
    limits.check_ttl(ttl_seconds)
    return time.time_ns() // 1000 + ttl_seconds * 1_000_000 if ttl_seconds else 0


def siblings(found: Found) -> list[pb.Sibling]:
    """All versions, where there is more than one; the shown one first."""
    if len(found.versions) < 2:
        return []
    return [
        pb.Sibling(
            value=version.value or b"",
            timestamp_us=version.timestamp_us,
            expires_at_us=version.expires_at_us,
        )
        for version in found.versions
    ]


def policy_change(message: pb.TenantPolicy) -> PolicyChange:
    """A policy as it is asked for; empty texts and zeros ask for nothing."""
    return PolicyChange(
        message.conflict_resolution or None,
        message.durability or None,
        message.idempotency or None,
        message.writes_per_minute or None,
        message.reads_per_minute or None,
    )


def policy_message(policy: Policy) -> pb.TenantPolicy:
    """A policy for a client."""
    return pb.TenantPolicy(
        conflict_resolution=policy.conflict_resolution.value,
        durability=policy.durability.value,
        idempotency=policy.idempotency.value,
        writes_per_minute=policy.writes_per_minute,
        reads_per_minute=policy.reads_per_minute,
    )


def tenant_message(tenant: Tenant) -> pb.GetTenantResponse:
    """A tenant for a client."""
    return pb.GetTenantResponse(
        success=True,
        tenant_id=tenant.tenant_id,
        replication_factor=tenant.replication_factor,
        created_at=seconds(tenant.created_at),
        updated_at=seconds(tenant.updated_at),
        policy=policy_message(tenant.policy),
    )


def migration_message(migration: Migration) -> pb.GetMigrationStatusResponse:
    """A migration for a client."""
    return pb.GetMigrationStatusResponse(
        success=True,
        migration_id=migration.migration_id,
        type=migration.type,
        node_id=migration.node_id,
        tenant_id=migration.tenant_id,
        status=migration.status,
        progress=pb.MigrationProgress(
            keys_migrated=migration.keys_migrated,
            total_keys=migration.total_keys,
            percentage=migration.percentage,
        ),
        started_at=seconds(migration.started_at),
        estimated_completion=seconds(migration.estimated_completion),
        error_message=migration.error,
    )


def repair_message(asked: AskedRepair) -> pb.GetRepairStatusResponse:
    """Anti-entropy that was asked for, for a client."""
    return pb.GetRepairStatusResponse(
        success=True,
        repair_id=asked.repair_id,
        tenant_id=asked.tenant_id,
        status=asked.status,
        ranges_differing=asked.ranges_differing,
        records_repaired=asked.records_repaired,
        started_at=seconds(asked.started_at),
        finished_at=seconds(asked.finished_at),
        waiting_for=asked.waiting_for,
    )


def node_message(view: NodeView) -> pb.StorageNodeInfo:
    """A storage node for a client."""
    spec = view.node.spec
    return pb.StorageNodeInfo(
        node_id=spec.node_id,
        host=spec.host,
        port=spec.port,
        status=NodeStatus(view.node.status),
        virtual_nodes=spec.virtual_nodes,
        keys_count=view.keys,
        disk_usage_percent=view.disk_usage_percent,
        zone=spec.zone,
        reachable=view.reachable,
    )


def seconds(moment: datetime | None) -> int:
    """Unix seconds; 0 for no moment."""
    return int(moment.timestamp()) if moment is not None else 0
