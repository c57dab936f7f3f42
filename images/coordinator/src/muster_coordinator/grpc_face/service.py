"""`coordinator.CoordinatorService`: every method is one call of the engine."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from muster_coordinator.engine.errors import NotFound
from muster_coordinator.grpc_face import messages
from muster_coordinator.grpc_face.callee import Engine, Terms
from muster_coordinator.grpc_face.session import Session
from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceServicer
from muster_runtime.tracing import Off, Step, Tracer

_Context = grpc.aio.ServicerContext[Any, Any]


class CoordinatorService(CoordinatorServiceServicer):
    """See protos/coordinator.proto."""

    def __init__(self, engine: Engine, terms: Terms, tracer: Tracer) -> None:
        self._engine = engine
        self._terms = terms
        self._tracer = tracer

    async def Session(  # noqa: N802 - the contract's name, as all here
        self, request_iterator: AsyncIterator[pb.WorkerFrame], context: _Context
    ) -> AsyncIterator[pb.CoordinatorFrame]:
        """Speak with a worker for as long as its stream lasts."""
        # Tells the worker that the stream is open, though it may have nothing to say for long.
        await context.send_initial_metadata(())
        session = Session(self._engine, self._terms, self._tracer)
        async for frame in session.frames(request_iterator):
            yield frame

    async def RegisterWorker(  # noqa: N802
        self, request: pb.RegisterWorkerRequest, _context: _Context
    ) -> pb.RegisterWorkerResponse:
        """Make a worker known."""
        pool = self._engine.offers.pool(request.pool)
        worker = messages.registration(request, pool.name)
        await self._engine.registry.register(worker)
        return pb.RegisterWorkerResponse(
            success=True,
            message=f"registered in pool {pool.name}",
            heartbeat_interval_ms=self._terms.heartbeat_ms,
        )

    async def SendHeartbeat(  # noqa: N802
        self, request: pb.HeartbeatRequest, _context: _Context
    ) -> pb.HeartbeatResponse:
        """Note that a worker lives."""
        worker_id = messages.worker_id(request.worker_id)
        active = messages.active(request.active_tasks)
        known = await self._engine.registry.beat(worker_id, active)
        return pb.HeartbeatResponse(success=known, known=known)

    async def ReceiveTasks(  # noqa: N802
        self, request: pb.ReceiveTasksRequest, context: _Context
    ) -> AsyncIterator[pb.TaskAssignment]:
        """Deliver assignments for as long as the worker listens."""
        worker_id = messages.worker_id(request.worker_id)
        async with self._engine.delivery.open(worker_id) as stream:
            # Tells the worker that the stream is open, though there may be no task for long.
            await context.send_initial_metadata(())
            async for one in stream.assignments():
                yield messages.sent(one, self._terms.timeout_ms, self._tracer)

    async def StartTask(  # noqa: N802
        self, request: pb.StartTaskRequest, _context: _Context
    ) -> pb.StartTaskResponse:
        """Note that a worker began."""
        await self._engine.reports.start(messages.claim(request))
        return pb.StartTaskResponse(success=True, message="started")

    async def ReportCompletion(  # noqa: N802
        self, request: pb.TaskCompletionRequest, context: _Context
    ) -> pb.TaskCompletionResponse:
        """Verify a proof and keep it."""
        claim, submission = messages.claim(request), messages.submission(request)
        step = Step("verify", _traceparent(context), "server")
        # A worker that knows no traces leaves nothing to go on from.
        tracer = self._tracer if step.parent else Off()
        with tracer.span(step, task_id=request.task_id, worker_id=claim.worker_id) as span:
            verdict = await self._engine.reports.complete(claim, submission)
            if not verdict.accepted:
                span.failed(verdict.reason)
        message = verdict.reason or "accepted"
        return pb.TaskCompletionResponse(success=verdict.accepted, message=message)

    async def ReportFailure(  # noqa: N802
        self, request: pb.TaskFailureRequest, _context: _Context
    ) -> pb.TaskFailureResponse:
        """Note a failure; a worker that knows no generations knows no permanent failures."""
        message = messages.text(request.error_message, "the worker gave no reason")
        transient = request.transient or request.generation == 0
        await self._engine.reports.fail(messages.claim(request), message, transient=transient)
        return pb.TaskFailureResponse(success=True, message="noted")

    async def ReleaseTask(  # noqa: N802
        self, request: pb.ReleaseTaskRequest, _context: _Context
    ) -> pb.ReleaseTaskResponse:
        """Take a task back."""
        reason = messages.text(request.reason, "handed back")
        await self._engine.reports.release(messages.claim(request), reason)
        return pb.ReleaseTaskResponse(success=True, message="taken back")

    async def DeregisterWorker(  # noqa: N802
        self, request: pb.DeregisterWorkerRequest, _context: _Context
    ) -> pb.DeregisterWorkerResponse:
        """Let a worker go."""
        await self._engine.registry.deregister(messages.worker_id(request.worker_id))
        return pb.DeregisterWorkerResponse(success=True)

    async def GetWorkerStats(  # noqa: N802
        self, request: pb.GetWorkerStatsRequest, _context: _Context
    ) -> pb.GetWorkerStatsResponse:
        """What a worker has done."""
        stats = await self._engine.registry.stats(messages.worker_id(request.worker_id))
        return pb.GetWorkerStatsResponse(
            tasks_completed=stats.tasks_completed,
            total_duration_ms=stats.total_duration_ms,
            average_duration_ms=stats.total_duration_ms / max(stats.tasks_completed, 1),
        )

    async def ListKeys(  # noqa: N802
        self, request: pb.ListKeysRequest, _context: _Context
    ) -> pb.ListKeysResponse:
        """All keys of a pool, or UNAVAILABLE as long as one is not there.

        While work that was queued with an older version waits or runs, that version is there too.
        """
        pool = self._engine.offers.pool(request.pool)
        keys = [
            pb.KeyInfo(
                key_id=record.key_id,
                version=record.version,
                proving_key_sha256=record.proving_key_sha256,
                size_bytes=record.size_bytes,
            )
            for record in await self._engine.keyring.provable(pool)
        ]
        return pb.ListKeysResponse(keys=keys)

    async def GetProvingKey(  # noqa: N802
        self, request: pb.GetProvingKeyRequest, _context: _Context
    ) -> AsyncIterator[pb.KeyChunk]:
        """One proving key in chunks."""
        key_id = messages.key_name("key_id", request.key_id)
        version = messages.key_name("version", request.version)
        found = False
        async for data in self._engine.keys.proving_key(key_id, version):
            found = True
            yield pb.KeyChunk(data=data)
        if not found:
            raise NotFound(f"key {key_id[:128]} {version[:128]}: there is none")


def _traceparent(context: _Context) -> str:
    """The worker's step that led to a call; empty where it says none."""
    values = [value for key, value in context.invocation_metadata() or () if key == "traceparent"]
    return values[0] if values and isinstance(values[0], str) else ""
