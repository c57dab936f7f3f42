"""Hints: what absent replicas have missed, kept by others until they are back.

Storage nodes bring them. A hint is a help, not a promise: what is lost of them, anti-entropy finds.
"""

import asyncio
from functools import partial

from muster_kv.wire.messages import Done, Item, ReplyBody, StoreHint
from muster_kv_coordinator.core.ports import Meter, Replica

_PAUSE_SECONDS = 0.01
_SECONDS = 5.0
_MOST_ITEMS = 500
_MOST_BYTES = 1 << 20


class Hints:
    """Collects hints, and hands them to healthy nodes, many at once.

    Args:
        most: hints under way at a time; more are dropped.
    """

    def __init__(self, meter: Meter, most: int) -> None:
        self._meter = meter
        self._most = most
        self._waiting: dict[tuple[str, str], list[Item]] = {}
        self._holders: dict[str, Replica] = {}
        self._count = 0
        self._flush: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, target: str, holder: Replica, item: Item) -> None:
        """Let `holder` keep `item` for the node `target`."""
        if self._count >= self._most:
            self._meter.hinted("dropped", 1)
            return
        self._count += 1
        self._idle.clear()
        self._holders[holder.node_id] = holder
        self._waiting.setdefault((target, holder.node_id), []).append(item)
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(_PAUSE_SECONDS, self._send)

    def _send(self) -> None:
        self._flush = None
        waiting, self._waiting = self._waiting, {}
        for (target, holder), items in waiting.items():
            for batch in _batches(items):
                stored = partial(self._stored, len(batch))
                self._holders[holder].submit(StoreHint(target, batch), 0, _SECONDS, stored)

    def _stored(self, count: int, reply: ReplyBody) -> None:
        self._meter.hinted("stored" if isinstance(reply, Done) else "dropped", count)
        self._count -= count
        if not self._count:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until none is under way."""
        await self._idle.wait()


def _batches(items: list[Item]) -> list[tuple[Item, ...]]:
    batches: list[tuple[Item, ...]] = []
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and (len(batch) == _MOST_ITEMS or size + len(item[1]) > _MOST_BYTES):
            batches.append(tuple(batch))
            batch, size = [], 0
        batch.append(item)
        size += len(item[1])
    return [*batches, tuple(batch)]
