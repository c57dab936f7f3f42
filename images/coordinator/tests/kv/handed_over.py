"""Which calls the front of a coordinator hands over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.api.keyvalues import KeyValueCalls
from muster_kv_coordinator.core.tenants import Tenants
from muster_protos import kv_pb2 as pb
from muster_testing.waiting import eventually

from .harness import Coordinator, serving, settings
from .nodes import MemoryNode, memory_nodes


class Watch:
    """Sees the unary calls of coordinators in this process that are not plain.

    Attributes:
        seen: what the core is asked: `write anew`, or `write again` where the front had begun.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self._heard: list[str] = []
        for name in ("write", "read", "delete"):
            monkeypatch.setattr(KeyValueCalls, name, self._watched(name))
        self._listens = False
        changed, all_changed = Tenants.changed, Tenants.all_changed

        def listening(tenants: Tenants) -> None:
            all_changed(tenants)
            self._listens = True

        def hearing(tenants: Tenants, tenant_id: str) -> None:
            changed(tenants, tenant_id)
            self._heard.append(tenant_id)

        monkeypatch.setattr(Tenants, "changed", hearing)
        monkeypatch.setattr(Tenants, "all_changed", listening)

    def _watched(self, name: str) -> Any:
        handle = getattr(KeyValueCalls, name)

        async def watching(calls: KeyValueCalls, request: Any, caller: Caller) -> Any:
            self.seen.append(f"{name} {'again' if caller.begun else 'anew'}")
            return await handle(calls, request, caller)

        return watching

    async def tenant(
        self, kv: Coordinator, tenant_id: str, policy: pb.TenantPolicy | None = None
    ) -> None:
        """Make a tenant, and have the front know it."""
        # Whoever begins to listen forgets all tenants.
        await eventually(lambda: self._listens, what="the coordinator listens to news")
        made = await kv.grpc.call("CreateTenant", tenant_id=tenant_id, policy=policy)
        assert made.success, made.error_message
        # Of whom there are news one is looked up once more.
        await eventually(lambda: tenant_id in self._heard, what="the news of the tenant have come")
        assert (await kv.grpc.call("GetTenant", tenant_id=tenant_id)).success


@asynccontextmanager
async def served(
    dsn: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    policy: pb.TenantPolicy | None = None,
) -> AsyncIterator[tuple[Coordinator, list[MemoryNode], list[str]]]:
    """A coordinator with the tenant `t`, its nodes in memory, and the calls that are not plain."""
    watch = Watch(monkeypatch)
    async with (
        memory_nodes("n-1", "n-2", "n-3") as nodes,
        serving(settings(dsn), home) as kv,
    ):
        await kv.join(*(node.member for node in nodes))
        await watch.tenant(kv, "t", policy)
        yield kv, nodes, watch.seen
