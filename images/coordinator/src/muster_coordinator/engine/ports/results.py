"""Where results are judged, keys are kept, and what happens is counted."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from muster_coordinator.engine.errors import EngineError
from muster_coordinator.engine.model import KeyRecord, Moved, Result
from muster_coordinator.engine.ports.workers import Statement
from muster_coordinator.engine.records import record


class KeyStore(Protocol):
    """Proving and verifying keys."""

    async def keys(self) -> list[KeyRecord]:
        """All keys, oldest first."""
        ...

    async def verifying_key(self, key_id: str, version: str) -> bytes | None:
        """The verifying side of one key."""
        ...

    def proving_key(self, key_id: str, version: str) -> AsyncIterator[bytes]:
        """The proving side of one key, in chunks of at most 1 MiB; none where it is unknown."""
        ...

    async def add(self, epoch: int, record: KeyRecord, proving: bytes, verifying: bytes) -> None:
        """Store a key, unless there is one of this kind already; a retired one is whole again."""
        ...

    async def needed(self, pool: str) -> set[tuple[str, str]]:
        """Key id and version of every key that unfinished work of a pool was queued with."""
        ...

    async def retire(self, epoch: int, current: Collection[tuple[str, str]], grace: float) -> None:
        """Drop the proving sides that were not `current` for `grace` seconds and serve no work."""
        ...


@dataclass(frozen=True, slots=True)
class Submission:
    """A result as a worker reported it.

    Args:
        output: of work that yields no proof: a JSON text in UTF-8, None for nothing.
        proof, metadata, merkle_root: a proof, and what its maker says about it.
    """

    duration_ms: int
    output: bytes | None = None
    proof: bytes = b""
    metadata: Mapping[str, object] = field(default_factory=dict)
    merkle_root: str = ""


@record
class Verdict:
    """Whether a submission is accepted: with the result to keep, or with the reason why not."""

    accepted: bool
    result: Result | None = None
    reason: str = ""


class Acceptance(Protocol):
    """Looks at results before anyone is told that they exist."""

    async def judge(
        self, items: Sequence[tuple[Statement, Submission]]
    ) -> list[Verdict | EngineError]:
        """One verdict for each item; an error where it can't be judged now."""
        ...


class Meter(Protocol):
    """Counts what happens."""

    def assigned(self, moved: Sequence[Moved]) -> None:
        """Workloads were given to workers."""
        ...

    def assigning_failed(self) -> None:
        """A round of scheduling could not be stored."""
        ...

    def polled(self) -> None:
        """A round of scheduling began."""
        ...

    def ended(self, moved: Sequence[Moved]) -> None:
        """Workloads moved on a worker's report or by recovery."""
        ...

    def noted(self, kind: str, count: int) -> None:
        """Workers told something on the way: `progress`, `checkpoint` or `log`."""
        ...

    def fenced(self, kind: str) -> None:
        """A write was refused: of an old `generation`, or of an old `epoch`."""
        ...

    def quarantined(self, worker_id: str) -> None:
        """A worker was found lying."""
        ...

    def retired(self, count: int) -> None:
        """Finished work was deleted, as it was kept long enough."""
        ...
