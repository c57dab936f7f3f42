"""The calls that administrate; GetTenant is open to the tenant itself."""

from typing import Any

from muster_kv_coordinator.api import messages
from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.core.administration import Administration
from muster_kv_coordinator.core.errors import ErrorCode, KvError
from muster_kv_coordinator.core.model import Migration, MigrationStatus, NodeSpec
from muster_kv_coordinator.tokens import Tokens
from muster_protos import kv_pb2 as pb


class AdminCalls:
    """Requests and answers are messages; every method raises `KvError`.

    Args:
        virtual_nodes: of a storage node that names no number.
    """

    def __init__(self, administration: Administration, tokens: Tokens, virtual_nodes: int) -> None:
        self._administration = administration
        self._tokens = tokens
        self._virtual_nodes = virtual_nodes

    async def create_tenant(
        self, request: pb.CreateTenantRequest, caller: Caller
    ) -> pb.CreateTenantResponse:
        """CreateTenant."""
        self._check(caller)
        tenant = await self._administration.create_tenant(
            request.tenant_id, request.replication_factor, messages.policy_change(request.policy)
        )
        return pb.CreateTenantResponse(
            success=True,
            tenant_id=tenant.tenant_id,
            replication_factor=tenant.replication_factor,
            created_at=messages.seconds(tenant.created_at),
        )

    async def get_tenant(
        self, request: pb.GetTenantRequest, caller: Caller
    ) -> pb.GetTenantResponse:
        """GetTenant."""
        identity = self._tokens.judge(caller.authorization, caller.common_name)
        identity.check_tenant(request.tenant_id)
        return messages.tenant_message(await self._administration.tenant(request.tenant_id))

    async def update_policy(
        self, request: pb.UpdateTenantPolicyRequest, caller: Caller
    ) -> pb.UpdateTenantPolicyResponse:
        """UpdateTenantPolicy."""
        self._check(caller)
        tenant = await self._administration.update_policy(
            request.tenant_id, messages.policy_change(request.policy)
        )
        return pb.UpdateTenantPolicyResponse(
            success=True,
            tenant_id=tenant.tenant_id,
            policy=messages.policy_message(tenant.policy),
        )

    async def update_factor(
        self, request: pb.UpdateReplicationFactorRequest, caller: Caller
    ) -> pb.UpdateReplicationFactorResponse:
        """UpdateReplicationFactor."""
        self._check(caller)
        before, migration = await self._administration.update_factor(
            request.tenant_id, request.new_replication_factor
        )
        return pb.UpdateReplicationFactorResponse(
            success=True,
            tenant_id=before.tenant_id,
            old_replication_factor=before.replication_factor,
            new_replication_factor=request.new_replication_factor,
            migration_id=migration.migration_id if migration else "",
            updated_at=messages.seconds(migration.created_at if migration else before.updated_at),
        )

    async def add_node(
        self, request: pb.AddStorageNodeRequest, caller: Caller
    ) -> pb.AddStorageNodeResponse:
        """AddStorageNode."""
        self._check(caller)
        migration = await self._administration.add_node(
            NodeSpec(
                request.node_id,
                request.host,
                request.port,
                request.virtual_nodes or self._virtual_nodes,
                request.zone,
            )
        )
        return pb.AddStorageNodeResponse(
            **_begun(migration, "the node is a member", "its data is on the way to it")
        )

    async def remove_node(
        self, request: pb.RemoveStorageNodeRequest, caller: Caller
    ) -> pb.RemoveStorageNodeResponse:
        """RemoveStorageNode."""
        self._check(caller)
        migration = await self._administration.remove_node(request.node_id, force=request.force)
        return pb.RemoveStorageNodeResponse(
            **_begun(migration, "the node has left", "its data is on the way to others")
        )

    async def migration(
        self, request: pb.GetMigrationStatusRequest, caller: Caller
    ) -> pb.GetMigrationStatusResponse:
        """GetMigrationStatus."""
        self._check(caller)
        return messages.migration_message(
            await self._administration.migration(request.migration_id)
        )

    async def cancel_migration(
        self, request: pb.CancelMigrationRequest, caller: Caller
    ) -> pb.CancelMigrationResponse:
        """CancelMigration."""
        self._check(caller)
        migration = await self._administration.cancel_migration(request.migration_id)
        return pb.CancelMigrationResponse(
            success=True, migration_id=migration.migration_id, status=migration.status
        )

    async def start_repair(
        self, request: pb.StartRepairRequest, caller: Caller
    ) -> pb.StartRepairResponse:
        """StartRepair."""
        self._check(caller)
        asked = await self._administration.ask_repair(request.tenant_id)
        return pb.StartRepairResponse(success=True, repair_id=asked.repair_id, status=asked.status)

    async def repair(
        self, request: pb.GetRepairStatusRequest, caller: Caller
    ) -> pb.GetRepairStatusResponse:
        """GetRepairStatus."""
        self._check(caller)
        return messages.repair_message(await self._administration.repair(request.repair_id))

    async def nodes(
        self, _: pb.ListStorageNodesRequest, caller: Caller
    ) -> pb.ListStorageNodesResponse:
        """ListStorageNodes."""
        self._check(caller)
        views = await self._administration.nodes()
        return pb.ListStorageNodesResponse(
            success=True, nodes=[messages.node_message(view) for view in views]
        )

    def _check(self, caller: Caller) -> None:
        self._tokens.judge(caller.authorization, caller.common_name).check_admin()


def _begun(migration: Migration, done: str, under_way: str) -> dict[str, Any]:
    """The fields of an answer to who wants a node, or wants it no more."""
    return {
        "success": True,
        "node_id": migration.node_id,
        "migration_id": migration.migration_id,
        "message": _progress(migration, done, under_way),
        "estimated_completion": messages.seconds(migration.estimated_completion),
    }


def _progress(migration: Migration, done: str, under_way: str) -> str:
    if migration.status is MigrationStatus.COMPLETED:
        return done
    if migration.status is MigrationStatus.FAILED:
        raise KvError(
            ErrorCode.NODE_IN_USE,
            f"migration {migration.migration_id} failed: {migration.error or 'see the log'}",
        )
    return f"{under_way}: see migration {migration.migration_id}"
