"""The coordinator's end of a connection to a storage node."""

import asyncio
import logging
import secrets
import ssl
import time
from collections.abc import Callable

import msgspec

from muster_kv.errors import FailureCode
from muster_kv.wire import hello
from muster_kv.wire.backoff import Backoff
from muster_kv.wire.connection import ClientConnection, OnReply
from muster_kv.wire.frames import MAX_BODY_BYTES, ProtocolError
from muster_kv.wire.hello import Identity
from muster_kv.wire.messages import Failure, ReplyBody, RequestBody

log = logging.getLogger(__name__)

_NEVER_SENT = "{} is not connected"
_FULL = "{} has {} requests of {} bytes in flight; allowed: {} of {}"


class Options(msgspec.Struct, frozen=True):
    """How a client treats its connection. Times in seconds."""

    connect_timeout: float = 2.0
    # Nothing heard for so long: the connection is given up.
    silence: float = 3.0
    ping_every: float = 1.0
    backoff_first: float = 0.05
    backoff_most: float = 2.0
    max_in_flight: int = 8192
    max_in_flight_bytes: int = 128 * 1024 * 1024


class NodeClient:
    """Keeps one connection to a storage node, and sends on it whatever is asked.

    Requests of one turn of the loop go in one frame. A request that can't be sent is answered with
    a Failure at once: nothing waits for a node to come back.
    """

    def __init__(
        self,
        host: str,
        port: int,
        identity: Identity,
        *,
        options: Options | None = None,
        tls: ssl.SSLContext | None = None,
        on_change: Callable[[bool], None] | None = None,
    ) -> None:
        """`on_change` is called with True when the connection is up, with False when it is down."""
        self.host, self.port = host, port
        self._identity, self._tls = identity, tls
        self._options = options or Options()
        self._on_change = on_change
        self._connection: ClientConnection | None = None
        self._up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.node_id = ""
        self.last_error = "not tried yet"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    @property
    def connected(self) -> bool:
        """Whether requests can be sent now."""
        return self._connection is not None

    @property
    def in_flight(self) -> int:
        """How many requests wait for their answer."""
        return self._connection.in_flight if self._connection else 0

    @property
    def round_trip(self) -> float | None:
        """Seconds that the last ping took, None before there was one."""
        return self._connection.round_trip if self._connection else None

    def start(self) -> None:
        """Begin to connect, and to connect again whenever the connection is lost."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"connection to {self.address}")

    async def close(self) -> None:
        """Close the connection; what is in flight fails at once."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def ready(self, within: float) -> None:
        """Wait until the connection is up, `within` seconds; raises TimeoutError."""
        async with asyncio.timeout(within):
            await self._up.wait()

    def submit(
        self, body: RequestBody, within: float, on_reply: OnReply, *, ring_version: int = 0
    ) -> None:
        """Send a request, and call `on_reply` exactly once: never before this returns.

        `within` in seconds is the node's deadline as well. `on_reply` gets a Failure where the
        request could not be sent (UNAVAILABLE, OVERLOADED), the connection broke (BROKEN), or no
        answer came in time (TIMEOUT).
        """
        connection = self._connection
        # One that has just ended fails nothing more, and is let go only when the loop comes to it.
        if connection is None or connection.lost.done():
            self._refuse(FailureCode.UNAVAILABLE, _NEVER_SENT.format(self.address), on_reply)
            return
        options = self._options
        weight = body.weight()
        if weight > MAX_BODY_BYTES:
            sentence = f"request has {weight} bytes; allowed: at most {MAX_BODY_BYTES}"
            self._refuse(FailureCode.TOO_LARGE, sentence, on_reply)
            return
        if (
            connection.in_flight >= options.max_in_flight
            or connection.in_flight_bytes >= options.max_in_flight_bytes
        ):
            sentence = _FULL.format(
                self.address,
                connection.in_flight,
                connection.in_flight_bytes,
                options.max_in_flight,
                options.max_in_flight_bytes,
            )
            self._refuse(FailureCode.OVERLOADED, sentence, on_reply)
            return
        connection.send(body, within, on_reply, ring_version)

    async def request(
        self, body: RequestBody, within: float, *, ring_version: int = 0
    ) -> ReplyBody:
        """Send a request and return its answer, a Failure where it failed."""
        answered: asyncio.Future[ReplyBody] = asyncio.get_running_loop().create_future()

        def settle(reply: ReplyBody) -> None:
            if not answered.done():
                answered.set_result(reply)

        self.submit(body, within, settle, ring_version=ring_version)
        return await answered

    @staticmethod
    def _refuse(code: FailureCode, sentence: str, on_reply: OnReply) -> None:
        asyncio.get_running_loop().call_soon(on_reply, Failure(code, sentence))

    async def _keep(self) -> None:
        backoff = Backoff(self._options.backoff_first, self._options.backoff_most)
        while True:
            try:
                connection = await self._connect()
            except (OSError, TimeoutError, ProtocolError) as error:
                self._say(str(error) or type(error).__name__)
                await asyncio.sleep(backoff.next(secrets.randbelow(1000) / 1000))
                continue
            backoff.reset()
            try:
                await self._serve(connection)
            finally:
                connection.abort("closed")

    async def _connect(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        said = hello.hello(
            self._identity, secrets.token_bytes(hello.NONCE_BYTES), time.monotonic_ns() // 1000
        )
        async with asyncio.timeout(self._options.connect_timeout):
            transport, connection = await loop.create_connection(
                lambda: ClientConnection(self._identity, said, self._options.silence),
                self.host,
                self.port,
                ssl=self._tls,
            )
            try:
                self.node_id = await connection.welcomed
            except BaseException:
                transport.abort()
                raise
        return connection

    async def _serve(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._up.set()
        self._say("")
        if self._on_change:
            self._on_change(True)
        try:
            while not connection.lost.done():
                connection.ping()
                await asyncio.wait([connection.lost], timeout=self._options.ping_every)
            self._say(connection.lost.result())
        finally:
            self._connection = None
            self._up.clear()
            if self._on_change:
                self._on_change(False)

    def _say(self, error: str) -> None:
        if error and error != self.last_error:
            log.warning("storage node lost", extra={"node": self.address, "error": error})
        elif not error:
            log.info("storage node connected", extra={"node": self.address})
        self.last_error = error
