"""Simulated workers: real gRPC clients in one process that answer with proofs made before.

Each has a channel, so a connection, of its own. As their work takes no time they say only that it
is done; the coordinator stores then that it began, too. They can be asked to say both, and to speak
by single calls instead of one stream.
"""

import asyncio
import contextlib
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub

_CALL_SECONDS = 30.0
_BEAT_SECONDS = 5.0

Accepted = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Work:
    """What all workers of a fleet do.

    Attributes:
        proofs: input to proof.
        accepted: told the id of each task whose proof the coordinator took.
        starts: whether they say that they began, too.
    """

    proofs: Mapping[bytes, bytes]
    accepted: Accepted
    starts: bool


class SimulatedWorker(ABC):
    """One worker of a fleet.

    Attributes:
        arrived: when each assignment came, by task id; seconds of `time.perf_counter`.
    """

    def __init__(self, target: str, name: str, work: Work) -> None:
        # A connection of its own, as a worker in another process has.
        options = (("grpc.use_local_subchannel_pool", 1),)
        self._channel = grpc.aio.insecure_channel(target, options=options)
        self._stub: Any = CoordinatorServiceStub(self._channel)
        self._name = name
        self._work = work
        self._tasks: set[asyncio.Task[None]] = set()
        self.arrived: dict[str, float] = {}

    @abstractmethod
    async def start(self, keys: str) -> None:
        """Register and open the stream."""

    async def close(self) -> None:
        """Leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()

    async def _before_beats(self) -> None:
        """Workers begin each at a time of its own, so their heartbeats don't come all at once."""
        await asyncio.sleep(random.random() * _BEAT_SECONDS)

    def _hello(self, keys: str) -> pb.RegisterWorkerRequest:
        return pb.RegisterWorkerRequest(
            worker_id=self._name,
            max_concurrent_tasks=1,
            capabilities={"circuits": "addition", "keys": keys},
            pool="bench",
        )

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class StreamingWorker(SimulatedWorker):
    """Speaks on one stream."""

    async def start(self, keys: str) -> None:
        """See `SimulatedWorker`."""
        self._open: dict[int, str] = {}
        self._sequence = 0
        self._call = self._stub.Session()
        # gRPC takes one write at a time.
        self._writing = asyncio.Lock()
        await self._write(pb.WorkerFrame(worker_id=self._name, hello=self._hello(keys)))
        frame = await self._call.read()
        if not frame.HasField("welcome"):
            raise RuntimeError(f"no welcome: {frame}")
        self._keep(self._receive())
        self._keep(self._beat())

    async def _receive(self) -> None:
        while (frame := await self._call.read()) is not grpc.aio.EOF:
            for refusal in frame.refused:
                raise RuntimeError(f"{self._open[refusal.sequence]}: {refusal.message}")
            for sequence in frame.accepted:
                if task_id := self._open.pop(sequence):
                    self._work.accepted(task_id)
            if frame.assignments:
                await self._write(self._worked(frame.assignments))

    def _worked(self, tasks: Any) -> pb.WorkerFrame:
        """That each of these is done."""
        answer = pb.WorkerFrame()
        for task in tasks:
            self.arrived[task.task_id] = time.perf_counter()
            if self._work.starts:
                self._say(answer, task, "").started.SetInParent()
            done = self._say(answer, task, task.task_id).completion
            done.proof_data = self._work.proofs[task.input_data_json]
            done.duration_ms = 1
        return answer

    def _say(self, frame: pb.WorkerFrame, task: pb.TaskAssignment, task_id: str) -> pb.Report:
        self._sequence += 1
        self._open[self._sequence] = task_id
        return frame.reports.add(
            sequence=self._sequence, task_id=task.task_id, generation=task.generation
        )

    async def _beat(self) -> None:
        await self._before_beats()
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            await self._write(pb.WorkerFrame(heartbeat=pb.Heartbeat()))

    async def _write(self, frame: pb.WorkerFrame) -> None:
        async with self._writing:
            await self._call.write(frame)


class CallingWorker(SimulatedWorker):
    """Speaks by single calls."""

    async def start(self, keys: str) -> None:
        """See `SimulatedWorker`."""
        await self._stub.RegisterWorker(self._hello(keys), timeout=_CALL_SECONDS)
        stream = self._stub.ReceiveTasks(pb.ReceiveTasksRequest(worker_id=self._name))
        await stream.initial_metadata()
        self._keep(self._receive(stream))
        self._keep(self._beat())

    async def _receive(self, stream: Any) -> None:
        async for assignment in stream:
            self.arrived[assignment.task_id] = time.perf_counter()
            await self._worked(assignment)

    async def _worked(self, task: pb.TaskAssignment) -> None:
        if self._work.starts:
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
                proof_data=self._work.proofs[task.input_data_json],
                duration_ms=1,
                generation=task.generation,
            ),
            timeout=_CALL_SECONDS,
        )
        if not answer.success:
            raise RuntimeError(f"{task.task_id}: {answer.message}")
        self._work.accepted(task.task_id)

    async def _beat(self) -> None:
        await self._before_beats()
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            await self._stub.SendHeartbeat(
                pb.HeartbeatRequest(worker_id=self._name), timeout=_CALL_SECONDS
            )


async def wait_all(workers: list[SimulatedWorker], keys: str) -> None:
    """Start all workers of a fleet, ten at a time."""
    for first in range(0, len(workers), 10):
        await asyncio.gather(*(worker.start(keys) for worker in workers[first : first + 10]))


async def close_all(workers: list[SimulatedWorker]) -> None:
    """Let a fleet go."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        await asyncio.gather(*(worker.close() for worker in workers))
