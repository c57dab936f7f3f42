"""The one stream of a worker, spoken to by hand."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc

from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import NewWorkload, Requirement
from muster_coordinator.store.database import Database
from muster_coordinator.store.queue import PostgresQueue
from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub
from muster_testing.waiting import eventually


class Stream:
    """One call of `Session`; keeps all that it is told.

    Attributes:
        error: how it ended, where that was no good end.
    """

    def __init__(self, call: Any, name: str) -> None:
        self._call = call
        self._name = name
        self._sequence = 0
        self._spoken = False
        self.assignments: list[pb.TaskAssignment] = []
        self.stops: list[pb.Stop] = []
        self.welcomes: list[pb.Welcome] = []
        self.beats: list[bool] = []
        self.accepted: set[int] = set()
        self.refused: dict[int, pb.Refusal] = {}
        self.drains = 0
        self.error: grpc.aio.AioRpcError | None = None
        self._hearing = asyncio.create_task(self._hear())

    async def say(self, **fields: Any) -> None:
        """Send one frame; the first one names the worker."""
        if not self._spoken:
            fields.setdefault("worker_id", self._name)
            self._spoken = True
        await self._call.write(pb.WorkerFrame(**fields))

    async def hello(self, *types: str, **fields: Any) -> pb.Welcome:
        """Register for proofs of additions, or for other types of work."""
        hello = pb.RegisterWorkerRequest(
            max_concurrent_tasks=fields.pop("capacity", 4),
            capabilities={} if types else {"circuits": "addition"},
            types=types,
            pool="general" if types else "demo",
        )
        count = len(self.welcomes)
        await self.say(hello=hello, **fields)
        await eventually(lambda: len(self.welcomes) > count, what="welcome")
        return self.welcomes[-1]

    def report(self, task: pb.TaskAssignment, **what: Any) -> pb.Report:
        """A report on an assignment, numbered."""
        self._sequence += 1
        return pb.Report(
            sequence=self._sequence, task_id=task.task_id, generation=task.generation, **what
        )

    async def answers(self, *reports: pb.Report) -> list[str]:
        """Send reports in one frame: for each `ACCEPTED`, or why it was refused."""
        await self.say(reports=reports)

        def known() -> list[str] | None:
            found = []
            for report in reports:
                if report.sequence in self.accepted:
                    found.append("ACCEPTED")
                elif report.sequence in self.refused:
                    reason = self.refused[report.sequence].reason
                    found.append(pb.Refusal.Reason.Name(reason))
            return found if len(found) == len(reports) else None

        answers: list[str] = await eventually(known, what="answers")
        return answers

    async def got(self, task_id: object, times: int = 1) -> pb.TaskAssignment:
        """Wait for the n-th assignment of a task."""

        def probe() -> pb.TaskAssignment | None:
            found = [task for task in self.assignments if task.task_id == str(task_id)]
            return found[times - 1] if len(found) >= times else None

        task: pb.TaskAssignment = await eventually(probe, what=f"{self._name} gets {task_id}")
        return task

    async def stopped(self, task_id: object) -> str:
        """Wait until a task is to stop: `CANCEL` or `PAUSE`."""

        def probe() -> str:
            kinds = [stop.kind for stop in self.stops if stop.task_id == str(task_id)]
            return pb.Stop.Kind.Name(kinds[-1]) if kinds else ""

        kind: str = await eventually(probe, every=0.001, what=f"{task_id} is to stop")
        return kind

    async def ended(self) -> grpc.StatusCode:
        """Wait for the end; its status."""
        async with asyncio.timeout(60):
            await self._hearing
        return grpc.StatusCode.OK if self.error is None else self.error.code()

    async def close(self) -> None:
        """Hang up."""
        self._call.cancel()
        self._hearing.cancel()
        await asyncio.gather(self._hearing, return_exceptions=True)

    async def _hear(self) -> None:
        try:
            async for frame in self._call:
                self._take(frame)
        except grpc.aio.AioRpcError as error:
            self.error = error

    def _take(self, frame: pb.CoordinatorFrame) -> None:
        self.assignments += frame.assignments
        self.stops += frame.stops
        self.accepted |= set(frame.accepted)
        self.refused |= {refusal.sequence: refusal for refusal in frame.refused}
        self.drains += frame.drain
        if frame.HasField("welcome"):
            self.welcomes.append(frame.welcome)
        if frame.HasField("heartbeat"):
            self.beats.append(frame.heartbeat.known)


@contextlib.asynccontextmanager
async def session(target: str, name: str = "w-0", metadata: Any = None) -> AsyncIterator[Stream]:
    """A stream while the context is open."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub: Any = CoordinatorServiceStub(channel)
        stream = Stream(stub.Session(metadata=metadata), name)
        try:
            yield stream
        finally:
            await stream.close()


class Owner:
    """Submits work of any kind, as the faces for customers do."""

    def __init__(self, database: Database) -> None:
        self.store = PostgresQueue(database)

    async def submit(self, kind: str, given: bytes = b"{}", **fields: Any) -> uuid.UUID:
        """Store a workload of the pool `general`."""
        workload = NewWorkload(new_id(), Requirement("general", kind), given, **fields)
        await self.store.submit([workload])
        return workload.id

    async def reaches(self, workload_id: uuid.UUID, state: str) -> Any:
        """The workload once it has a state."""

        async def probe() -> Any:
            found = await self.store.get(workload_id, "default")
            assert found is not None
            assert found.state == state, found
            return found

        return await eventually(probe, what=f"{workload_id} is {state}")


@contextlib.asynccontextmanager
async def owner(dsn: str) -> AsyncIterator[Owner]:
    """Somebody who submits work while the context is open."""
    async with Database(dsn) as database:
        yield Owner(database)
