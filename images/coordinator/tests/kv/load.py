"""Clients that write one after the other, as fast as they are answered."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import grpc

from muster_testing.waiting import eventually

from .harness import Client


class Load:
    """Writes through all clients while its context is open.

    `done` is how often each writer succeeded, `failed` the messages of the others, `written` what
    each key was written with last. Keys are never shared by two writers.
    """

    def __init__(self, clients: Sequence[Client], writers: int = 16, tenant: str = "t") -> None:
        self._clients = clients
        self._writers = writers
        self._tenant = tenant
        self._tasks: list[asyncio.Task[None]] = []
        self.done = [0] * writers
        self.failed: list[str] = []
        self.written: dict[str, bytes] = {}

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._write(n, self._clients[n % len(self._clients)]))
            for n in range(self._writers)
        ]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self, writer: int, client: Client) -> None:
        number = 0
        while True:
            number += 1
            key, value = f"w{writer}/{number % 50}", b"%d" % number
            try:
                answer = await client.write(key, value, tenant=self._tenant)
            except grpc.aio.AioRpcError as error:
                self.failed.append(str(error.code()))
                continue
            if answer.success:
                self.written[key] = value
                self.done[writer] += 1
            else:
                # It may have happened.
                self.written.pop(key, None)
                self.failed.append(answer.error_message)

    async def goes_on(self, times: int, deadline: float) -> None:
        """Wait until each writer has succeeded so often again, for as many seconds at most."""
        least = [done + times for done in self.done]
        await eventually(
            lambda: all(done >= needed for done, needed in zip(self.done, least, strict=True)),
            deadline=deadline,
            what=f"each writer succeeds {times} times",
        )
