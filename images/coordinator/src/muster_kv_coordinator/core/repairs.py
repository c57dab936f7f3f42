"""Read repair: replicas that a read found behind get what the others know."""

import asyncio
from collections.abc import Sequence

from muster_kv.wire.messages import Merge, Merged, ReplyBody
from muster_kv_coordinator.core.ports import Meter, Replica

_SECONDS = 5.0


class Repairs:
    """Repairs in the background.

    Args:
        most: repairs under way at a time; more are dropped, as the next read finds them again.
    """

    def __init__(self, meter: Meter, most: int) -> None:
        self._meter = meter
        self._most = most
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self, body: Merge, ring_version: int, behind: Sequence[Replica]) -> None:
        """Bring a record to the replicas that are behind."""
        room = self._most - self._under_way
        if room < len(behind):
            self._meter.repaired("dropped", len(behind) - max(0, room))
        for replica in behind[: max(0, room)]:
            self._under_way += 1
            self._idle.clear()
            replica.submit(body, ring_version, _SECONDS, self._ended)

    def _ended(self, reply: ReplyBody) -> None:
        self._meter.repaired("done" if isinstance(reply, Merged) else "failed")
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until none is under way."""
        await self._idle.wait()
