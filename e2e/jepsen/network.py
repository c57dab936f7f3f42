"""A network between parties that can swallow what passes, from one to another or both ways.

Each party that is connected to has a gate, a TCP proxy in this process. Who connects to a storage
node says its name in its first frame, so every pair of parties can be cut off for itself, with no
privilege, and with nobody else's network touched.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from typing import Any

from muster_kv.wire.frames import HEAD_BYTES, ProtocolError, Unframer, decode
from muster_kv.wire.hello import MAX_HELLO_BYTES, Hello

_CHUNK = 64 * 1024
_HOST = "127.0.0.1"


class Network:
    """Forwards TCP connections; where a link is cut, connections stay open and nothing passes.

    What was sent into a cut link arrives when it is mended, as what TCP sends again does, also
    where its sender has given up meanwhile. A connection begun then is open when both ways are.
    """

    def __init__(self) -> None:
        self._whole: dict[tuple[str, str], asyncio.Event] = defaultdict(_whole)
        self._servers: list[asyncio.Server] = []
        self._running: set[asyncio.Task[None]] = set()

    async def gate(self, name: str, port: int, source: str = "") -> int:
        """Open a gate to a party on this machine; its port.

        Args:
            source: who connects; without it, who says so in the first frame.
        """

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._start(self._connection(reader, writer, source, (name, port)))

        server = await asyncio.start_server(connected, _HOST, 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def cut(self, sources: Iterable[str], sinks: Iterable[str], *, one_way: bool = False) -> None:
        """Let nothing pass from any of the sources to any of the sinks, nor back."""
        held = tuple(sinks)
        for source in sources:
            for sink in held:
                self._whole[source, sink].clear()
                if not one_way:
                    self._whole[sink, source].clear()

    def mend(self) -> None:
        """Let everything pass, also what waits."""
        for link in self._whole.values():
            link.set()

    def is_whole(self, source: str, sink: str) -> bool:
        """Whether what one sends to another arrives now."""
        return self._whole[source, sink].is_set()

    async def close(self) -> None:
        """Close all gates, and end what passes through them."""
        for server in self._servers:
            server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _connection(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        source: str,
        target: tuple[str, int],
    ) -> None:
        name, port = target
        try:
            first = b"" if source else await _first_frame(reader)
            source = source or _name_in(first)
            for link in ((source, name), (name, source)):
                await self._whole[link].wait()
            far_reader, far_writer = await asyncio.open_connection(_HOST, port)
        except (OSError, EOFError, ProtocolError):
            writer.close()
            return
        far_writer.write(first)
        self._start(self._pump(reader, far_writer, (source, name)))
        self._start(self._pump(far_reader, writer, (name, source)))

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, link: tuple[str, str]
    ) -> None:
        whole = self._whole[link]
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                await whole.wait()
                sink.write(data)
                await sink.drain()
        await whole.wait()
        sink.close()


def _whole() -> asyncio.Event:
    link = asyncio.Event()
    link.set()
    return link


async def _first_frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(HEAD_BYTES)
    length = int.from_bytes(head[:4], "big") - 1
    if not 0 <= length <= MAX_HELLO_BYTES:
        raise ProtocolError(f"first frame: {length} bytes")
    return head + await reader.readexactly(length)


def _name_in(data: bytes) -> str:
    ((_, body),) = Unframer().feed(data)
    return decode(body, Hello).node_id
