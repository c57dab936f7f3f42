"""A network between parties that can swallow what passes, from one to another or both ways.

Each party that is connected to has a gate, a TCP proxy in this process. Who connects to a storage
node says its name in its first frame, so every pair of parties can be cut off for itself, with no
privilege, and with nobody else's network touched.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from muster_kv.wire.frames import HEAD_BYTES, ProtocolError, Unframer, decode
from muster_kv.wire.hello import MAX_HELLO_BYTES, Hello
from muster_testing.forwarding import HOST, Ends, Forwarding, whole


class Network:
    """Forwards TCP connections; where a link is cut, connections stay open and nothing passes.

    What was sent into a cut link arrives when it is mended, as what TCP sends again does, also
    where its sender has given up meanwhile. A connection begun then is open when both ways are.
    """

    def __init__(self) -> None:
        self._whole: dict[tuple[str, str], asyncio.Event] = defaultdict(whole)
        self._forwarding = Forwarding()

    async def gate(self, name: str, port: int, source: str = "") -> int:
        """Open a gate to a party on this machine; its port.

        Args:
            source: who connects; without it, who says so in the first frame.
        """

        async def reach(near: Ends) -> tuple[Ends, asyncio.Event, asyncio.Event]:
            first = b"" if source else await _first_frame(near[0])
            sender = source or _name_in(first)
            there, back = self._whole[sender, name], self._whole[name, sender]
            for way in (there, back):
                await way.wait()
            far = await asyncio.open_connection(HOST, port)
            far[1].write(first)
            return far, there, back

        return await self._forwarding.listen(reach)

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
        await self._forwarding.close()


async def _first_frame(reader: asyncio.StreamReader) -> bytes:
    """Read it whole; raises OSError or EOFError where it can't be one of a client."""
    head = await reader.readexactly(HEAD_BYTES)
    length = int.from_bytes(head[:4], "big") - 1
    if not 0 <= length <= MAX_HELLO_BYTES:
        raise ConnectionError(f"first frame: {length} bytes")
    return head + await reader.readexactly(length)


def _name_in(data: bytes) -> str:
    """Who says hello; raises OSError where nobody does."""
    try:
        ((_, body),) = Unframer().feed(data)
        return decode(body, Hello).node_id
    except ProtocolError as error:
        raise ConnectionError(str(error)) from error
