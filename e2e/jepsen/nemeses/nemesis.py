"""One kind of trouble: one fault after the other, in an order that follows from the seed."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from e2e.jepsen.cluster import Store
from e2e.jepsen.plan import Kind

Fault = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Span:
    """One fault, and when: seconds of the monotonic clock, until what it broke was back."""

    kind: Kind
    fault: str
    begun: float
    ended: float


class Nemesis:
    """Breaks a store, and mends it again.

    Attributes:
        kind: of trouble; without it, what goes on in every run.
        spans: what it did, and when.
        noted: what else happened, and how often.
    """

    kind: ClassVar[Kind | None] = None

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.chance = random.Random(f"{seed}/{type(self).__name__}")
        self.spans: list[Span] = []
        self.noted: Counter[str] = Counter()

    def faults(self) -> Sequence[Fault]:
        """All that it can do; each has mended what it broke when it returns."""
        raise NotImplementedError

    async def heal(self) -> None:
        """Mend what outlives a fault, at the end of a run."""

    async def run(self, stop: asyncio.Event) -> None:
        """Do one thing after the other until `stop`."""
        faults = self.faults()
        # Each once in a random order, then again, so that short runs have all of them.
        while not stop.is_set():
            for fault in self.chance.sample(faults, len(faults)):
                if stop.is_set():
                    return
                begun = time.monotonic()
                await fault()
                if self.kind is not None:
                    self.spans.append(Span(self.kind, named(fault), begun, time.monotonic()))
                await asyncio.sleep(self.chance.uniform(0.1, 0.6))

    async def a_while(self, most: float = 1.2) -> None:
        """Let a fault last for a time drawn from the seed, in seconds."""
        await asyncio.sleep(self.chance.uniform(0.1, most))


def named(fault: Fault) -> str:
    """A fault in words."""
    return getattr(fault, "__name__", "").replace("_", " ")
