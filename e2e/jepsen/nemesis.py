"""What breaks things: processes killed and stopped, one fault after the other, from a seed."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

from e2e.jepsen.cluster import START_SECONDS, Front, Store
from muster_testing.storage import StorageNode


class Nemesis:
    """Breaks a store, and mends it again.

    Attributes:
        done: how often it did what.
        forgotten: records that nodes have forgotten whole.
    """

    def __init__(self, store: Store, seed: int) -> None:
        self._store = store
        self._chance = random.Random(f"{seed}/nemesis")
        self.done: Counter[str] = Counter()
        self.forgotten = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Do one thing after the other until `stop`; each is mended before the next."""
        faults: list[Callable[[], Awaitable[None]]] = [
            self._kill_a_node,
            self._stop_a_node,
            self._stop_two_nodes,
            self._kill_all_nodes,
            self._stop_a_coordinator,
            self._kill_a_coordinator,
            self._forget,
        ]
        # Each once in a random order, then again, so that short runs have all kinds.
        while not stop.is_set():
            for fault in self._chance.sample(faults, len(faults)):
                if stop.is_set():
                    return
                await fault()
                self.done[fault.__name__.strip("_").replace("_", " ")] += 1
                await asyncio.sleep(self._chance.uniform(0.1, 0.6))

    def _a_node(self) -> StorageNode:
        return self._chance.choice(self._store.nodes)

    def _a_front(self) -> Front:
        return self._chance.choice(self._store.fronts)

    async def _a_while(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.1, 1.2))

    async def _kill_a_node(self) -> None:
        node = self._a_node()
        node.kill()
        await self._a_while()
        await node.start(START_SECONDS)

    async def _kill_all_nodes(self) -> None:
        for node in self._store.nodes:
            node.kill()
        await asyncio.gather(*(node.start(START_SECONDS) for node in self._store.nodes))

    async def _stop_a_node(self) -> None:
        await self._stopped([self._a_node()])

    async def _stop_two_nodes(self) -> None:
        await self._stopped(self._chance.sample(self._store.nodes, 2))

    async def _stopped(self, nodes: list[StorageNode]) -> None:
        for node in nodes:
            node.freeze()
        try:
            await self._a_while()
        finally:
            for node in nodes:
                node.thaw()

    async def _stop_a_coordinator(self) -> None:
        front = self._a_front()
        front.send(signal.SIGSTOP)
        try:
            await self._a_while()
        finally:
            front.send(signal.SIGCONT)

    async def _kill_a_coordinator(self) -> None:
        front = self._a_front()
        front.kill()
        await self._a_while()
        await self._store.restart(front)

    async def _forget(self) -> None:
        """No fault: what was deleted long enough ago is forgotten, where all take part."""
        self.forgotten += await self._store.anti_entropy() or 0
