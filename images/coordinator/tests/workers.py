"""Workers for the tests: real gRPC clients that make real proofs."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import grpc

from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub
from muster_proving import CircuitSpec, Prover, load_proving_key
from muster_testing.waiting import eventually

# Building the tables of a key takes longer than most tests.
_PROVERS: dict[str, Prover] = {}

Handler = Callable[["Worker", pb.TaskAssignment], Awaitable[None]]


async def prove(worker: "Worker", task: pb.TaskAssignment) -> None:
    """Begin, prove and report, as a good worker does."""
    await worker.start(task)
    await worker.complete(task)


async def begin(worker: "Worker", task: pb.TaskAssignment) -> None:
    """Begin, and do no more."""
    await worker.start(task)


async def ignore(_worker: "Worker", _task: pb.TaskAssignment) -> None:
    """Do nothing."""


class Worker:
    """One worker at one coordinator."""

    def __init__(
        self,
        target: str,
        name: str,
        handler: Handler = prove,
        capacity: int = 4,
        instance: str = "",
        *,
        first_contract: bool = False,
        tries: int = 1,
    ) -> None:
        self.name = name
        self.handler = handler
        self.capacity = capacity
        self.tasks: list[pb.TaskAssignment] = []
        self.errors: list[Exception] = []
        self._instance = instance
        self._beats = True
        self._tries = tries
        self._first_contract = first_contract
        self.connect(target)

    def connect(self, target: str) -> None:
        """Use another coordinator from now on."""
        self.channel = grpc.aio.insecure_channel(target)
        self.stub: Any = CoordinatorServiceStub(self.channel)

    async def __aenter__(self) -> Self:
        await self.register()
        self._serving = asyncio.create_task(self._serve())
        await self._opened.wait()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._serving
        await self.channel.close()

    async def register(self) -> None:
        """Fetch all keys and register."""
        self._opened = asyncio.Event()
        listed = await self.stub.ListKeys(pb.ListKeysRequest(pool="demo"))
        for key in listed.keys:
            if key.version not in _PROVERS:
                _PROVERS[key.version] = await self._fetch(key)
        request = pb.RegisterWorkerRequest(
            worker_id=self.name,
            max_concurrent_tasks=self.capacity,
            capabilities={"circuits": "merkle_proof,range,addition"},
        )
        if not self._first_contract:
            request.capabilities["keys"] = ",".join(
                f"{key.key_id}={key.version}" for key in listed.keys
            )
            request.pool = "demo"
            request.version = "test"
            request.tags["instance"] = self._instance
        await self.stub.RegisterWorker(request)

    async def _fetch(self, key: pb.KeyInfo) -> Prover:
        request = pb.GetProvingKeyRequest(key_id=key.key_id, version=key.version)
        data = b"".join([chunk.data async for chunk in self.stub.GetProvingKey(request)])
        assert len(data) == key.size_bytes
        spec = CircuitSpec.from_key_id(key.key_id)
        return await asyncio.to_thread(load_proving_key, spec, data, key.version)

    async def _serve(self) -> None:
        beating = asyncio.create_task(self._beat())
        handling: set[asyncio.Task[None]] = set()
        try:
            async for task in self._stream():
                self.tasks.append(task)
                handling.add(asyncio.create_task(self._handle(task)))
        except grpc.aio.AioRpcError as error:
            self.errors.append(error)
        finally:
            for one in (beating, *handling):
                one.cancel()

    async def _stream(self) -> AsyncIterator[pb.TaskAssignment]:
        call = self.stub.ReceiveTasks(pb.ReceiveTasksRequest(worker_id=self.name))
        try:
            await call.initial_metadata()
            self._opened.set()
            async for task in call:
                yield task
        finally:
            call.cancel()

    async def _handle(self, task: pb.TaskAssignment) -> None:
        for _ in range(self._tries):
            try:
                await self.handler(self, task)
            except grpc.aio.AioRpcError as error:
                self.errors.append(error)
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    return
            else:
                return

    @contextlib.asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Send heartbeats while the context is open, also without a stream."""
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait({beating})

    def fall_silent(self) -> None:
        """Send no more heartbeats by itself."""
        self._beats = False

    async def _beat(self) -> None:
        while self._beats:
            try:
                await self.beat()
            except grpc.aio.AioRpcError as error:
                self.errors.append(error)
            await asyncio.sleep(0.3)

    async def beat(self) -> pb.HeartbeatResponse:
        """One heartbeat."""
        answer: pb.HeartbeatResponse = await self.stub.SendHeartbeat(
            pb.HeartbeatRequest(worker_id=self.name)
        )
        return answer

    async def start(self, task: pb.TaskAssignment) -> None:
        """Report that it began."""
        await self.stub.StartTask(
            pb.StartTaskRequest(
                task_id=task.task_id, worker_id=self.name, generation=task.generation
            )
        )

    async def proof(self, task: pb.TaskAssignment) -> bytes:
        """A real proof for a task."""
        prover = _PROVERS[task.key_version]
        bundle = await asyncio.to_thread(prover.prove, json.loads(task.input_data_json))
        return bundle.proof

    async def complete(
        self,
        task: pb.TaskAssignment,
        proof: bytes | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> pb.TaskCompletionResponse:
        """Report a result: a proof of the task unless another is given."""
        answer: pb.TaskCompletionResponse = await self.stub.ReportCompletion(
            pb.TaskCompletionRequest(
                task_id=task.task_id,
                worker_id=self.name,
                proof_data=await self.proof(task) if proof is None else proof,
                proof_metadata_json=json.dumps(metadata or {}).encode(),
                duration_ms=1,
                generation=task.generation,
            )
        )
        return answer

    async def fail(self, task: pb.TaskAssignment, message: str, *, transient: bool) -> None:
        """Report a failure."""
        await self.stub.ReportFailure(
            pb.TaskFailureRequest(
                task_id=task.task_id,
                worker_id=self.name,
                error_message=message,
                generation=task.generation,
                transient=transient,
            )
        )

    async def got(self, task_id: str, times: int = 1) -> pb.TaskAssignment:
        """Wait for the n-th assignment of a task."""

        def probe() -> pb.TaskAssignment | None:
            found = [task for task in self.tasks if task.task_id == task_id]
            return found[times - 1] if len(found) >= times else None

        task = await eventually(probe, what=f"{self.name} gets {task_id}")
        assert task is not None
        return task
