"""A worker without a wire: it calls the engine of a coordinator in this process by itself."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from muster_coordinator.app import Coordinator
from muster_coordinator.engine.model import (
    Assignment,
    Claim,
    Command,
    LogLine,
    Registration,
)
from muster_coordinator.engine.ports import Submission

from .harness import Replica


class Hands:
    """Registers, and is given work; what it does with it is for the test to say."""

    def __init__(
        self,
        replica: Replica,
        name: str = "hands",
        types: Sequence[str] = ("sleep",),
        pool: str = "jobs",
        capacity: int = 4,
    ) -> None:
        assert replica.coordinator is not None
        self._engine: Coordinator = replica.coordinator
        self.name = name
        self._registration = Registration(name, pool, capacity, frozenset(types))
        self.heard: asyncio.Queue[Command] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        await self._engine._registry.register(self._registration)
        self._opened = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())
        await self._opened.wait()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listening.cancel()
        await asyncio.wait({self._listening})

    async def told(self) -> Command:
        """The next command."""
        async with asyncio.timeout(60):
            return await self.heard.get()

    async def take(self) -> Assignment:
        """The next assignment."""
        command = await self.told()
        assert isinstance(command, Assignment), command
        return command

    async def begin(self) -> Assignment:
        """Take the next assignment, and begin to work on it."""
        assignment = await self.take()
        await self._engine._reports.start(self._claim(assignment))
        return assignment

    async def progress(self, assignment: Assignment, percent: float, message: str = "") -> None:
        await self._engine._reports.progress(self._claim(assignment), percent, message)

    async def log(self, assignment: Assignment, *messages: str) -> None:
        lines = [LogLine(datetime.now(UTC), "info", one) for one in messages]
        await self._engine._reports.log(self._claim(assignment), lines)

    async def complete(self, assignment: Assignment, output: Any = None) -> None:
        submission = Submission(7, output=json.dumps(output).encode())
        verdict = await self._engine._reports.complete(self._claim(assignment), submission)
        assert verdict.accepted

    async def fail(self, assignment: Assignment, message: str) -> None:
        await self._engine._reports.fail(self._claim(assignment), message, transient=False)

    async def paused(self, assignment: Assignment, checkpoint: bytes) -> None:
        await self._engine._reports.paused(self._claim(assignment), checkpoint)

    def _claim(self, assignment: Assignment) -> Claim:
        return Claim(assignment.workload_id, self.name, assignment.generation)

    async def _listen(self) -> None:
        async with self._engine._delivery.open(self.name) as stream:
            self._opened.set()
            async for command in stream.commands():
                self.heard.put_nowait(command)
