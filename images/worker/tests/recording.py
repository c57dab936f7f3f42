"""A coordinator for tests: follows the contract over real sockets, and writes down what it sees."""

# ruff: noqa: N802 - the names of the calls are the contract's

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import (
    CoordinatorServiceServicer,
    add_CoordinatorServiceServicer_to_server,
)
from muster_proving import KeyMaterial, load_verifying_key, parse_inputs, public_signals
from muster_testing.ports import free_port
from muster_testing.waiting import eventually

CHUNK_BYTES = 2**20
WIRE_NAMES = {"merkle": "merkle_proof", "range": "range_proof", "addition": "addition"}

INPUTS: dict[str, dict[str, Any]] = {
    "merkle": {"leaves": ["0x1", "0x22", "0x333", "0x4", "0x5"], "leaf_index": 4},
    "range": {"value": "77", "min": "10", "max": "200", "blinding": "5"},
    "addition": {"a": "3", "b": "4", "blinding_a": "1", "blinding_b": "2"},
}


@dataclass
class Record:
    """One task and all that was said about it."""

    assignment: pb.TaskAssignment
    key: KeyMaterial | None
    state: str = "assigned"
    started: list[int] = field(default_factory=list)
    completions: list[pb.TaskCompletionRequest] = field(default_factory=list)
    failure: pb.TaskFailureRequest | None = None
    released: pb.ReleaseTaskRequest | None = None
    progress: list[tuple[float, str]] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    checkpoints: list[bytes] = field(default_factory=list)

    @property
    def output(self) -> Any:
        """The result of a task that is no proof."""
        return json.loads(self.completion.output_json)

    @property
    def completion(self) -> pb.TaskCompletionRequest:
        assert self.state == "completed", f"{self.state}: {self.failure}"
        return self.completions[-1]


async def until(record: Record, state: str) -> None:
    """Wait until a task is in this state."""
    await eventually(lambda: record.state == state, what=f"{record.assignment.task_id} {state}")


async def failure_of(record: Record) -> tuple[str, bool]:
    """Wait until a task has failed: with which message, and whether others may try."""
    await until(record, "failed")
    assert record.failure is not None
    return record.failure.error_message, record.failure.transient


class _Aborted(Exception):  # noqa: N818 - named after what happened
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code


class _Context:
    """In place of a call's own, where a report came on a stream."""

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise _Aborted(code, details)


_REASONS = {
    grpc.StatusCode.FAILED_PRECONDITION: pb.Refusal.FENCED,
    grpc.StatusCode.NOT_FOUND: pb.Refusal.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT: pb.Refusal.REJECTED,
}

Said = pb.TaskAssignment | pb.Stop | pb.CoordinatorFrame


class _Tokens(grpc.aio.ServerInterceptor):
    """Writes down what calls are authorized with."""

    def __init__(self, seen: dict[str, str]) -> None:
        self._seen = seen

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        method = handler_call_details.method.rpartition("/")[2]
        found = dict(handler_call_details.invocation_metadata)
        self._seen[method] = found.get("authorization", "")
        return await continuation(handler_call_details)


class RecordingCoordinator(CoordinatorServiceServicer):
    """One coordinator; `stop` and `start` restart it on the same port, with all it knows."""

    def __init__(
        self, keys: Iterable[KeyMaterial], credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.port = free_port()
        self.credentials = credentials
        self.tokens: dict[str, str] = {}
        """Method name to the `authorization` of its latest call."""
        self.keys: dict[str, KeyMaterial] = {}
        self.older_keys: list[KeyMaterial] = []
        """Other versions of keys, offered beside them."""
        self.offer_keys(keys)
        self.registrations: list[pb.RegisterWorkerRequest] = []
        self.heartbeats: list[pb.HeartbeatRequest] = []
        self.deregistered: list[str] = []
        self.known: set[str] = set()
        self.tasks: dict[str, Record] = {}
        self.holding: list[pb.Holding] = []
        """What the latest hello said that its worker works on."""
        self.speaks_session = True
        """Else it knows nothing but single calls."""
        self.streams: dict[str, asyncio.Queue[Said | None]] = {}
        self.streams_opened = 0
        self.keys_sent = 0
        self.fenced: list[str] = []
        self.errors: dict[str, grpc.StatusCode] = {}
        """Method name to a status code that it answers with."""
        self.refuse_proofs = False
        self.corrupt_keys = False
        self.announce_sizes: dict[str, int] = {}
        self.forget_on_register = False
        """Whether a registration takes away what the worker held, like that of a new process."""
        self.heartbeat_interval_ms = 60_000
        self._server: grpc.aio.Server | None = None

    def offer_keys(self, keys: Iterable[KeyMaterial]) -> None:
        self.keys.update({key.spec.key_id: key for key in keys})

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = grpc.aio.server(interceptors=[_Tokens(self.tokens)])
        add_CoordinatorServiceServicer_to_server(self, self._server)
        if self.credentials is None:
            assert self._server.add_insecure_port(self.address) == self.port
        else:
            assert self._server.add_secure_port(self.address, self.credentials) == self.port
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    def assign(
        self,
        task_id: str,
        circuit: str,
        inputs: Mapping[str, Any] | bytes,
        *,
        generation: int = 1,
        **fields: Any,
    ) -> Record:
        """Assign a task to the only worker; a known circuit gets its key and public signals."""
        key = next((key for key in self.keys.values() if key.spec.name == circuit), None)
        payload = inputs if isinstance(inputs, bytes) else json.dumps(inputs).encode()
        if key is not None:
            fields = {"key_id": key.spec.key_id, "key_version": key.version, **fields}
        fields = {"circuit_type": WIRE_NAMES.get(circuit, circuit), **fields}
        assignment = pb.TaskAssignment(
            task_id=task_id, input_data_json=payload, generation=generation, **fields
        )
        record = Record(assignment, key)
        self.tasks[task_id] = record
        self.send(assignment)
        return record

    def send(self, said: Said) -> None:
        """Put something on the stream of the only worker."""
        (stream,) = self.streams.values()
        stream.put_nowait(said)

    def stop_task(self, record: Record, kind: "pb.Stop.Kind.ValueType") -> None:
        """Tell the worker to cancel or pause a task."""
        task = record.assignment
        self.send(pb.Stop(task_id=task.task_id, generation=task.generation, kind=kind))

    def reassign(self, record: Record) -> None:
        """Assign the task again, one generation later."""
        record.assignment.generation += 1
        record.state = "assigned"
        self.send(record.assignment)

    def break_streams(self) -> None:
        for stream in self.streams.values():
            stream.put_nowait(None)

    # The contract.

    async def RegisterWorker(self, request: Any, context: Any) -> Any:
        await self._scripted("RegisterWorker", context)
        self.registrations.append(request)
        if self.forget_on_register:
            for record in self.tasks.values():
                record.assignment.generation += 1
        self.known.add(request.worker_id)
        return pb.RegisterWorkerResponse(
            success=True, heartbeat_interval_ms=self.heartbeat_interval_ms
        )

    async def SendHeartbeat(self, request: Any, context: Any) -> Any:
        await self._scripted("SendHeartbeat", context)
        self.heartbeats.append(request)
        known = request.worker_id in self.known
        return pb.HeartbeatResponse(success=known, known=known)

    async def ReceiveTasks(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._scripted("ReceiveTasks", context)
        await self._known(request.worker_id, context)
        stream = self._opened(request.worker_id)
        try:
            while (assignment := await stream.get()) is not None:
                yield assignment
        finally:
            self._closed(request.worker_id, stream)

    def _opened(self, worker_id: str) -> asyncio.Queue[Said | None]:
        stream: asyncio.Queue[Said | None] = asyncio.Queue()
        self.streams[worker_id] = stream
        self.streams_opened += 1
        return stream

    def _closed(self, worker_id: str, stream: asyncio.Queue[Said | None]) -> None:
        if self.streams.get(worker_id) is stream:
            del self.streams[worker_id]

    async def Session(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        if not self.speaks_session:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Session is not known here")
        await self._scripted("Session", context)
        said: asyncio.Queue[Said | None] = asyncio.Queue()
        listening = asyncio.create_task(self._listen(request_iterator, said))
        try:
            while (one := await said.get()) is not None:
                yield _frame(one)
            await self._raise(listening, context)
        finally:
            listening.cancel()
            for worker_id, stream in list(self.streams.items()):
                if stream is said:
                    self._closed(worker_id, stream)

    async def _raise(self, listening: "asyncio.Task[None]", context: Any) -> None:
        """End a stream as a single call would have ended."""
        if listening.done() and isinstance(error := listening.exception(), _Aborted):
            await context.abort(error.code, str(error))

    async def _listen(self, frames: Any, said: asyncio.Queue[Said | None]) -> None:
        worker_id = ""
        try:
            async for frame in frames:
                worker_id = worker_id or frame.worker_id
                await self._hear(worker_id, frame, said)
        finally:
            said.put_nowait(None)

    async def _hear(
        self, worker_id: str, frame: pb.WorkerFrame, said: asyncio.Queue[Said | None]
    ) -> None:
        answer = pb.CoordinatorFrame()
        for report in frame.reports:
            await self._answer(worker_id, report, answer)
        if frame.HasField("heartbeat"):
            with contextlib.suppress(_Aborted):
                beat = pb.HeartbeatRequest(
                    worker_id=worker_id,
                    timestamp=int(time.time()),
                    active_tasks=frame.heartbeat.active_tasks,
                )
                known = (await self.SendHeartbeat(beat, _Context())).known
                answer.heartbeat.CopyFrom(pb.HeartbeatAck(known=known))
        if frame.HasField("hello"):
            welcome = await self.RegisterWorker(frame.hello, _Context())
            self.holding = list(frame.holding)
            if self.streams.get(worker_id) is not said:
                await self._scripted("ReceiveTasks", _Context())
                self.streams[worker_id] = said
                self.streams_opened += 1
            answer.welcome.heartbeat_interval_ms = welcome.heartbeat_interval_ms
        if answer.ByteSize():
            said.put_nowait(answer)
        if frame.leaving:
            self._closed(worker_id, said)

    async def _answer(self, worker_id: str, report: pb.Report, answer: pb.CoordinatorFrame) -> None:
        try:
            message = await self._reported(worker_id, report)
        except _Aborted as error:
            reason = _REASONS.get(error.code, pb.Refusal.UNAVAILABLE)
            answer.refused.add(sequence=report.sequence, reason=reason, message=str(error))
            return
        if message:
            reason = pb.Refusal.REJECTED
            answer.refused.add(sequence=report.sequence, reason=reason, message=message)
        else:
            answer.accepted.append(report.sequence)

    async def _reported(self, worker_id: str, report: pb.Report) -> str:
        """Why a report is refused as such; empty where it is taken in."""
        who: Any = {
            "task_id": report.task_id,
            "worker_id": worker_id,
            "generation": report.generation,
        }
        context, what = _Context(), report.WhichOneof("what")
        match what:
            case "started":
                await self.StartTask(pb.StartTaskRequest(**who), context)
            case "completion":
                done = report.completion
                answer = await self.ReportCompletion(
                    pb.TaskCompletionRequest(
                        **who,
                        proof_data=done.proof_data,
                        proof_metadata_json=done.proof_metadata_json,
                        merkle_root=done.merkle_root,
                        duration_ms=done.duration_ms,
                        output_json=done.output_json,
                    ),
                    context,
                )
                return "" if answer.success else str(answer.message)
            case "failure":
                request = pb.TaskFailureRequest(
                    **who,
                    error_message=report.failure.message,
                    transient=report.failure.transient,
                )
                await self.ReportFailure(request, context)
            case "released":
                await self.ReleaseTask(
                    pb.ReleaseTaskRequest(**who, reason=report.released.reason), context
                )
            case _:
                await self._noted(pb.StartTaskRequest(**who), report)
        return ""

    async def _noted(self, who: Any, report: pb.Report) -> None:
        record = await self._held("Notes", who, _Context())
        match report.WhichOneof("what"):
            case "progress":
                record.progress.append((report.progress.percent, report.progress.message))
            case "log":
                record.lines += [(line.level, line.message) for line in report.log.lines]
            case "checkpoint":
                record.checkpoints.append(report.checkpoint.data)
            case "paused":
                if report.paused.HasField("checkpoint"):
                    record.checkpoints.append(report.paused.checkpoint.data)
                record.state = "paused"

    async def StartTask(self, request: Any, context: Any) -> Any:
        record = await self._held("StartTask", request, context)
        record.started.append(request.generation)
        record.state = "running"
        return pb.StartTaskResponse(success=True)

    async def ReportCompletion(self, request: Any, context: Any) -> Any:
        record = await self._held("ReportCompletion", request, context)
        record.completions.append(request)
        if self.refuse_proofs or not _holds(record, request):
            record.state = "refused"
            return pb.TaskCompletionResponse(success=False, message="the proof does not hold")
        record.state = "completed"
        return pb.TaskCompletionResponse(success=True)

    async def ReportFailure(self, request: Any, context: Any) -> Any:
        record = await self._held("ReportFailure", request, context)
        record.failure = request
        record.state = "failed"
        return pb.TaskFailureResponse(success=True)

    async def ReleaseTask(self, request: Any, context: Any) -> Any:
        record = await self._held("ReleaseTask", request, context)
        record.released = request
        record.state = "released"
        return pb.ReleaseTaskResponse(success=True)

    async def DeregisterWorker(self, request: Any, context: Any) -> Any:
        self.deregistered.append(request.worker_id)
        self.known.discard(request.worker_id)
        return pb.DeregisterWorkerResponse(success=True)

    async def GetWorkerStats(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def ListKeys(self, request: Any, context: Any) -> Any:
        await self._scripted("ListKeys", context)
        return pb.ListKeysResponse(
            keys=[
                pb.KeyInfo(
                    key_id=key_id,
                    version=key.version,
                    proving_key_sha256=hashlib.sha256(key.proving_key).hexdigest(),
                    size_bytes=self.announce_sizes.get(key_id, len(key.proving_key)),
                )
                for key_id, key in [
                    *self.keys.items(),
                    *((key.spec.key_id, key) for key in self.older_keys),
                ]
            ]
        )

    async def GetProvingKey(self, request: Any, context: Any) -> AsyncIterator[Any]:
        offered = [self.keys[request.key_id], *self.older_keys]
        [key] = [key for key in offered if key.version == request.version]
        self.keys_sent += 1
        data = key.proving_key
        if self.corrupt_keys:
            data = data[:-1] + bytes([data[-1] ^ 1])
        for start in range(0, len(data), CHUNK_BYTES):
            yield pb.KeyChunk(data=data[start : start + CHUNK_BYTES])

    async def _scripted(self, method: str, context: Any) -> None:
        if method in self.errors:
            await context.abort(self.errors[method], f"{method} was told to fail")

    async def _known(self, worker_id: str, context: Any) -> None:
        if worker_id not in self.known:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"worker {worker_id} is not known")

    async def _held(self, method: str, request: Any, context: Any) -> Record:
        """The task, if the caller holds its latest assignment."""
        await self._scripted(method, context)
        record = self.tasks.get(request.task_id)
        if record is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"task {request.task_id}: there is none")
            raise AssertionError("abort raises")
        if request.generation != record.assignment.generation or record.state in {
            "completed",
            "failed",
            "released",
            "paused",
        }:
            self.fenced.append(f"{method} {request.task_id} {request.generation}")
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not yours any more")
        return record


def _frame(said: Said) -> pb.CoordinatorFrame:
    match said:
        case pb.TaskAssignment():
            return pb.CoordinatorFrame(assignments=[said])
        case pb.Stop():
            return pb.CoordinatorFrame(stops=[said])
        case _:
            return said


def _holds(record: Record, request: pb.TaskCompletionRequest) -> bool:
    if record.key is None:
        return True
    metadata = json.loads(request.proof_metadata_json)
    key = record.key
    inputs = parse_inputs(key.spec, json.loads(record.assignment.input_data_json))
    verifier = load_verifying_key(key.spec, key.verifying_key, key.version)
    return (
        metadata["public"] == public_signals(key.spec, inputs)
        and metadata["key_version"] == key.version
        and metadata["encoding"] == "arkworks-compressed-v1"
        and metadata["curve"] == key.spec.curve.value
        and verifier.verify(metadata["public"], request.proof_data)
    )
