"""A KVCluster under test: its objects, what its status said meanwhile, and a client that writes."""

import asyncio
import contextlib
import itertools
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from e2e.documents import sections
from e2e.fleet import Fleet, UnexpectedAnswerError
from muster_protos import kv_pb2, kv_pb2_grpc
from muster_testing.waiting import eventually, eventually_sync

if TYPE_CHECKING:
    from muster_protos.kv_pb2_grpc import CoordinatorServiceAsyncStub

TENANT = "acme"
_GUIDE = "docs/kvcluster.md"
_WRITERS = 2
_PAUSE_SECONDS = 0.25
_READS_AT_ONCE = 16
# What a client tries again: nobody was there, or too few replicas were.
_GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}


@dataclass(frozen=True)
class Store:
    """The KVCluster `store` of a namespace; it may be deleted and made again."""

    fleet: Fleet
    name: str = "store"

    def kubectl(self, *words: str) -> str:
        """Run kubectl in the namespace."""
        return self.fleet.cluster.kubectl("-n", self.fleet.namespace, *words)

    def type(self, heading: str, containing: str) -> str:
        """Type the one command below a heading of the guide that contains something."""
        (section,) = [each for each in sections() if each.name == (_GUIDE, heading)]
        (command,) = [each for each in section.excused if containing in each]
        program, *words = shlex.split(command)
        assert program == "kubectl", command
        return self.kubectl(*words)

    def body(self) -> dict[str, Any]:
        """The object."""
        return self.fleet.cluster.get("kvc", self.name, self.fleet.namespace)

    def patch(self, **spec: Any) -> None:
        """Lay something over the spec."""
        self.kubectl("patch", "kvc", self.name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def settled(self, seconds: float) -> dict[str, Any]:
        """Wait until all is as the spec says; the status then."""

        def is_settled() -> dict[str, Any]:
            body = self.body()
            status: dict[str, Any] = body.get("status", {})
            assert status.get("observedGeneration") == body["metadata"]["generation"], status
            found = conditions(status)
            for kind in ("Ready", "NodesJoined", "TenantsSettled", "FullyReplicated"):
                assert found.get(kind, {}).get("status") == "True", status
            assert "Reconciling" not in found, status
            assert "Stalled" not in found, status
            return status

        return eventually_sync(is_settled, deadline=seconds, every=0.5, what="the store is settled")

    def volumes(self) -> set[str]:
        """The claims of its storage nodes that are not on their way out."""
        selector = "app.kubernetes.io/component=kv-storage"
        claims = self.fleet.cluster.list("pvc", self.fleet.namespace, selector)
        return {
            each["metadata"]["name"]
            for each in claims
            if "deletionTimestamp" not in each["metadata"]
        }

    def events(self, reason: str) -> list[str]:
        """What Events about it say."""
        found = self.fleet.cluster.list("events.events.k8s.io", self.fleet.namespace)
        return [
            str(each["note"])
            for each in found
            if each["regarding"].get("name") == self.name and each["reason"] == reason
        ]

    def tells(self, reason: str, words: str) -> None:
        """Wait until an Event about it says something; it comes after the status that it is of."""
        eventually_sync(
            lambda: any(words in each for each in self.events(reason)),
            deadline=180,
            every=0.5,
            what=f"an Event of {reason}",
        )

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[dict[str, Any]]]:
        """Every status that it has meanwhile, in order; to be looked at afterwards."""
        cluster, seen = self.fleet.cluster, list[dict[str, Any]]()
        command = [
            *(str(cluster.bin / "kubectl"), f"--kubeconfig={cluster.kubeconfig}"),
            *("get", "kvc", self.name, "-n", self.fleet.namespace, "--watch", "-o", "json"),
        ]
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen(command, stdout=out, env=dict(os.environ))
            try:
                # What it begins with is the status as it is.
                eventually_sync(
                    lambda: os.fstat(out.fileno()).st_size, deadline=180, what="it watches"
                )
                yield seen
            finally:
                process.terminate()
                process.wait(timeout=120)
            out.seek(0)
            seen += [each["status"] for each in _objects(out.read())]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The objects that stand one after the other; half of one at the end is left out."""
    decoder, at = json.JSONDecoder(), 0
    with contextlib.suppress(json.JSONDecodeError):
        while at < len(text):
            found, at = decoder.raw_decode(text, at)
            yield found
            at += len(text[at:]) - len(text[at:].lstrip())


def conditions(status: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The conditions by their types."""
    return {each["type"]: each for each in status.get("conditions", [])}


@dataclass
class Client:
    """Writes and reads with quorum; tries again what too few replicas or nobody answered.

    Args:
        acknowledged: keys of which a write was acknowledged.
    """

    stub: "CoordinatorServiceAsyncStub"
    acknowledged: list[str] = field(default_factory=list)

    async def write(self, key: str) -> None:
        """Write a key's value until that is acknowledged, within three minutes."""
        request = kv_pb2.WriteKeyValueRequest(
            tenant_id=TENANT,
            key=key,
            value=_value(key),
            consistency="quorum",
            idempotency_key=f"write {key}",
        )

        async def written() -> bool:
            answer = await _answer(self.stub.WriteKeyValue(request, timeout=10))
            return _done(answer)

        await eventually(written, deadline=180, what=f"{key} is written")
        self.acknowledged.append(key)

    async def read_all(self) -> None:
        """Every acknowledged key has its value."""
        turn = asyncio.Semaphore(_READS_AT_ONCE)

        async def read(key: str) -> None:
            async with turn:
                await self._read(key)

        await asyncio.gather(*map(read, self.acknowledged))

    async def _read(self, key: str) -> None:
        request = kv_pb2.ReadKeyValueRequest(tenant_id=TENANT, key=key, consistency="quorum")

        async def found() -> bool:
            answer = await _answer(self.stub.ReadKeyValue(request, timeout=10))
            return _done(answer) and answer.value == _value(key)

        await eventually(found, deadline=180, what=f"{key} is read")

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write one new key after the other meanwhile."""
        stop = asyncio.Event()

        async def write(writer: int) -> None:
            for number in itertools.count(len(self.acknowledged)):
                if stop.is_set():
                    return
                await self.write(f"key-{writer}-{number}")
                # What is to be found needs a store that is in use, not one that is under load.
                await asyncio.sleep(_PAUSE_SECONDS)

        async with asyncio.TaskGroup() as tasks:
            for writer in range(_WRITERS):
                tasks.create_task(write(writer))
            yield
            stop.set()


def _value(key: str) -> bytes:
    return f"value of {key}".encode()


async def _answer(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() in _GONE:
            raise AssertionError(error.details()) from None
        raise


def _done(answer: Any) -> bool:
    if not answer.success and answer.error_code != kv_pb2.QUORUM_NOT_REACHED:
        raise UnexpectedAnswerError(answer.error_message)
    assert answer.success, answer.error_message
    return True


@contextlib.asynccontextmanager
async def connected(store: Store, acknowledged: Iterable[str] = ()) -> AsyncIterator[Client]:
    """A client, once the store's coordinators answer it.

    Args:
        acknowledged: what was, to other clients.
    """
    selector = {"muster.dev/kvcluster": store.name, "app.kubernetes.io/component": "kv-coordinator"}
    address = await asyncio.to_thread(store.fleet.expose, f"{store.name}-e2e", selector, 50051)
    async with grpc.aio.insecure_channel(address) as channel:
        stub: CoordinatorServiceAsyncStub = kv_pb2_grpc.CoordinatorServiceStub(channel)

        async def answers() -> bool:
            request = kv_pb2.GetTenantRequest(tenant_id=TENANT)
            await _answer(stub.GetTenant(request, timeout=30))
            return True

        await eventually(answers, deadline=180, what="the coordinators answer")
        yield Client(stub, list(acknowledged))
