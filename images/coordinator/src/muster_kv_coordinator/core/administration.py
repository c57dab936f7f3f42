"""What only administrators may do: tenants, storage nodes, migrations."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from muster_kv.tenants import Idempotency
from muster_kv_coordinator.core import limits
from muster_kv_coordinator.core.errors import ErrorCode, KvError, UnavailableError, invalid, shown
from muster_kv_coordinator.core.model import (
    AskedRepair,
    Migration,
    NodeSpec,
    NodeStatus,
    NodeView,
    Policy,
    StoredNode,
    Tenant,
)
from muster_kv_coordinator.core.room import Disk, too_full
from muster_kv_coordinator.core.tenants import Tenants


class NodeStore(Protocol):
    """Where nodes and migrations are; every method raises `UnavailableError` while it is away."""

    async def nodes(self) -> list[StoredNode]:
        """All nodes, by name."""
        ...

    async def add(self, spec: NodeSpec) -> Migration:
        """Want a node; the migration that brings it in.

        Raises:
            KvError: NODE_IN_USE where a node of that name is there in another form, or leaves.
        """
        ...

    async def remove(self, node_id: str, *, force: bool) -> Migration:
        """Want a node no more; the migration that moves its data away.

        Raises:
            KvError: INVALID_REQUEST where there is no such node; NODE_IN_USE where the others are
                too few.
        """
        ...

    async def migration(self, migration_id: str) -> Migration | None:
        """One migration; None where there is none."""
        ...

    async def cancel_migration(self, migration_id: str) -> Migration | None:
        """Ask that a migration be cancelled; None where there is none."""
        ...

    async def ask_repair(self, tenant_id: str) -> AskedRepair:
        """Want anti-entropy now, of a tenant or ('') of all."""
        ...

    async def repair(self, repair_id: str) -> AskedRepair | None:
        """Anti-entropy that was asked for; None where there is none."""
        ...


class NodeFacts(Protocol):
    """Asks storage nodes of themselves."""

    async def view(self, node: StoredNode) -> NodeView:
        """What a node says of itself, if it answers soon."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A policy as a request gives it: None leaves what is there, or the default."""

    conflict_resolution: str | None = None
    durability: str | None = None
    idempotency: str | None = None
    writes_per_minute: int | None = None
    reads_per_minute: int | None = None

    def applied_to(self, policy: Policy) -> Policy:
        """The policy with this change.

        Raises:
            KvError: INVALID_REQUEST.
        """
        return Policy(
            _choice("conflict_resolution", self.conflict_resolution, policy.conflict_resolution),
            _choice("durability", self.durability, policy.durability),
            _choice("idempotency", self.idempotency, policy.idempotency),
            policy.writes_per_minute if self.writes_per_minute is None else self.writes_per_minute,
            policy.reads_per_minute if self.reads_per_minute is None else self.reads_per_minute,
        )


E = TypeVar("E", bound=Enum)


def _choice(field: str, asked: str | None, held: E) -> E:
    if asked is None:
        return held
    try:
        return type(held)(asked)
    except ValueError:
        allowed = ", ".join(member.value for member in type(held))
        raise invalid(f"policy.{field}", asked, allowed) from None


class Administration:
    """Tenants and topology.

    Args:
        default: the policy of tenants that name none.
        redis: whether there is one for tenants to ask for.
        disk_limit: how full, in percent, disks may become by what a node leaves to them.
        changed: told after each change of the topology, so that it is in force here at once.
    """

    def __init__(
        self,
        tenants: Tenants,
        nodes: NodeStore,
        facts: NodeFacts,
        default: Policy,
        *,
        redis: bool,
        disk_limit: float,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._tenants = tenants
        self._nodes = nodes
        self._facts = facts
        self._default = default
        self._redis = redis
        self._disk_limit = disk_limit
        self._changed = changed

    async def create_tenant(self, tenant_id: str, factor: int, policy: PolicyChange) -> Tenant:
        """Make a tenant; a factor of 0 is 3.

        Raises:
            KvError: INVALID_REQUEST, INVALID_REPLICATION_FACTOR, TENANT_EXISTS.
        """
        made = self._possible(policy.applied_to(self._default))
        return await self._tenants.create(tenant_id, factor or 3, made)

    async def tenant(self, tenant_id: str) -> Tenant:
        """A tenant as it is now.

        Raises:
            KvError: INVALID_REQUEST, TENANT_NOT_FOUND.
        """
        limits.check_tenant(tenant_id)
        return await self._tenants.get(tenant_id)

    async def update_policy(self, tenant_id: str, policy: PolicyChange) -> Tenant:
        """Change a tenant's policy.

        Raises:
            KvError: INVALID_REQUEST, TENANT_NOT_FOUND.
        """
        limits.check_tenant(tenant_id)
        return await self._tenants.update_policy(
            tenant_id, lambda held: self._possible(policy.applied_to(held))
        )

    def _possible(self, policy: Policy) -> Policy:
        if policy.idempotency is Idempotency.REDIS and not self._redis:
            raise invalid("policy.idempotency", "Redis", "Replicas, as no Redis is configured")
        return policy

    async def update_factor(self, tenant_id: str, factor: int) -> tuple[Tenant, Migration | None]:
        """Want another replication factor: the tenant as it was, and the migration this needs.

        Raises:
            KvError: INVALID_REQUEST, TENANT_NOT_FOUND, INVALID_REPLICATION_FACTOR.
        """
        return await self._tenants.ask_for_factor(tenant_id, factor)

    async def add_node(self, spec: NodeSpec) -> Migration:
        """Want a storage node; the migration that brings it in.

        Raises:
            KvError: INVALID_REQUEST, NODE_IN_USE.
        """
        limits.check_node(spec.node_id, spec.host, spec.port, spec.virtual_nodes, spec.zone)
        migration = await self._nodes.add(spec)
        await self._in_force()
        return migration

    async def remove_node(self, node_id: str, *, force: bool) -> Migration:
        """Want a storage node no more; the migration that moves its data away.

        Raises:
            KvError: INVALID_REQUEST, NODE_IN_USE.
        """
        limits.check_node_id(node_id)
        if not force:
            self._check_room(node_id, await self.nodes())
        migration = await self._nodes.remove(node_id, force=force)
        await self._in_force()
        return migration

    def _check_room(self, node_id: str, views: list[NodeView]) -> None:
        """Raise NODE_IN_USE where a disk would be too full, as far as nodes tell."""
        disks = [
            Disk(
                view.node.spec.node_id,
                view.node.spec.virtual_nodes,
                view.data_bytes,
                view.disk_bytes,
                view.disk_usage_percent,
            )
            for view in views
            if view.node.status is NodeStatus.ACTIVE
        ]
        leaving = [disk for disk in disks if disk.node_id == node_id]
        rest = [disk for disk in disks if disk.node_id != node_id]
        problem = too_full(leaving[0], rest, self._disk_limit) if leaving and rest else ""
        if problem:
            text = f"node {shown(node_id)} can't leave: {problem}; add a node before"
            raise KvError(ErrorCode.NODE_IN_USE, text)

    async def _in_force(self) -> None:
        try:
            await self._changed()
        except UnavailableError:
            # It is stored; this replica hears of it when the store is back.
            return

    async def migration(self, migration_id: str) -> Migration:
        """A migration.

        Raises:
            KvError: MIGRATION_NOT_FOUND.
        """
        return _found(migration_id, await self._nodes.migration(migration_id))

    async def cancel_migration(self, migration_id: str) -> Migration:
        """Ask that a migration be cancelled; one that has ended stays as it is.

        Raises:
            KvError: MIGRATION_NOT_FOUND.
        """
        return _found(migration_id, await self._nodes.cancel_migration(migration_id))

    async def ask_repair(self, tenant_id: str) -> AskedRepair:
        """Want anti-entropy now, of a tenant or ('') of all.

        Raises:
            KvError: INVALID_REQUEST, TENANT_NOT_FOUND.
        """
        if tenant_id:
            await self.tenant(tenant_id)
        return await self._nodes.ask_repair(tenant_id)

    async def repair(self, repair_id: str) -> AskedRepair:
        """Anti-entropy that was asked for.

        Raises:
            KvError: MIGRATION_NOT_FOUND.
        """
        found = await self._nodes.repair(repair_id)
        if found is None:
            text = f"repair {shown(repair_id)} does not exist"
            raise KvError(ErrorCode.MIGRATION_NOT_FOUND, text)
        return found

    async def nodes(self) -> list[NodeView]:
        """All storage nodes, with what they say of themselves."""
        return [await self._facts.view(node) for node in await self._nodes.nodes()]


def _found(migration_id: str, migration: Migration | None) -> Migration:
    if migration is None:
        text = f"migration {shown(migration_id)} does not exist"
        raise KvError(ErrorCode.MIGRATION_NOT_FOUND, text)
    return migration
