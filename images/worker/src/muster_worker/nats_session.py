"""A worker's session with one of the coordinators on the broker."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator

from muster_worker.coordinator import Unavailable
from muster_worker.tasks import Command

MISSED_NEWS = 3.5
"""So many times the usual pause without news of the coordinator, and it counts as gone."""

_LOOK_SECONDS = 0.5
_REMEMBERED = 10_000


class Session:
    """What one coordinator sends to this worker, for as long as it lives and knows of it.

    Args:
        now: from the clock that all times here are of, in seconds.
    """

    def __init__(self, session_id: str, now: float) -> None:
        self.id = session_id
        self.coordinator_id = ""
        self._news_seconds = 0.0
        self._heard_at = now
        self._problem = ""
        self._commands: asyncio.Queue[Command | None] = asyncio.Queue()
        self._seen: OrderedDict[str, None] = OrderedDict()

    @property
    def over(self) -> bool:
        """Whether nothing comes any more."""
        return bool(self._problem)

    def answered(self, coordinator_id: str, news_seconds: float, now: float) -> None:
        """A coordinator took it up, whose news come every so many seconds."""
        self.coordinator_id = coordinator_id
        self._news_seconds = news_seconds
        self._heard_at = now

    def news(self, coordinator_id: str, now: float) -> None:
        """A coordinator lives."""
        if coordinator_id == self.coordinator_id:
            self._heard_at = now

    def leaves(self, coordinator_id: str) -> None:
        """A coordinator goes away."""
        if coordinator_id == self.coordinator_id:
            self.end(f"coordinator {coordinator_id} leaves")

    def end(self, problem: str) -> None:
        """Nothing comes any more."""
        self._problem = self._problem or problem
        self._commands.put_nowait(None)

    def put(self, message_id: str, command: Command) -> None:
        """A command came; a copy of one changes nothing."""
        if message_id in self._seen:
            return
        self._seen[message_id] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self._commands.put_nowait(command)

    async def commands(self) -> AsyncIterator[Command]:
        """What comes, to the end.

        Raises:
            Unavailable: it ended.
        """
        while not self.over:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    command = await self._commands.get()
            except TimeoutError:
                self._listen(asyncio.get_running_loop().time())
                continue
            if command is not None:
                yield command
        raise Unavailable(self._problem)

    def _listen(self, now: float) -> None:
        silent = now - self._heard_at
        if self._news_seconds and silent > MISSED_NEWS * self._news_seconds:
            self.end(f"no news of coordinator {self.coordinator_id} for {silent:.1f} s")
