"""Long polls: callers that sleep until a workload has come to its end."""

import asyncio
from collections import defaultdict
from uuid import UUID


class Waiters:
    """Wakes those who wait for a workload; a wake-up says "look again", nothing more."""

    def __init__(self) -> None:
        self._events: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._closed = False

    def subscribe(self, workload_id: UUID) -> asyncio.Event:
        """An event that is set at the end of `workload_id`; subscribe before looking."""
        event = asyncio.Event()
        if self._closed:
            event.set()
        self._events[workload_id].add(event)
        return event

    def unsubscribe(self, workload_id: UUID, event: asyncio.Event) -> None:
        """Forget an event of `subscribe`."""
        waiting = self._events.get(workload_id)
        if waiting is not None:
            waiting.discard(event)
            if not waiting:
                del self._events[workload_id]

    def wake(self, workload_id: UUID) -> None:
        """Wake those who wait for one workload."""
        for event in self._events.get(workload_id, ()):
            event.set()

    def wake_all(self) -> None:
        """Wake everybody, as notifications may have been missed."""
        for events in self._events.values():
            for event in events:
                event.set()

    def close(self) -> None:
        """Wake everybody now and from now on, as the process stops."""
        self._closed = True
        self.wake_all()
