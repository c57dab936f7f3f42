"""The coordinator over gRPC: package `coordinator`, service `CoordinatorService`."""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub
from muster_proving import InvalidInput, parse_circuit
from muster_worker.coordinator import (
    CoordinatorError,
    Fenced,
    KeyInfo,
    NotKnown,
    Refused,
    Registration,
    Unavailable,
)
from muster_worker.link import Link, Metadata
from muster_worker.metrics import Metrics
from muster_worker.reports import Completion, Failure
from muster_worker.tasks import Assignment, Ticket

if TYPE_CHECKING:
    # Exists in the generated stub file only.
    from muster_protos.coordinator_pb2_grpc import CoordinatorServiceAsyncStub

log = logging.getLogger(__name__)

CALL_SECONDS = 10.0
HEARTBEAT_SECONDS = 3.0
KEY_SECONDS = 60.0

# Comes from a client of the coordinator; anything else could not be sent.
_TRACEPARENT = re.compile(r"[0-9a-f-]{1,128}")

_ERRORS: dict[grpc.StatusCode, Callable[[str], CoordinatorError]] = {
    grpc.StatusCode.FAILED_PRECONDITION: Fenced,
    grpc.StatusCode.NOT_FOUND: NotKnown,
    grpc.StatusCode.INVALID_ARGUMENT: Refused,
    grpc.StatusCode.OUT_OF_RANGE: Refused,
}


class GrpcCoordinator:
    """A `Coordinator` at the end of `link`, as seen by the worker `worker_id`.

    Raises:
        OSError: a file of the link can't be read.
    """

    def __init__(self, link: Link, worker_id: str, metrics: Metrics) -> None:
        self._link = link
        self._worker_id = worker_id
        self._metrics = metrics
        self._closing: set[asyncio.Task[None]] = set()
        self._channel = link.channel()

    def reconnect(self) -> None:
        """Replace the channel; calls that are under way on the old one may end."""
        try:
            new = self._link.channel()
        except OSError as error:
            # In the middle of a rotation; the old channel connects again by itself.
            log.warning("connection not replaced", extra={"error": str(error)})
            return
        old = asyncio.create_task(self._channel.close(grace=CALL_SECONDS))
        self._closing.add(old)
        old.add_done_callback(self._closing.discard)
        self._channel = new

    async def close(self) -> None:
        """Close all channels."""
        await asyncio.gather(self._channel.close(grace=None), *self._closing)

    async def list_keys(self, pool: str) -> Sequence[KeyInfo]:
        """See `Coordinator`."""
        with self._call("ListKeys"):
            answer = await self._stub.ListKeys(
                pb.ListKeysRequest(pool=pool), timeout=CALL_SECONDS, metadata=self._metadata()
            )
        return [
            KeyInfo(key.key_id, key.version, key.proving_key_sha256, key.size_bytes)
            for key in answer.keys
        ]

    async def proving_key(self, key: KeyInfo) -> AsyncIterator[bytes]:
        """See `Coordinator`."""
        request = pb.GetProvingKeyRequest(key_id=key.key_id, version=key.version)
        with self._call("GetProvingKey"):
            async for chunk in self._stub.GetProvingKey(
                request, timeout=KEY_SECONDS, metadata=self._metadata()
            ):
                yield chunk.data

    async def register(self, registration: Registration) -> float | None:
        """See `Coordinator`."""
        request = pb.RegisterWorkerRequest(
            worker_id=self._worker_id,
            max_concurrent_tasks=registration.concurrency,
            capabilities=dict(registration.capabilities),
            pool=registration.pool,
            version=registration.version,
            tags={"instance": registration.instance},
        )
        with self._call("RegisterWorker"):
            answer = await self._stub.RegisterWorker(
                request, timeout=CALL_SECONDS, metadata=self._metadata()
            )
        _accepted(answer.success, answer.message)
        return answer.heartbeat_interval_ms / 1000 if answer.heartbeat_interval_ms > 0 else None

    async def heartbeat(self, active_tasks: int) -> bool:
        """See `Coordinator`."""
        request = pb.HeartbeatRequest(
            worker_id=self._worker_id, timestamp=int(time.time()), active_tasks=active_tasks
        )
        with self._call("SendHeartbeat"):
            answer = await self._stub.SendHeartbeat(
                request, timeout=HEARTBEAT_SECONDS, metadata=self._metadata()
            )
        return answer.known

    async def assignments(self) -> AsyncIterator[Assignment]:
        """See `Coordinator`. The stream has no deadline; broken ones show in the heartbeats."""
        opened = time.monotonic()
        request = pb.ReceiveTasksRequest(worker_id=self._worker_id)
        try:
            with self._call("ReceiveTasks"):
                call = self._stub.ReceiveTasks(request, metadata=self._metadata())
                try:
                    async for message in call:
                        yield assignment_from(message)
                finally:
                    call.cancel()
        finally:
            self._metrics.stream_ended("ReceiveTasks", time.monotonic() - opened)

    async def start(self, ticket: Ticket) -> None:
        """See `Coordinator`."""
        request = pb.StartTaskRequest(
            task_id=ticket.task_id, worker_id=self._worker_id, generation=ticket.generation
        )
        with self._call("StartTask"):
            answer = await self._stub.StartTask(
                request, timeout=CALL_SECONDS, metadata=self._metadata()
            )
        _accepted(answer.success, answer.message)

    async def complete(self, report: Completion) -> None:
        """See `Coordinator`."""
        request = pb.TaskCompletionRequest(
            task_id=report.task_id,
            worker_id=self._worker_id,
            proof_data=report.output,
            proof_metadata_json=report.metadata_json.encode(),
            merkle_root=report.merkle_root,
            duration_ms=report.duration_ms,
            generation=report.generation,
        )
        with self._call("ReportCompletion"):
            answer = await self._stub.ReportCompletion(
                request, timeout=CALL_SECONDS, metadata=self._metadata(report.traceparent)
            )
        _accepted(answer.success, answer.message)

    async def fail(self, report: Failure) -> None:
        """See `Coordinator`."""
        request = pb.TaskFailureRequest(
            task_id=report.task_id,
            worker_id=self._worker_id,
            error_message=report.message,
            generation=report.generation,
            transient=report.reason.transient,
        )
        with self._call("ReportFailure"):
            answer = await self._stub.ReportFailure(
                request, timeout=CALL_SECONDS, metadata=self._metadata(report.traceparent)
            )
        _accepted(answer.success, answer.message)

    async def release(self, ticket: Ticket, reason: str) -> None:
        """See `Coordinator`."""
        request = pb.ReleaseTaskRequest(
            task_id=ticket.task_id,
            worker_id=self._worker_id,
            generation=ticket.generation,
            reason=reason,
        )
        with self._call("ReleaseTask"):
            answer = await self._stub.ReleaseTask(
                request, timeout=HEARTBEAT_SECONDS, metadata=self._metadata()
            )
        _accepted(answer.success, answer.message)

    async def deregister(self) -> None:
        """See `Coordinator`."""
        request = pb.DeregisterWorkerRequest(worker_id=self._worker_id)
        with self._call("DeregisterWorker"):
            await self._stub.DeregisterWorker(
                request, timeout=HEARTBEAT_SECONDS, metadata=self._metadata()
            )

    def _metadata(self, traceparent: str = "") -> Metadata:
        trace = (("traceparent", traceparent),) if _TRACEPARENT.fullmatch(traceparent) else ()
        try:
            return self._link.metadata() + trace
        except (OSError, ValueError) as error:
            raise Unavailable(f"{self._link.token_file}: no token: {error}") from error

    @property
    def _stub(self) -> "CoordinatorServiceAsyncStub":
        return CoordinatorServiceStub(self._channel)

    @contextlib.contextmanager
    def _call(self, method: str) -> Iterator[None]:
        """Count the call and translate its error."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            code = error.code()
            self._metrics.called(method, code.name)
            sentence = f"{method}: {code.name}: {error.details()}"
            raise _ERRORS.get(code, Unavailable)(sentence) from error
        except grpc.aio.BaseError as error:
            # So it ends calls whose channel is closed while they begin.
            raise Unavailable(f"{method}: the connection was closed") from error
        except asyncio.CancelledError as error:
            # grpc.aio raises this in the callers of a channel that is closed under them, too.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Unavailable(f"{method}: the connection was replaced") from error
        else:
            self._metrics.called(method, grpc.StatusCode.OK.name)


def assignment_from(message: pb.TaskAssignment) -> Assignment:
    """Read an assignment off the wire; circuit names become names of workload types."""
    try:
        task_type = parse_circuit(message.circuit_type).task_type
    except InvalidInput:
        task_type = message.circuit_type
    return Assignment(
        ticket=Ticket(message.task_id, message.generation),
        task_type=task_type,
        payload=message.input_data_json,
        key_id=message.key_id,
        key_version=message.key_version,
        time_limit=message.timeout_ms / 1000 if message.timeout_ms > 0 else None,
        traceparent=message.traceparent,
    )


def _accepted(success: bool, message: str) -> None:
    if not success:
        raise Refused(message or "refused without a reason")
