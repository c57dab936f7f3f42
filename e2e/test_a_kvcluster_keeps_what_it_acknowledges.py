"""The example of a key-value store: what it has acknowledged is there after a node was killed."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from e2e.fleet import Fleet
from muster_protos import kv_pb2, kv_pb2_grpc
from muster_testing.ports import free_port
from muster_testing.waiting import eventually, eventually_sync

if TYPE_CHECKING:
    from muster_protos.kv_pb2_grpc import CoordinatorServiceAsyncStub

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[1] / "examples" / "kvcluster.yaml"
TENANT, KEYS = "acme", [f"key-{number}" for number in range(50)]


@contextlib.contextmanager
def forwarded(fleet: Fleet, service: str, port: int) -> Iterator[str]:
    """The address of a Service's port on this machine."""
    local = free_port()
    command = [
        *(str(fleet.cluster.bin / "kubectl"), f"--kubeconfig={fleet.cluster.kubeconfig}"),
        *("port-forward", "-n", fleet.namespace, f"service/{service}", f"{local}:{port}"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=dict(os.environ))
    try:
        yield f"127.0.0.1:{local}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator["CoordinatorServiceAsyncStub"]:
    """A client, once the server answers."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = kv_pb2_grpc.CoordinatorServiceStub(channel)

        async def answers() -> bool:
            try:
                await stub.GetTenant(kv_pb2.GetTenantRequest(tenant_id=TENANT), timeout=5)
            except grpc.aio.AioRpcError as error:
                raise AssertionError(error.details()) from None
            return True

        await eventually(answers, deadline=60, what="the coordinator answers")
        yield stub


async def read_all(stub: "CoordinatorServiceAsyncStub") -> None:
    """Every key has its value, at the latest when its replicas answer again."""

    async def whole() -> bool:
        for key in KEYS:
            request = kv_pb2.ReadKeyValueRequest(tenant_id=TENANT, key=key, consistency="quorum")
            found = await stub.ReadKeyValue(request, timeout=10)
            assert found.success, found.error_message
            assert found.value == f"value of {key}".encode()
        return True

    await eventually(whole, deadline=60, what="every acknowledged write is read")


async def test_a_killed_storage_node_loses_nothing(fleet: Fleet) -> None:
    kubectl = fleet.cluster.kubectl
    kubectl("apply", "-n", fleet.namespace, "-f", str(EXAMPLE))
    ready = ("wait", "kvc/store", "-n", fleet.namespace, "--for=condition=Ready", "--timeout=9m")
    kubectl(*ready)
    with forwarded(fleet, "store-kv-coordinator", 50051) as address:
        async with connected(address) as stub:
            for key in KEYS:
                request = kv_pb2.WriteKeyValueRequest(
                    tenant_id=TENANT,
                    key=key,
                    value=f"value of {key}".encode(),
                    consistency="quorum",
                    idempotency_key=f"write {key}",
                )
                written = await stub.WriteKeyValue(request, timeout=10)
                assert written.success, written.error_message
            await read_all(stub)
            fleet.kill("store-kv-storage-0")
            await read_all(stub)

    async def back() -> bool:
        pod = fleet.cluster.get("pod", "store-kv-storage-0", fleet.namespace)
        states = pod["status"].get("containerStatuses", [])
        return bool(states) and all(each["ready"] for each in states)

    await eventually(back, deadline=180, what="the killed node is back")

    async def led() -> bool:
        status = fleet.cluster.get("kvc", "store", fleet.namespace)["status"]
        return str(status.get("leader", "")).startswith("store-kv-coordinator-")

    await eventually(led, deadline=90, every=1, what="a coordinator leads maintenance")
    with forwarded(fleet, "store-kv-coordinator", 50051) as address:
        async with connected(address) as stub:
            await read_all(stub)
    kubectl("delete", "kvc/store", "-n", fleet.namespace)

    def gone() -> bool:
        left = fleet.left()
        assert not left, left
        return True

    # The garbage collector takes a while for volumes and what owns them.
    await asyncio.to_thread(eventually_sync, gone, deadline=300, every=1, what="nothing is left")
