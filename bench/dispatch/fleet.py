"""Simulated workers: real gRPC clients in one process that answer with proofs made before.

Each has a channel, so a connection, of its own. As their work takes no time they say only that it
is done; the coordinator stores then that it began, too. They can be asked to say both.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub

_CALL_SECONDS = 30.0
_BEAT_SECONDS = 5.0

Accepted = Callable[[str], None]


class SimulatedWorker:
    """One worker of a fleet.

    Attributes:
        arrived: when each assignment came, by task id; seconds of `time.perf_counter`.
    """

    def __init__(
        self,
        target: str,
        name: str,
        proofs: Mapping[bytes, bytes],
        accepted: Accepted,
        *,
        starts: bool,
    ) -> None:
        # A connection of its own, as a worker in another process has.
        options = (("grpc.use_local_subchannel_pool", 1),)
        self._channel = grpc.aio.insecure_channel(target, options=options)
        self._stub: Any = CoordinatorServiceStub(self._channel)
        self._name = name
        self._proofs = proofs
        self._accepted = accepted
        self._starts = starts
        self._tasks: set[asyncio.Task[None]] = set()
        self.arrived: dict[str, float] = {}

    async def start(self, keys: str) -> None:
        """Register and open the stream."""
        await self._stub.RegisterWorker(
            pb.RegisterWorkerRequest(
                worker_id=self._name,
                max_concurrent_tasks=1,
                capabilities={"circuits": "addition", "keys": keys},
                pool="bench",
            ),
            timeout=_CALL_SECONDS,
        )
        stream = self._stub.ReceiveTasks(pb.ReceiveTasksRequest(worker_id=self._name))
        await stream.initial_metadata()
        self._keep(self._receive(stream))
        self._keep(self._beat())

    async def close(self) -> None:
        """Leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()

    async def _receive(self, stream: Any) -> None:
        async for assignment in stream:
            self.arrived[assignment.task_id] = time.perf_counter()
            await self._work(assignment)

    async def _work(self, task: pb.TaskAssignment) -> None:
        if self._starts:
            await self._stub.StartTask(
                pb.StartTaskRequest(
                    task_id=task.task_id, worker_id=self._name, generation=task.generation
                ),
                timeout=_CALL_SECONDS,
            )
        answer = await self._stub.ReportCompletion(
            pb.TaskCompletionRequest(
                task_id=task.task_id,
                worker_id=self._name,
                proof_data=self._proofs[task.input_data_json],
                duration_ms=1,
                generation=task.generation,
            ),
            timeout=_CALL_SECONDS,
        )
        if not answer.success:
            raise RuntimeError(f"{task.task_id}: {answer.message}")
        self._accepted(task.task_id)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            await self._stub.SendHeartbeat(
                pb.HeartbeatRequest(worker_id=self._name), timeout=_CALL_SECONDS
            )

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def wait_all(workers: list[SimulatedWorker], keys: str) -> None:
    """Start all workers of a fleet, ten at a time."""
    for first in range(0, len(workers), 10):
        await asyncio.gather(*(worker.start(keys) for worker in workers[first : first + 10]))


async def close_all(workers: list[SimulatedWorker]) -> None:
    """Let a fleet go."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        await asyncio.gather(*(worker.close() for worker in workers))
