"""Clients that know the first contract only: all nine calls, each field under its number."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

from muster_protos import kv_pb2 as pb
from muster_testing.waiting import eventually

from .harness import serving, settings
from .nodes import memory_nodes

HERE = Path(__file__).parent
SERVICE = "proto.CoordinatorService"


class FirstClient:
    """A client that is generated from its own proto, in a pool of its own."""

    def __init__(self, home: Path) -> None:
        out = home / "first_contract.binpb"
        arguments = ["", f"-I{HERE}", f"--descriptor_set_out={out}", "first_contract.proto"]
        assert protoc.main(arguments) == 0
        (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        self.service = pool.FindServiceByName(SERVICE)
        self.codes = pool.FindEnumTypeByName("proto.ErrorCode")
        self._channel: grpc.aio.Channel | None = None

    def connect(self, target: str) -> None:
        """Speak to a coordinator from now on."""
        self._channel = grpc.aio.insecure_channel(target)

    async def close(self) -> None:
        """Hang up."""
        assert self._channel is not None
        await self._channel.close()

    async def call(self, name: str, **fields: Any) -> Any:
        """The answer to one call."""
        method = self.service.methods_by_name[name]
        request, answer = map(
            message_factory.GetMessageClass, (method.input_type, method.output_type)
        )
        assert self._channel is not None
        ask: Any = self._channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )
        return await ask(request(**fields), timeout=60.0)


def test_names_and_numbers_have_not_changed(tmp_path: Path) -> None:
    first = FirstClient(tmp_path)
    ours = pb.DESCRIPTOR.services_by_name["CoordinatorService"]
    assert (ours.full_name, len(first.service.methods)) == (SERVICE, 9)
    for method in first.service.methods:
        now = ours.methods_by_name[method.name]
        assert (method.input_type.full_name, method.output_type.full_name) == (
            now.input_type.full_name,
            now.output_type.full_name,
        )
    for message in first.service.file.message_types_by_name.values():
        held = pb.DESCRIPTOR.message_types_by_name[message.name].fields_by_name
        for field in message.fields:
            for one in ("number", "type", "is_repeated"):
                assert getattr(field, one) == getattr(held[field.name], one), field.full_name
    assert {one.name: one.number for one in first.codes.values} == dict(pb.ErrorCode.items())


@pytest.mark.integration
async def test_a_client_of_the_first_contract_is_served(dsn: str, tmp_path: Path) -> None:
    names = [f"n-{n}" for n in range(1, 5)]
    first = FirstClient(tmp_path)
    document = settings(dsn, topology={"enabled": False, "disk_limit": 100})
    async with memory_nodes(*names) as nodes, serving(document, tmp_path) as kv:
        first.connect(f"127.0.0.1:{kv.ports.grpc}")
        for node in nodes[:3]:
            where = {"host": "127.0.0.1", "port": node.member.port}
            added = await first.call("AddStorageNode", node_id=node.node_id, **where)
            assert (added.success, added.node_id) == (True, node.node_id)
            assert added.message
        await kv.healthy(3)
        await _tenants(first)
        await _values(first)
        await _topology(first, nodes[3].member.port)
        await first.close()


async def _tenants(first: FirstClient) -> None:
    made = await first.call("CreateTenant", tenant_id="t")
    assert (made.success, made.tenant_id, made.replication_factor) == (True, "t", 3)
    again = await first.call("CreateTenant", tenant_id="t", replication_factor=3)
    assert (again.success, again.error_message.partition(":")[0]) == (False, "TENANT_EXISTS")
    found = await first.call("GetTenant", tenant_id="t")
    assert (found.success, found.tenant_id, found.replication_factor) == (True, "t", 3)
    assert 1_700_000_000 < made.created_at == found.created_at <= found.updated_at


async def _values(first: FirstClient) -> None:
    where = {"tenant_id": "t", "key": "user:456"}
    given = {"value": b"Alice", "consistency": "all", "idempotency_key": "i"}
    for duplicate in (False, True):
        written = await first.call("WriteKeyValue", **where, **given)
        assert (written.success, written.is_duplicate) == (True, duplicate), written
        told = (written.key, written.idempotency_key, written.consistency, written.replica_count)
        assert told == ("user:456", "i", "all", 3)
    (entry,) = written.vector_clock.entries
    assert (bool(entry.coordinator_node_id), entry.logical_timestamp) == (True, 1)
    read = await first.call("ReadKeyValue", **where, consistency="one")
    assert (read.success, read.key, read.value) == (True, "user:456", b"Alice")
    assert read.vector_clock == written.vector_clock
    missing = await first.call("ReadKeyValue", tenant_id="t", key="none")
    assert (missing.success, missing.error_message.partition(":")[0]) == (False, "KEY_NOT_FOUND")


async def _topology(first: FirstClient, port: int) -> None:
    asked = await first.call("UpdateReplicationFactor", tenant_id="t", new_replication_factor=2)
    assert (asked.success, asked.tenant_id) == (True, "t")
    assert (asked.old_replication_factor, asked.new_replication_factor) == (3, 2)
    assert asked.updated_at > 1_700_000_000
    assert (await _migration(first, asked.migration_id)).node_id == ""
    where = {"host": "127.0.0.1", "port": port, "virtual_nodes": 10}
    added = await first.call("AddStorageNode", node_id="n-4", **where)
    found = await _migration(first, added.migration_id)
    assert (found.type, found.node_id, found.status) == ("node_addition", "n-4", "pending")
    progress = found.progress
    assert (progress.keys_migrated, progress.total_keys, progress.percentage) == (0, 0, 0)
    refused = await first.call("RemoveStorageNode", node_id="n-1", force=True)
    assert (refused.success, refused.error_message.partition(":")[0]) == (False, "NODE_IN_USE")

    async def told() -> Any:
        listed = await first.call("ListStorageNodes")
        shown = {one.node_id: one for one in listed.nodes}
        return shown if listed.success and all(shown[f"n-{n}"].keys_count for n in "123") else None

    # Nodes say how they are a few times a second.
    shown = await eventually(told, what="the nodes have told of their keys")
    assert {name: one.status for name, one in shown.items()} == {
        **{f"n-{n}": "active" for n in "123"},
        "n-4": "joining",
    }
    assert [shown[name].virtual_nodes for name in ("n-1", "n-4")] == [150, 10]
    assert (shown["n-1"].host, shown["n-1"].disk_usage_percent) == ("127.0.0.1", 12.5)
    assert shown["n-4"].port == port


async def _migration(first: FirstClient, migration_id: str) -> Any:
    found = await first.call("GetMigrationStatus", migration_id=migration_id)
    assert (found.success, found.migration_id) == (True, migration_id)
    return found
