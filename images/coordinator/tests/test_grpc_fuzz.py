"""Whatever arrives on the gRPC port: an answer that is right, soon, and a server that lives on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub
from muster_testing.postgres import PostgresServer

from .harness import Process, prepare, process, settings

pytestmark = pytest.mark.integration

METHODS = pb.DESCRIPTOR.services_by_name["CoordinatorService"].methods_by_name
# Reports first, as long as the workers hold the tasks.
NAMES = sorted(METHODS, key=lambda name: "task_id" not in METHODS[name].input_type.fields_by_name)
WORKERS = [f"w-{number}" for number in range(4)]
TASKS = 12

ALLOWED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}
"""What a sound server says to nonsense."""


@dataclass
class Target:
    """A coordinator process with workers and tasks that calls can be about."""

    process: Process
    channel: grpc.Channel
    tasks: list[str] = field(default_factory=list)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Target]:
    dsn = await postgres.create_database()
    await prepare(dsn)
    with process(dsn, settings(), tmp_path_factory.mktemp("fuzz") / "home") as running:
        replica = await running.serving()
        async with grpc.aio.insecure_channel(replica.target) as channel:
            stub: Any = CoordinatorServiceStub(channel)
            streams = []
            for name in WORKERS:
                await stub.RegisterWorker(
                    pb.RegisterWorkerRequest(
                        worker_id=name,
                        max_concurrent_tasks=8,
                        capabilities={"circuits": "addition"},
                    )
                )
                streams.append(stub.ReceiveTasks(pb.ReceiveTasksRequest(worker_id=name)))
            tasks = [await replica.add(a=number) for number in range(TASKS)]
            await asyncio.gather(*(replica.reaches(task, "assigned") for task in tasks))
            with grpc.insecure_channel(replica.target) as fuzzed:
                yield Target(running, fuzzed, tasks)
            for stream in streams:
                stream.cancel()
        await replica.close()


_TEXTS = st.text() | st.sampled_from(["addition", "addition-poseidon@bn254=v"])
_NAMED: dict[str, st.SearchStrategy[Any]] = {
    "worker_id": st.sampled_from(WORKERS) | st.text(),
    "generation": st.integers(0, 3) | st.integers(-(2**63), 2**63 - 1),
    "tags": st.dictionaries(st.text(), st.text(), max_size=4),
    "capabilities": st.dictionaries(
        st.sampled_from(["circuits", "keys"]) | st.text(), _TEXTS, max_size=4
    ),
}
_TYPED: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: st.text(),
    FieldDescriptor.TYPE_BYTES: st.binary()
    | st.sampled_from([b"{}", b'{"public":["1"],"encoding":"\\ud800"}']),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
}


def _values(one: FieldDescriptor) -> st.SearchStrategy[Any]:
    if one.name in _NAMED:
        return _NAMED[one.name]
    if one.type != FieldDescriptor.TYPE_MESSAGE:
        each = _TYPED[one.type]
    else:
        assert one.message_type is not None
        each = _messages(one.message_type)
        if not one.is_repeated:
            return st.none() | each
    return st.lists(each, max_size=3) if one.is_repeated else each


@st.composite
def _messages(draw: st.DrawFn, message: Descriptor) -> Message:
    # Of fields that exclude each other, the last one stays.
    fields = {one.name: draw(_values(one)) for one in message.fields}
    made: Message = getattr(pb, message.name)(**fields)
    return made


@st.composite
def _requests(draw: st.DrawFn, name: str) -> tuple[Message, int | None]:
    """A request, and which of the tasks it is to be about, if any."""
    task = draw(st.none() | st.integers(0, TASKS - 1))
    return draw(_messages(METHODS[name].input_type)), task


def _code(target: Target, name: str, data: bytes) -> str:
    """The status of a call with these bytes; a stream counts as answered once it is open."""
    path = f"/coordinator.CoordinatorService/{name}"
    method: grpc.UnaryStreamMultiCallable[bytes, bytes] = target.channel.unary_stream(path)
    call: Any = method(data, timeout=60)
    try:
        if name == "ReceiveTasks":
            call.initial_metadata()
            if call.is_active():
                return "OK"
        for _ in call:
            pass
    except grpc.RpcError:
        pass
    finally:
        call.cancel()
    return str(call.code().name)


@pytest.mark.parametrize("name", NAMES)
def test_any_message_gets_a_right_answer(target: Target, name: str) -> None:
    @examples(max_examples=60)
    @given(_requests(name))
    def tried(made: tuple[Message, int | None]) -> None:
        request, number = made
        for one in (request, *getattr(request, "reports", ())):
            if number is not None and hasattr(one, "task_id"):
                one.task_id = target.tasks[number]
        assert _code(target, name, request.SerializeToString()) in ALLOWED

    tried()


@pytest.mark.parametrize("name", NAMES)
def test_any_bytes_get_a_right_answer(target: Target, name: str) -> None:
    @examples(max_examples=60)
    @given(st.binary(max_size=200))
    def tried(data: bytes) -> None:
        assert _code(target, name, data) in ALLOWED

    tried()


def test_nothing_of_that_was_an_error_of_the_coordinator(target: Target) -> None:
    assert not target.process.said("call failed")
    beat = pb.HeartbeatRequest(worker_id=WORKERS[0]).SerializeToString()
    assert _code(target, "SendHeartbeat", beat) == "OK"
    assert target.process.process.poll() is None
