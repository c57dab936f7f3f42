"""TCP connections that pass through this process, which can hold back what is on its way."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

HOST = "127.0.0.1"
_CHUNK = 64 * 1024

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
"""How one side of a connection is read from and written to."""


class Forwarding:
    """Ports of this machine, and the connections that go through them."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._running: set[asyncio.Task[None]] = set()

    async def listen(
        self,
        reach: Callable[[Ends], Awaitable[tuple[Ends, asyncio.Event, asyncio.Event]]],
    ) -> int:
        """Open a port; its number.

        Args:
            reach: opens the far side of a connection, and says with what event set bytes go there,
                and with what back. Where it raises OSError or EOFError, the connection is closed.
        """

        async def connected(near: Ends) -> None:
            try:
                far, there, back = await reach(near)
            except (OSError, EOFError):
                near[1].close()
                return
            self._start(_pump(near[0], far[1], there))
            self._start(_pump(far[0], near[1], back))

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._start(connected((reader, writer)))

        server = await asyncio.start_server(accept, HOST, 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Close all ports, and end what passes through them."""
        for server in self._servers:
            server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


def whole() -> asyncio.Event:
    """The event of a way that lets everything pass, until it is cleared."""
    way = asyncio.Event()
    way.set()
    return way


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: asyncio.Event
) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            await way.wait()
            sink.write(data)
            await sink.drain()
    await way.wait()
    sink.close()
