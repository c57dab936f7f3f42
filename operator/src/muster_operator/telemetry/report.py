"""A coordinator's answer, as the operator needs it; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class ReportError(Exception):
    """The answer is not of the agreed form."""


@dataclass(frozen=True, slots=True)
class QueueNumbers:
    """Unfinished tasks of one pool, and the age of the oldest waiting one in seconds."""

    pending: int = 0
    assigned: int = 0
    in_progress: int = 0
    oldest_pending_seconds: int | None = None

    @property
    def outstanding(self) -> int:
        """All unfinished tasks."""
        return self.pending + self.assigned + self.in_progress

    def __add__(self, other: "QueueNumbers") -> "QueueNumbers":
        ages = [
            age
            for age in (self.oldest_pending_seconds, other.oldest_pending_seconds)
            if age is not None
        ]
        return QueueNumbers(
            self.pending + other.pending,
            self.assigned + other.assigned,
            self.in_progress + other.in_progress,
            max(ages, default=None),
        )


@dataclass(frozen=True, slots=True)
class Worker:
    """What a coordinator knows of a worker.

    Args:
        status: in its words, as in ACTIVE.
        reason: why it stands as it does.
        until: when its quarantine ends, in ISO 8601; empty where there is none.
    """

    pool: str = ""
    status: str = ""
    reason: str = ""
    until: str = ""

    @property
    def active(self) -> bool:
        """Whether it is given work."""
        return self.status == "ACTIVE"

    @property
    def quarantined(self) -> bool:
        """Whether it gets nothing because it lied."""
        return self.status == "QUARANTINED"


@dataclass(frozen=True, slots=True)
class Report:
    """What a coordinator said.

    Args:
        queues: by pool.
        loads: tasks that each worker has, by worker id, which is its pod's name.
        keys: version by key id, by pool.
        leader: the replica that leads; empty where there is none.
        workers: those that it knows, by worker id.
    """

    queues: Mapping[str, QueueNumbers] = field(default_factory=dict)
    loads: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    leader: str = ""
    workers: Mapping[str, Worker] = field(default_factory=dict)

    def queue(self, pool: str) -> QueueNumbers:
        """The numbers of `pool`; zeros where it has never had a task."""
        return self.queues.get(pool, QueueNumbers())

    @property
    def total(self) -> QueueNumbers:
        """The numbers of all pools together."""
        return sum(self.queues.values(), QueueNumbers())


def parse_report(queue: Mapping[str, Any], workers: Mapping[str, Any]) -> Report:
    """Read the answers of `/queue` and `/workers`.

    Raises:
        ReportError: a field is missing or of the wrong type.
    """
    try:
        keys: dict[str, dict[str, str]] = {}
        for key in queue.get("keys", []):
            keys.setdefault(key["pool"], {})[key["key_id"]] = key["version"]
        return Report(
            queues={entry["pool"]: _numbers(entry) for entry in queue["pools"]},
            loads={entry["worker_id"]: int(entry["active_tasks"]) for entry in workers["workers"]},
            workers={entry["worker_id"]: _worker(entry) for entry in workers["workers"]},
            keys=keys,
            leader=queue.get("leader") or "",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"not the agreed form: {error!r}") from error


def _worker(entry: Mapping[str, Any]) -> Worker:
    return Worker(
        pool=str(entry.get("pool") or ""),
        status=str(entry.get("status") or ""),
        reason=str(entry.get("reason") or ""),
        until=str(entry.get("quarantined_until") or ""),
    )


def _numbers(entry: Mapping[str, Any]) -> QueueNumbers:
    oldest = entry.get("oldest_pending_seconds")
    return QueueNumbers(
        int(entry["pending"]),
        int(entry["assigned"]),
        int(entry["in_progress"]),
        None if oldest is None else int(oldest),
    )
