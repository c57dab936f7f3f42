"""One coalescing queue with one worker for each object.

An object that is marked while it is worked on is worked on once more afterwards, however often it
was marked. What fails is tried again after a pause that doubles; the pause takes no place from
others, so an object that always fails can't starve them.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from muster_operator.resources import Key

log = logging.getLogger(__name__)

Work = Callable[[Key], Awaitable[float | None]]
"""Works on one object; returns after how many seconds to do so again unasked. Raises to fail."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses after failures, in seconds: `first`, then twice as long each time, `most` at most."""

    first: float = 0.5
    most: float = 60.0

    def pause(self, failures: int) -> float:
        """The pause after so many failures in a row, with jitter of up to a fifth."""
        doubled: float = self.first * 2.0 ** min(failures - 1, 30)
        return min(doubled, self.most) * random.uniform(0.8, 1.0)  # noqa: S311 - no secret


@dataclass(slots=True)
class _Slot:
    """The state of one object in the queue."""

    dirty: bool = True
    failures: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class WorkQueue:
    """Runs `work` for every object that is marked.

    Args:
        work: see `Work`; errors are logged by whoever passes it.
        at_once: how many objects are worked on at the same time.
    """

    def __init__(self, work: Work, *, at_once: int = 16, backoff: Backoff | None = None) -> None:
        self._work = work
        self._places = asyncio.Semaphore(at_once)
        self._backoff = backoff or Backoff()
        self._slots: dict[Key, _Slot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def depth(self) -> int:
        """How many objects wait to be worked on, those that pause after a failure included."""
        return sum(1 for slot in self._slots.values() if slot.dirty)

    def mark(self, key: Key, *, urgent: bool = False) -> None:
        """Have `key` worked on; if `urgent`, without waiting for a pause to end."""
        if self._closed:
            return
        slot = self._slots.get(key)
        if slot is None:
            self._slots[key] = _Slot()
            task = asyncio.create_task(self._serve(key), name=f"reconcile {key}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        slot.dirty = True
        if urgent or not slot.failures:
            slot.wake.set()

    async def close(self) -> None:
        """Stop at once, in the middle of whatever is worked on."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _serve(self, key: Key) -> None:
        """Work on `key` until there is no more to do for it."""
        slot = self._slots[key]
        try:
            while slot.dirty:
                pause = await self._attempt(key, slot)
                if pause is not None:
                    await self._rest(slot, pause)
        finally:
            del self._slots[key]

    async def _attempt(self, key: Key, slot: _Slot) -> float | None:
        async with self._places:
            slot.dirty = False
            slot.wake.clear()
            try:
                again_after = await self._work(key)
            except Exception:  # noqa: BLE001 - whoever passes `work` has logged it
                slot.dirty = True
                slot.failures += 1
                return self._backoff.pause(slot.failures)
        slot.failures = 0
        return None if slot.dirty else again_after

    async def _rest(self, slot: _Slot, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await slot.wake.wait()
        except TimeoutError:
            slot.dirty = True
