"""Nobody can tell whether the front or the core answers; storage nodes are processes."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count, groupby
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from muster_kv.clock import VectorClock
from muster_kv.ops import OP_BYTES, op_of
from muster_kv.record import Record, decode
from muster_kv.slots import slot
from muster_kv.wire.client import NodeClient
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import Found, Get
from muster_protos import kv_pb2 as pb
from muster_testing.postgres import PostgresServer
from muster_testing.storage import StorageNodes

from .handed_over import Watch
from .harness import Coordinator, serving, settings

# Thousands of calls to real nodes take minutes on a busy machine.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),
]

_STAMP_BYTES = 8
_HOUR_US = 3600 * 1_000_000
_NOBODY = pb.VectorClock(
    entries=[pb.VectorClockEntry(coordinator_node_id="nobody#00000000", logical_timestamp=3)]
)
_NAMELESS = pb.VectorClock(entries=[pb.VectorClockEntry(logical_timestamp=3)])
_keys = count()


@dataclass(frozen=True)
class Cluster:
    """A coordinator, what it hands over, and what three storage nodes hold."""

    kv: Coordinator
    watch: Watch
    nodes: list[NodeClient]

    async def record(self, key: str) -> Record:
        """What all nodes hold of a key."""
        where = slot("t", key)
        held = await asyncio.gather(*(node.request(Get(where), 60) for node in self.nodes))
        records = [decode(one.record, where) for one in held if isinstance(one, Found)]
        assert records == [records[0]] * 3
        return records[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    """A cluster with the tenant `t`."""
    dsn, home = await postgres.create_database(), tmp_path_factory.mktemp("either")
    with StorageNodes() as make, pytest.MonkeyPatch.context() as monkeypatch:
        watch = Watch(monkeypatch)
        nodes = [make(f"s-{n}", sync=False) for n in range(3)]
        await asyncio.gather(*(node.start() for node in nodes))
        identity = Identity("test", Role.COORDINATOR, "muster")
        clients = [NodeClient(node.host, node.port, identity) for node in nodes]
        # A leader would note the nodes' data folders in another version of the ring; a call that
        # meets it is handed over.
        document = settings(dsn, topology={"disk_limit": 100, "enabled": False})
        async with serving(document, home) as kv:
            await kv.join(*nodes)
            await watch.tenant(kv, "t")
            for client in clients:
                client.start()
                await client.ready(60)
            yield Cluster(kv, watch, clients)
            for client in clients:
                await client.close()


@dataclass(frozen=True)
class Operation:
    """A write, or a deletion where there is no value.

    Args:
        context: which of the contexts that its client could send.
    """

    value: bytes | None
    idempotency_key: str
    context: str
    ttl_seconds: int

    def request(self, key: str, contexts: dict[str, pb.VectorClock | None]) -> pb.Operation:
        """As a request for a key."""
        asked: dict[str, Any] = {
            "tenant_id": "t",
            "key": key,
            # So that the next one finds all replicas alike.
            "consistency": "all",
            "idempotency_key": self.idempotency_key,
            "context": contexts[self.context],
        }
        if self.value is None:
            return pb.Operation(delete=pb.DeleteKeyValueRequest(**asked))
        write = pb.WriteKeyValueRequest(value=self.value, ttl_seconds=self.ttl_seconds, **asked)
        return pb.Operation(write=write)


operations = st.builds(
    Operation,
    value=st.sampled_from([None, b"", b"1", b"2"]),
    idempotency_key=st.sampled_from(["", "", "i", "j", "i" * 257]),
    context=st.sampled_from(
        ["none", "none", "empty", "told", "read", "ahead", "of nobody", "wrong"]
    ),
    ttl_seconds=st.sampled_from([0, 0, 100, 10 * 365 * 86400, 10 * 365 * 86400 + 1, -1]),
)


@dataclass
class Way:
    """One of the two ways, with a key of its own and what its client has been told."""

    key: str
    told: pb.VectorClock = field(default_factory=pb.VectorClock)

    async def contexts(self, cluster: Cluster) -> dict[str, pb.VectorClock | None]:
        """The contexts that a client of this way could send."""
        read = (await cluster.kv.grpc.read(self.key, consistency="all")).vector_clock
        ahead = pb.VectorClock()
        ahead.CopyFrom(read)
        for entry in ahead.entries:
            entry.logical_timestamp += 1
        return {
            "none": None,
            "empty": pb.VectorClock(),
            "told": self.told,
            "read": read,
            "ahead": ahead,
            "of nobody": _NOBODY,
            "wrong": _NAMELESS,
        }

    def answered(self, answer: Any) -> dict[str, Any]:
        """An answer, without what must differ."""
        if answer.success:
            self.told = answer.vector_clock
        told = {
            name.name: getattr(answer, name.name)
            for name in answer.DESCRIPTOR.fields
            if name.name not in {"key", "vector_clock", "error_message"}
        }
        told["vector_clock"] = _clock(
            {one.coordinator_node_id: one.logical_timestamp for one in answer.vector_clock.entries}
        )
        told["error_message"] = re.sub(r"s-\d#[0-9a-f]{8}", "taker", answer.error_message)
        assert answer.key == self.key
        return told

    def held(self, record: Record) -> dict[str, Any]:
        """A record, without what must differ: who took it, and when."""
        names = {op_of("t", self.key, name): name for name in ("i", "j")}
        dead = [
            record.dead[at : at + _STAMP_BYTES + OP_BYTES]
            for at in range(0, len(record.dead), _STAMP_BYTES + OP_BYTES)
        ]
        return {
            "versions": [
                (
                    one.dot.counter,
                    one.value,
                    names.get(one.op, "fresh"),
                    one.expires_at_us and round((one.expires_at_us - one.timestamp_us) / 1_000_000),
                )
                for one in record.versions
            ],
            "context": _clock(record.context),
            "applied": sorted(
                (
                    names[one.op],
                    one.digest,
                    one.dot.counter,
                    sorted(_clock(one.clock).items()),
                    round((one.expires_at_us - time.time_ns() // 1000) / _HOUR_US),
                    one.superseded_us > 0,
                )
                for one in record.applied
            ),
            # Those that went together have no order.
            "dead": [
                sorted(names.get(entry[_STAMP_BYTES:], "fresh") for entry in together)
                for _, together in groupby(dead, lambda entry: entry[:_STAMP_BYTES])
            ],
        }


def _clock(clock: VectorClock) -> dict[str, int]:
    return {re.sub(r"s-\d#[0-9a-f]{8}", "taker", actor): n for actor, n in clock.items()}


@examples(max_examples=50, deadline=None)
@given(st.lists(operations, min_size=1, max_size=8))
async def test_the_same_is_answered_and_stored(cluster: Cluster, asked: list[Operation]) -> None:
    number, grpc = next(_keys), cluster.kv.grpc
    front, core = Way(f"front-{number}"), Way(f"core-{number}")
    for operation in asked:
        request = operation.request(front.key, await front.contexts(cluster))
        cluster.watch.seen.clear()
        if operation.value is None:
            answer = await grpc.method("DeleteKeyValue")(request.delete, timeout=60)
        else:
            answer = await grpc.method("WriteKeyValue")(request.write, timeout=60)
        plain = answer.success and not answer.is_duplicate
        assert bool(cluster.watch.seen) is not plain, (answer, cluster.watch.seen)
        # What comes in a batch is the core's from the beginning.
        request = operation.request(core.key, await core.contexts(cluster))
        batch = await grpc.call("Batch", operations=[request])
        (outcome,) = batch.outcomes
        other = getattr(outcome, outcome.WhichOneof("outcome"))
        assert front.answered(answer) == core.answered(other)
    one, other = await asyncio.gather(cluster.record(front.key), cluster.record(core.key))
    assert front.held(one) == core.held(other)
