"""Real coordinators for the tests, in this process or as processes, and clients to them."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import grpc
import httpx
import yaml

from muster_kv_coordinator.app import KvCoordinator, Ports
from muster_kv_coordinator.config import KvConfig
from muster_protos import kv_pb2 as pb
from muster_runtime.config import load
from muster_testing import processes
from muster_testing.waiting import eventually

# Nobody is taken for dead, and nobody asked instead of another, because a machine is slow.
PATIENT = {
    "write_timeout": "20s",
    "read_timeout": "20s",
    "hedge_after": "20s",
    "suspect_after": "20s",
}
# As in production: those that stop answering are noticed, and others asked instead.
WATCHFUL = {"hedge_after": "50ms", "suspect_after": "500ms"}

# What httpx makes by itself reads all authorities of the machine, for each client anew.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def settings(dsn: str, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with free ports; `sections` go over it."""
    host, _, database = dsn.removeprefix("postgresql://muster@").partition("/")
    document: dict[str, dict[str, Any]] = {
        "server": {
            "host": "127.0.0.1",
            "port": 0,
            "http_port": 0,
            "node_id": "c-0",
            "shutdown_timeout": "5s",
        },
        "metrics": {"port": 0},
        "database": {
            "host": host.partition(":")[0],
            "port": int(host.partition(":")[2]),
            "database": database,
            "user": "muster",
            "max_connections": 10,
            "min_connections": 1,
        },
        "consistency": dict(PATIENT),
        "limits": {"writes_per_minute": -1, "reads_per_minute": -1},
        # How full the machine's disk is decides no test.
        "topology": {"disk_limit": 100},
    }
    for name, section in sections.items():
        document[name] = document.get(name, {}) | dict(section)
    return document


class Client:
    """A client of the service: one method of the contract is one method here."""

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))
        self._channel = (
            grpc.aio.insecure_channel(target, options=options)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options=options)
        )
        self.token = ""

    def method(self, name: str) -> Any:
        """The call of one unary method."""
        found = pb.DESCRIPTOR.services_by_name["CoordinatorService"].methods_by_name[name]
        answer = getattr(pb, found.output_type.name)
        return self._channel.unary_unary(
            f"/proto.CoordinatorService/{name}",
            request_serializer=getattr(pb, found.input_type.name).SerializeToString,
            response_deserializer=answer.FromString,
        )

    async def call(self, name: str, seconds: float = 60.0, **fields: Any) -> Any:
        """The answer to one unary call."""
        found = pb.DESCRIPTOR.services_by_name["CoordinatorService"].methods_by_name[name]
        request = getattr(pb, found.input_type.name)(**fields)
        metadata = (("authorization", f"Bearer {self.token}"),) if self.token else None
        return await self.method(name)(request, timeout=seconds, metadata=metadata)

    async def write(self, key: str, value: bytes, tenant: str = "t", **fields: Any) -> Any:
        """WriteKeyValue."""
        return await self.call("WriteKeyValue", tenant_id=tenant, key=key, value=value, **fields)

    async def read(self, key: str, tenant: str = "t", **fields: Any) -> Any:
        """ReadKeyValue."""
        return await self.call("ReadKeyValue", tenant_id=tenant, key=key, **fields)

    async def delete(self, key: str, tenant: str = "t", **fields: Any) -> Any:
        """DeleteKeyValue."""
        return await self.call("DeleteKeyValue", tenant_id=tenant, key=key, **fields)

    def stream(self, batches: AsyncIterator[pb.BatchRequest], **options: Any) -> Any:
        """Stream."""
        return self._channel.stream_stream(
            "/proto.CoordinatorService/Stream",
            request_serializer=pb.BatchRequest.SerializeToString,
            response_deserializer=pb.BatchResponse.FromString,
        )(batches, **options)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


class Coordinator:
    """A coordinator under test, and clients to its ports."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.grpc = Client(f"127.0.0.1:{ports.grpc}")
        base = "http://127.0.0.1"
        self.http = httpx.AsyncClient(base_url=f"{base}:{ports.http}", timeout=60.0, verify=NO_TLS)
        self.ops = httpx.AsyncClient(base_url=f"{base}:{ports.ops}", timeout=60.0, verify=NO_TLS)

    async def ready(self, deadline: float = 60.0) -> "Coordinator":
        """Wait until it is ready."""

        async def probe() -> bool:
            return (await self.ops.get("/health/ready")).status_code == 200

        await eventually(probe, deadline=deadline, what="the coordinator is ready")
        return self

    async def healthy(self, nodes: int) -> None:
        """Wait until it has so many storage nodes that answer."""

        async def probe() -> bool:
            body = (await self.ops.get("/ready")).json()
            return list(body["storage_nodes"].values()).count("healthy") == nodes

        await eventually(probe, what=f"{nodes} storage nodes answer")

    async def answered_by(self, *nodes: str) -> None:
        """Wait until these storage nodes answer it, and no others."""

        async def probe() -> bool:
            body = (await self.ops.get("/ready")).json()
            found = {name for name, how in body["storage_nodes"].items() if how == "healthy"}
            assert found == set(nodes), body
            return True

        await eventually(probe, what=f"{nodes} answer alone")

    async def join(self, *members: Any) -> None:
        """Add storage nodes, and wait until they answer."""
        for member in members:
            answer = await self.grpc.call(
                "AddStorageNode",
                node_id=member.node_id,
                host=member.host,
                port=member.port,
                virtual_nodes=16,
            )
            assert answer.success, answer.error_message
        await self.healthy(len(members))

    async def metric(self, line: str) -> float:
        """The value of one sample, as `name{label="value"}`."""
        for found in (await self.ops.get("/metrics")).text.splitlines():
            name, _, value = found.rpartition(" ")
            if name == line:
                return float(value)
        raise AssertionError(f"no sample {line}")

    async def close(self) -> None:
        """Close the clients."""
        await self.grpc.close()
        await self.http.aclose()
        await self.ops.aclose()


@contextlib.asynccontextmanager
async def serving(
    document: Mapping[str, Any], home: Path, *, ready: bool = True
) -> AsyncIterator[Coordinator]:
    """A coordinator in this process while the context is open; `ready` waits until it is that."""
    path = home / "kv.yaml"
    path.write_text(yaml.safe_dump(dict(document)))
    coordinator = KvCoordinator(load(KvConfig, path, {}), {}, "0.0.0")
    stop = asyncio.Event()
    running = asyncio.create_task(coordinator.run(stop))

    def bound() -> Ports | None:
        if running.done():
            raise RuntimeError(f"the coordinator stopped: {running}")
        return coordinator.ports

    try:
        replica = Coordinator(cast("Ports", await eventually(bound, what="the coordinator serves")))
        try:
            yield (await replica.ready()) if ready else replica
        finally:
            await replica.close()
    finally:
        stop.set()
        assert await running == 0


class Process(processes.Process):
    """A coordinator as a process of its own."""

    def __init__(
        self,
        document: Mapping[str, Any],
        home: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        home.mkdir(exist_ok=True)
        (home / "kv.yaml").write_text(yaml.safe_dump(dict(document)))
        command = ["-m", "muster_kv_coordinator", "--config", str(home / "kv.yaml")]
        super().__init__(command, environment)

    async def serving(self, deadline: float = 120.0) -> Coordinator:
        """Wait until it is ready."""
        return await Coordinator(Ports(**await self.bound(deadline))).ready(deadline)


@contextlib.contextmanager
def process(document: Mapping[str, Any], home: Path) -> Iterator[Process]:
    """A coordinator process while the context is open."""
    started = Process(document, home)
    try:
        yield started
    finally:
        started.close()
