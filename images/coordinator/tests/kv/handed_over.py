"""A coordinator over nodes in memory, and which calls its front hands over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.api.keyvalues import KeyValueCalls
from muster_kv_coordinator.core.tenants import Tenants
from muster_testing.waiting import eventually

from .harness import Coordinator, serving, settings
from .nodes import MemoryNode, memory_nodes


@asynccontextmanager
async def served(
    dsn: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Coordinator, list[MemoryNode], list[str]]]:
    """A coordinator with the tenant `t`, its nodes, and the calls that are not plain."""
    seen: list[str] = []

    def watched(name: str) -> Any:
        handle = getattr(KeyValueCalls, name)

        async def watching(self: KeyValueCalls, request: Any, caller: Caller) -> Any:
            seen.append(f"{name} {'again' if caller.begun else 'anew'}")
            return await handle(self, request, caller)

        return watching

    for name in ("write", "read", "delete"):
        monkeypatch.setattr(KeyValueCalls, name, watched(name))
    heard: list[str] = []
    changed = Tenants.changed

    def hearing(self: Tenants, tenant_id: str) -> None:
        changed(self, tenant_id)
        heard.append(tenant_id)

    monkeypatch.setattr(Tenants, "changed", hearing)
    async with (
        memory_nodes("n-1", "n-2", "n-3") as nodes,
        serving(settings(dsn), home) as kv,
    ):
        await kv.join(*(node.member for node in nodes))
        assert (await kv.grpc.call("CreateTenant", tenant_id="t")).success
        # Of whom there are news one is looked up once more.
        await eventually(lambda: heard == ["t"], what="the news of the tenant have come")
        assert (await kv.grpc.write("known", b"")).success
        seen.clear()
        yield kv, nodes, seen
