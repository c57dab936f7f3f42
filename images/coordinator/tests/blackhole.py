"""A network between two parties that can swallow everything, as a broken one does."""

import asyncio
from types import TracebackType
from typing import Self

from muster_testing.forwarding import HOST, Ends, Forwarding, whole


class Network:
    """Forwards TCP connections; while it is cut, they stay open and nothing passes.

    Attributes:
        target: where it is reached.
    """

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._whole = whole()
        self._forwarding = Forwarding()
        self.target = ""

    async def __aenter__(self) -> Self:
        self.target = f"{HOST}:{await self._forwarding.listen(self._reach)}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._forwarding.close()

    def cut(self) -> None:
        """Let nothing pass from now on."""
        self._whole.clear()

    def mend(self) -> None:
        """Let pass what waits, and all that follows."""
        self._whole.set()

    async def _reach(self, _near: Ends) -> tuple[Ends, asyncio.Event, asyncio.Event]:
        far = await asyncio.open_connection(self._host, self._port)
        return far, self._whole, self._whole
