"""The contract of one call for each thing to say, for coordinators that know no `Session`."""

import time
from collections.abc import AsyncIterator

from muster_protos import coordinator_pb2 as pb
from muster_worker import grpc_messages as messages
from muster_worker.coordinator import Registration
from muster_worker.grpc_calls import CALL_SECONDS, HEARTBEAT_SECONDS, Calls, accepted
from muster_worker.notes import Notes
from muster_worker.reports import Completion, Failure, Halted
from muster_worker.tasks import Assignment, Ticket


class Unary:
    """A part of a `Coordinator`, as seen by the worker `worker_id`."""

    def __init__(self, calls: Calls, worker_id: str) -> None:
        self._calls = calls
        self._worker_id = worker_id

    async def register(self, registration: Registration) -> float | None:
        """See `Coordinator`."""
        request = messages.registration(self._worker_id, registration)
        with self._calls.counted("RegisterWorker"):
            answer = await self._calls.stub.RegisterWorker(
                request, timeout=CALL_SECONDS, metadata=self._calls.metadata()
            )
        accepted(answer.success, answer.message)
        return messages.interval(answer.heartbeat_interval_ms)

    async def heartbeat(self, active_tasks: int) -> bool:
        """See `Coordinator`."""
        request = pb.HeartbeatRequest(
            worker_id=self._worker_id, timestamp=int(time.time()), active_tasks=active_tasks
        )
        with self._calls.counted("SendHeartbeat"):
            answer = await self._calls.stub.SendHeartbeat(
                request, timeout=HEARTBEAT_SECONDS, metadata=self._calls.metadata()
            )
        return answer.known

    async def commands(self) -> AsyncIterator[Assignment]:
        """See `Coordinator`. The stream has no deadline; broken ones show in the heartbeats."""
        opened = time.monotonic()
        request = pb.ReceiveTasksRequest(worker_id=self._worker_id)
        try:
            with self._calls.counted("ReceiveTasks"):
                call = self._calls.stub.ReceiveTasks(request, metadata=self._calls.metadata())
                try:
                    async for message in call:
                        yield messages.assignment(message)
                finally:
                    call.cancel()
        finally:
            self._calls.metrics.stream_ended("ReceiveTasks", time.monotonic() - opened)

    async def start(self, ticket: Ticket) -> None:
        """See `Coordinator`."""
        request = pb.StartTaskRequest(
            task_id=ticket.task_id, worker_id=self._worker_id, generation=ticket.generation
        )
        with self._calls.counted("StartTask"):
            answer = await self._calls.stub.StartTask(
                request, timeout=CALL_SECONDS, metadata=self._calls.metadata()
            )
        accepted(answer.success, answer.message)

    async def tell(self, ticket: Ticket, notes: Notes) -> None:
        """See `Coordinator`: this contract has no words for it."""

    async def complete(self, report: Completion) -> None:
        """See `Coordinator`."""
        request = pb.TaskCompletionRequest(
            task_id=report.task_id,
            worker_id=self._worker_id,
            proof_data=report.output if report.proof else b"",
            proof_metadata_json=report.metadata_json.encode(),
            merkle_root=report.merkle_root,
            duration_ms=report.duration_ms,
            generation=report.generation,
            output_json=b"" if report.proof else report.output,
        )
        with self._calls.counted("ReportCompletion"):
            answer = await self._calls.stub.ReportCompletion(
                request, timeout=CALL_SECONDS, metadata=self._calls.metadata(report.traceparent)
            )
        accepted(answer.success, answer.message)

    async def fail(self, report: Failure) -> None:
        """See `Coordinator`."""
        request = pb.TaskFailureRequest(
            task_id=report.task_id,
            worker_id=self._worker_id,
            error_message=report.message,
            generation=report.generation,
            transient=report.transient,
        )
        with self._calls.counted("ReportFailure"):
            answer = await self._calls.stub.ReportFailure(
                request, timeout=CALL_SECONDS, metadata=self._calls.metadata(report.traceparent)
            )
        accepted(answer.success, answer.message)

    async def halted(self, report: Halted) -> None:
        """See `Coordinator`: whoever knows only this contract asks for no pause, but may have been
        followed by one who does not know the other."""
        await self.release(report.ticket, "paused")

    async def release(self, ticket: Ticket, reason: str) -> None:
        """See `Coordinator`."""
        request = pb.ReleaseTaskRequest(
            task_id=ticket.task_id,
            worker_id=self._worker_id,
            generation=ticket.generation,
            reason=reason,
        )
        with self._calls.counted("ReleaseTask"):
            answer = await self._calls.stub.ReleaseTask(
                request, timeout=HEARTBEAT_SECONDS, metadata=self._calls.metadata()
            )
        accepted(answer.success, answer.message)
