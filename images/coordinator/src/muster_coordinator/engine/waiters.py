"""Long polls: callers that sleep until something has become of a workload."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID


class Waiters:
    """Wakes those who wait for a workload; a wake-up says "look again", nothing more."""

    def __init__(self) -> None:
        self._events: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nobody should wait any more."""
        return self._closed

    @contextlib.contextmanager
    def subscribed(self, workload_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set when `workload_id` should be looked at; subscribe before looking."""
        event = asyncio.Event()
        self._events[workload_id].add(event)
        try:
            yield event
        finally:
            waiting = self._events[workload_id]
            waiting.discard(event)
            if not waiting:
                del self._events[workload_id]

    def wake(self, workload_id: UUID) -> None:
        """Wake those who wait for one workload."""
        for event in self._events.get(workload_id, ()):
            event.set()

    def wake_named(self, ids: str) -> None:
        """Wake those who wait for workloads whose ids are separated by spaces."""
        if self._events:
            for workload_id in ids.split():
                self.wake(UUID(workload_id))

    def wake_all(self) -> None:
        """Wake everybody, as notifications may have been missed."""
        for events in self._events.values():
            for event in events:
                event.set()

    def close(self) -> None:
        """Wake everybody now and from now on, as the process stops."""
        self._closed = True
        self.wake_all()
