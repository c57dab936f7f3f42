"""A connection to NATS that is made again, without end, whenever it breaks.

nats-py can reconnect by itself, but gives up for good on some errors of the server, among them a
refused token, and sends what it had buffered then. Here each connection is a client of its own,
made with the files as they are now; what was under way on a lost one fails at once, and whoever
sent it decides what to do.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from muster_broker.access import Access

log = logging.getLogger(__name__)

T = TypeVar("T")

Prepare = Callable[[Client], Awaitable[None]]

_CONNECT_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_PING_SECONDS = 3
_MISSED_PINGS = 2
_LOOK_SECONDS = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

_ENDINGS = (OSError, TimeoutError, nats.errors.StaleConnectionError, nats.errors.NoServersError)

MESSAGE_ID_HEADER = "Nats-Msg-Id"
"""JetStream keeps one of several messages with the same value here."""


class Away(Exception):  # noqa: N818 - named after the cause
    """There is no connection, or no answer in time."""


class Nobody(Away):
    """The broker is there, and nobody listens on the subject."""


class Refused(Exception):  # noqa: N818 - named after the cause
    """The broker does not take this: too large, or not allowed."""


class _Client(Client):
    """Says nothing, credentials least of all, to a server that should speak TLS and does not."""

    def _connect_command(self) -> bytes:
        if "tls" in self.options and not self._server_info.get("tls_required"):
            raise nats.errors.Error("the server offers no TLS, and broker.ca_file asks for it")
        return super()._connect_command()


class Link:
    """The connection of one process.

    Args:
        name: shown in the broker's monitoring.
        prepare: makes subscriptions and streams on each new connection, before it counts.
        on_change: told whether there is a connection, each time that this changes.
    """

    def __init__(
        self,
        access: Access,
        name: str,
        prepare: Prepare,
        on_change: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._access = access
        self._name = name
        self._prepare = prepare
        self._on_change = on_change
        self._client: Client | None = None
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._calls: set[asyncio.Task[Any]] = set()
        self._problem = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._up.is_set()

    @property
    def problem(self) -> str:
        """Why there is no connection; empty while there is one."""
        return "" if self.connected else self._problem

    @property
    def max_payload(self) -> int:
        """Bytes that one message may have; 0 while it is not known."""
        return self._client.max_payload if self._client is not None else 0

    async def run(self) -> None:
        """Stay connected for ever; cancelling it closes the connection."""
        failures = 0
        while True:
            if await self._connection():
                failures = 0
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**failures)
            failures = min(failures + 1, 10)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def renew(self) -> None:
        """Drop the connection and make a fresh one."""
        self._lost.set()

    async def wait(self, seconds: float) -> None:
        """Wait until there is a connection.

        Raises:
            Away: there is none after `seconds`.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._up.wait()
        except TimeoutError:
            raise Away(f"no connection to the broker: {self._problem}") from None

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send a message that may be lost; answers go to the subject `reply`.

        Raises:
            Away, Refused: it was not sent.
        """
        await self._call(self._now().publish(subject, data, reply))

    async def request(self, subject: str, data: bytes, seconds: float) -> bytes:
        """Send a message and wait for its answer.

        Raises:
            Nobody: nobody listens.
            Away: there is no answer, and the message may have arrived nevertheless.
            Refused: it was not sent.
        """
        client = self._now()
        message = await self._call(client.request(subject, data, timeout=seconds))
        return bytes(message.data)

    async def store(
        self, subject: str, data: bytes, headers: Mapping[str, str], seconds: float
    ) -> None:
        """Have JetStream keep a message; it is kept when this returns.

        Raises:
            Away: it may have been kept nevertheless.
            Refused: it was not sent.
        """
        stream = self._now().jetstream(timeout=seconds)
        await self._call(stream.publish(subject, data, timeout=seconds, headers=dict(headers)))

    async def subscribe(self, subject: str = "") -> "Inbox":
        """Listen on a subject, or one of its own, for as long as this connection lives.

        Raises:
            Away: there is no connection.
        """
        client = self._now()
        inbox = Inbox(subject or client.new_inbox())
        inbox.subscription = await self._call(client.subscribe(inbox.subject, cb=inbox.put))
        return inbox

    def _now(self) -> Client:
        if self._client is None or not self.connected:
            raise Away(f"no connection to the broker: {self._problem}")
        return self._client

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the connection; its loss ends that, and so does the end of the caller."""
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is None or caller.cancelling():
                task.cancel()
                raise
            raise Away("the connection to the broker was lost") from None
        except nats.errors.NoRespondersError:
            raise Nobody("nobody listens") from None
        except nats.js.errors.NoStreamResponseError:
            raise Away("the broker has no stream for it now") from None
        except nats.errors.MaxPayloadError:
            most = self.max_payload
            raise Refused(f"larger than the {most} bytes that the broker allows") from None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise Away(f"the broker does not answer: {reason}") from error

    async def _connection(self) -> bool:
        """One connection from its beginning to its end; whether it came to be."""
        client = _Client()
        self._lost = asyncio.Event()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._connect(client)
                await self._prepare(client)
        except (nats.errors.Error, OSError, ValueError, TimeoutError) as error:
            self._problem = str(error) or type(error).__name__
            log.warning("broker not reached", extra={"error": self._problem})
            await _close(client)
            return False
        except BaseException:
            await _close(client)
            raise
        self._client = client
        self._up.set()
        self._on_change(True)
        log.info("broker connected", extra={"max_payload": client.max_payload})
        try:
            await self._until_lost(client)
        finally:
            self._problem = str(client.last_error or "the connection ended")
            self._up.clear()
            self._client = None
            for call in self._calls:
                call.cancel()
            self._on_change(False)
            await _close(client)
        log.warning("broker lost", extra={"error": self._problem})
        return True

    async def _connect(self, client: Client) -> None:
        servers, credentials = await asyncio.to_thread(self._access.servers)
        context = await asyncio.to_thread(self._access.context)

        async def closed() -> None:
            self._lost.set()

        await client.connect(
            servers,
            name=self._name,
            error_cb=_noted,
            closed_cb=closed,
            allow_reconnect=False,
            # Zero would mean: without end, within this one call.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=2,
            ping_interval=_PING_SECONDS,
            max_outstanding_pings=_MISSED_PINGS,
            tls=context,
            tls_hostname=self._access.section.server_name or None,
            user=credentials.user or None,
            password=credentials.password or None,
            token=credentials.token or None,
        )

    async def _until_lost(self, client: Client) -> None:
        # Closing a broken connection may take long, so its own word for it is not waited for.
        while client.is_connected and not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._lost.wait()


class Inbox:
    """What arrives on a subject."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.subscription: Any = None
        self._messages: asyncio.Queue[Msg] = asyncio.Queue()

    async def put(self, message: Msg) -> None:
        """A message arrived."""
        self._messages.put_nowait(message)

    async def next(self, seconds: float) -> Msg:
        """The next message.

        Raises:
            Away: there is none after `seconds`.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._messages.get()
        except TimeoutError:
            raise Away("the broker does not answer") from None

    async def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(nats.errors.Error):
            await self.subscription.unsubscribe()


async def _noted(error: Exception) -> None:
    # What ends the connection is told when it has ended.
    level = logging.DEBUG if isinstance(error, _ENDINGS) else logging.WARNING
    log.log(level, "broker", extra={"error": repr(error)})


async def _close(client: Client) -> None:
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.close()
