"""Both ends of the wire over a real socket, for tests."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from muster_kv.merging import Intent
from muster_kv.wire.client import NodeClient, Options
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import Done, Found, Get, ReplyBody, Take
from muster_kv.wire.peer import Call
from muster_kv.wire.server import Limits, Plain, Server, serve

TOKEN = b"secret"
NODE = Identity("node-0", Role.STORAGE, "demo", TOKEN)
COORDINATOR = Identity("coordinator-0", Role.COORDINATOR, "demo", TOKEN)
# Both ends stand still together where this process does, which is no silence of the other.
QUICK = Options(backoff_first=0.01, backoff_most=0.05, ping_every=0.05, silence=60.0)
TAKE = Take(b"slot", Intent(bytes(16), b"v", 1))
Handler = Callable[[list[Call]], Awaitable[list[ReplyBody]]]


async def echo(calls: list[Call]) -> list[ReplyBody]:
    """Answer each Get with its own slot, all else with Done."""
    return [Found(call.body.slot) if isinstance(call.body, Get) else Done() for call in calls]


class Gate:
    """A handler that holds its batches back until it is opened, and keeps them."""

    def __init__(self) -> None:
        self.batches: list[list[Call]] = []
        self.opened = asyncio.Event()

    async def __call__(self, calls: list[Call]) -> list[ReplyBody]:
        self.batches.append(calls)
        await self.opened.wait()
        return await echo(calls)

    @property
    def takes(self) -> int:
        return sum(isinstance(call.body, Take) for batch in self.batches for call in batch)


@asynccontextmanager
async def serving(
    handler: Handler,
    *,
    identity: Identity = NODE,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    port: int = 0,
    plain: Plain | None = None,
) -> AsyncIterator[Server]:
    server = await serve(
        handler, identity, host="127.0.0.1", port=port, limits=limits, tls=tls, plain=plain
    )
    try:
        yield server
    finally:
        await server.close(grace=0.1)


@asynccontextmanager
async def connected(
    port: int, *, identity: Identity = COORDINATOR, options: Options = QUICK
) -> AsyncIterator[NodeClient]:
    client = NodeClient("127.0.0.1", port, identity, options=options)
    client.start()
    try:
        await client.ready(30)
        yield client
    finally:
        await client.close()


class Relay:
    """Stands between a client and a server; can fall silent, and can hang up."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._writers: list[asyncio.StreamWriter] = []
        self.silent = False
        self.port = 0

    async def __aenter__(self) -> "Relay":
        self._listening = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        self._listening.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, back]
        await asyncio.gather(self._pipe(reader, back), self._pipe(there, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if not self.silent:
                    writer.write(data)
        except ConnectionError:
            return
        finally:
            writer.close()
