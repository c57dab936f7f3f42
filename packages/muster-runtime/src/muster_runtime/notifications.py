"""Notifications: PostgreSQL's LISTEN/NOTIFY as calls.

They make things fast, not right: whoever acts on them also looks from time to time, and once after
every reconnection, as what was sent meanwhile is lost.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

import asyncpg

from muster_runtime.postgres import LOST

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_PING_SECONDS = 10.0
_PAUSE_SECONDS = 0.5


class Notifications:
    """Listens on one connection of its own, and connects again for ever.

    Args:
        server_settings: of the connection's session.
        handlers: called with the payload of each notification, by channel.
        connected: called after every connection, when notifications may have been missed.
    """

    def __init__(
        self,
        dsn: str,
        server_settings: Mapping[str, str],
        handlers: Mapping[str, Callable[[str], None]],
        connected: Callable[[], None],
    ) -> None:
        self._dsn = dsn
        self._server_settings = dict(server_settings)
        self._handlers = handlers
        self._connected = connected

    async def run(self) -> None:
        """Listen for ever."""
        while True:
            try:
                await self._listen()
            except LOST as error:
                log.warning("notifications are away", extra={"error": repr(error)})
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(
            self._dsn,
            timeout=_CONNECT_SECONDS,
            command_timeout=_CONNECT_SECONDS,
            server_settings=self._server_settings,
        )
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            for channel in self._handlers:
                await connection.add_listener(channel, self._heard)
            self._connected()
            while not lost.is_set():
                try:
                    async with asyncio.timeout(_PING_SECONDS):
                        await lost.wait()
                except TimeoutError:
                    # A connection that went silent without an end is found out here.
                    await connection.execute("SELECT 1")
        finally:
            connection.terminate()

    def _heard(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._handlers[channel](str(payload))
