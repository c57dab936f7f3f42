"""Each method of the worker contract, with each argument that can't be right."""

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub

from .harness import Replica

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

METHODS = pb.DESCRIPTOR.services_by_name["CoordinatorService"].methods_by_name

GOOD: dict[str, Any] = {
    "worker_id": "w-0",
    "task_id": str(uuid.uuid4()),
    "generation": 1,
    "max_concurrent_tasks": 1,
    "capabilities": {"circuits": "addition"},
    "proof_data": b"proof",
    "proof_metadata_json": b"{}",
    "duration_ms": 1,
    "key_id": "addition-poseidon@bn254",
    "version": "sha256:00",
}

BAD: dict[str, list[Any]] = {
    "worker_id": ["", "-", "a/b", "a b", "w\x00", "ü", "w" * 254],
    "task_id": ["", "7", "w\x00", "x" * 36, "0" * 33],
    "generation": [-1, -(2**63)],
    "max_concurrent_tasks": [0, -1, -(2**31), 1025, 2**31 - 1],
    "proof_data": [b""],
    "proof_metadata_json": [b"[]", b"1", b"{", b"\xff", b'{"a":NaN}', b"{" * 70],
    "duration_ms": [-1, -(2**63), 604_800_001, 2**63 - 1],
    "key_id": ["", " ", "k\x00", "ü", "k" * 513],
    "version": ["", " ", "v\x00", "ü", "v" * 513],
    "capabilities": [
        {},
        {"circuits": ""},
        {"circuits": "sudoku,,\x00"},
        {"circuits": "addition", "keys": "k"},
        {"circuits": "addition", "keys": ",".join(f"{number}=v" for number in range(1025))},
    ],
    "tags": [{str(number): "" for number in range(65)}],
    "types": [[""], ["a b"], ["prove.merkle"], [f"t{number}" for number in range(257)]],
    "output_json": [b"{", b"\xff", b"NaN", b"[" * 100_000, b'"' + b"x" * 2**20 + b'"'],
}

FREE = {"timestamp", "active_tasks", "error_message", "reason", "merkle_root", "transient", "pool"}
"""Fields in which nothing is wrong, or nothing that is not merely unknown."""

FREE_OF_METHOD = {("RegisterWorker", "version")}
"""What a worker says of its software is whatever it says."""


def _cases() -> Iterator[Any]:
    for name, method in METHODS.items():
        if method.client_streaming:
            continue
        for field in method.input_type.fields:
            if field.name in FREE or (name, field.name) in FREE_OF_METHOD:
                continue
            for number, value in enumerate(BAD[field.name]):
                yield pytest.param(name, field.name, value, id=f"{name}-{field.name}-{number}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(replica: Replica) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(replica.target) as opened:
        yield opened


async def _answer(channel: grpc.aio.Channel, name: str, request: Any) -> tuple[Any, str]:
    call = getattr(CoordinatorServiceStub(channel), name)(request, timeout=60)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (call.read() if METHODS[name].server_streaming else call)
    return refused.value.code(), str(refused.value.details())


@pytest.mark.parametrize(("name", "field", "value"), list(_cases()))
async def test_a_bad_argument_is_named(
    channel: grpc.aio.Channel, name: str, field: str, value: Any
) -> None:
    message = METHODS[name].input_type
    fields = {one.name: GOOD[one.name] for one in message.fields if one.name in GOOD}
    request = getattr(pb, message.name)(**(fields | {field: value}))
    code, details = await _answer(channel, name, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT, details
    assert details.startswith(field), details
    assert len(details) < 500


@pytest.mark.parametrize("name", METHODS)
async def test_bytes_that_are_no_message_are_the_callers_fault(
    channel: grpc.aio.Channel, name: str
) -> None:
    path = f"/coordinator.CoordinatorService/{name}"
    made: Any = channel.unary_stream(path)
    call = made(b"\x0a\xff", timeout=60)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(refused.value.details()).startswith("the request is no message of this method")


async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    call: Any = channel.unary_unary("/coordinator.CoordinatorService/DrainWorker")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
