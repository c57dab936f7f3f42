"""What the core asks of the world around it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from muster_kv.clock import VectorClock
from muster_kv.ring import Placement
from muster_kv.wire.messages import ReplyBody, RequestBody
from muster_kv_coordinator.core.asking import Answers
from muster_kv_coordinator.core.model import Tenant
from muster_kv_coordinator.core.spread import Ending, Start, Way

OnReply = Callable[[ReplyBody], None]


class Replica(Protocol):
    """A storage node as this coordinator sees it."""

    @property
    def node_id(self) -> str:
        """Its name in the ring."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether it has been answering lately."""
        ...

    def submit(
        self, body: RequestBody, ring_version: int, seconds: float, on_reply: OnReply
    ) -> None:
        """Ask it for something.

        `on_reply` is called once, not before this returns, and within `seconds` and a moment; what
        goes wrong is a `Failure`.
        """
        ...

    async def request(self, body: RequestBody, ring_version: int, seconds: float) -> ReplyBody:
        """As `submit`, for one that waits."""
        ...


class Together(Protocol):
    """Replicas that are asked at once; nothing waits for the slowest of them."""

    def ask(
        self,
        replicas: Sequence[str],
        body: RequestBody,
        ring_version: int,
        least: int,
        end: float,
    ) -> "asyncio.Future[Answers]":
        """What at least `least` replicas answer, or all that do where they are fewer.

        Healthy replicas are asked first; one more for each that fails, and for each while that
        goes on too long. Ends at once where a replica knows of a newer ring.

        Args:
            end: when replicas must have answered, by the loop's clock.
        """
        ...

    def spread(self, start: Start, way: Way) -> "asyncio.Future[Ending]":
        """How a write ends; replicas that miss it then are hinted at."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key lives, in one version of the ring."""

    placement: Placement
    ring_version: int


class Cluster(Protocol):
    """The storage nodes, and the ring that they are in."""

    @property
    def version(self) -> int:
        """Of the ring in use."""
        ...

    def place(self, tenant: Tenant, token: int) -> Place:
        """Where a token of a tenant lives.

        Raises:
            KvError: QUORUM_NOT_REACHED where there is no node at all, or where the tenant's
                replication factor may be another by now.
        """
        ...

    def replica(self, node_id: str) -> Replica:
        """A member of the ring."""
        ...

    def members(self) -> tuple[Replica, ...]:
        """All members of the ring that hold data."""
        ...

    def placements(self, factor: int) -> tuple[Placement, ...]:
        """Every set of nodes that some key has."""
        ...

    async def refresh(self, least: int) -> None:
        """Get a ring of at least that version, if there is one.

        Raises:
            UnavailableError: it can't be looked for.
        """
        ...


@dataclass(frozen=True, slots=True)
class Remembered:
    """An operation that has happened: the digest of its value, and what its writer was told.

    Args:
        replicas: how many had said by then that they hold it.
    """

    digest: bytes
    clock: VectorClock
    replicas: int = 0


class Memory(Protocol):
    """Where retries are recognised before any replica is asked."""

    async def recall(self, op: bytes) -> Remembered | None:
        """What is known of an operation.

        Raises:
            UnavailableError: it can't be looked up.
        """
        ...

    async def remember(self, op: bytes, happened: Remembered) -> None:
        """Know an operation for 24 hours; where that is not possible, replicas know it anyway."""
        ...


class Meter(Protocol):
    """Counts what replicas were made to do."""

    def conflict(self) -> None:
        """A read found siblings."""
        ...

    def repair_triggered(self) -> None:
        """A read found replicas unlike each other."""
        ...

    def repaired(self, outcome: str, count: int = 1) -> None:
        """Replicas were repaired: done, failed or dropped."""
        ...

    def quorum_failed(self, operation: str) -> None:
        """Too few replicas answered a read, a write or a scan."""
        ...

    def hedged(self) -> None:
        """Another replica was asked, as one was slow."""
        ...

    def duplicate(self) -> None:
        """A write had happened before."""
        ...

    def hinted(self, outcome: str, count: int) -> None:
        """Hints were stored or dropped."""
        ...

    def stale_ring(self) -> None:
        """A request was tried again with a newer ring."""
        ...
