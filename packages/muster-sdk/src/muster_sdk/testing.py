"""Runs a workload without a worker, for the tests of its author."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from muster_sdk.errors import Stopped
from muster_sdk.wish import Wish
from muster_sdk.workload import Context, Environment, Level, Task, Workload


@dataclass
class Bench(Context):
    """A context that keeps all it is told.

    Attributes:
        stop_at: the safe point, counted from 1, at which `stop_wish` is first wished; None never.
    """

    stop_at: int | None = None
    stop_wish: Wish = Wish.PAUSE
    reports: list[tuple[float, str]] = field(default_factory=list)
    lines: list[tuple[Level, str]] = field(default_factory=list)
    saved: list[bytes] = field(default_factory=list)
    safe_points: int = 0

    @property
    def wish(self) -> Wish:
        """See `Context`."""
        reached = self.stop_at is not None and self.safe_points >= self.stop_at
        return self.stop_wish if reached else Wish.NONE

    def progress(self, percent: float, message: str = "") -> None:
        """See `Context`."""
        self.reports.append((percent, message))

    def log(self, message: str, level: Level = "info") -> None:
        """See `Context`."""
        self.lines.append((level, message))

    def save(self, checkpoint: bytes) -> None:
        """See `Context`."""
        self.saved.append(checkpoint)

    def safe_point(self) -> None:
        """See `Context`."""
        self.safe_points += 1
        self.stop_if_wished()


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        result: as JSON would give it back; None where the run was stopped.
        checkpoint: what a stopped run can go on from.
    """

    result: Any = None
    stopped: bool = False
    checkpoint: bytes | None = None


def run(
    workload: Workload,
    given: Mapping[str, Any],
    *,
    context: Context | None = None,
    checkpoint: bytes | None = None,
    options: Mapping[str, Any] | None = None,
) -> Outcome:
    """Init, execute and close a workload, as a worker does.

    Args:
        given: the input.
        checkpoint: what an earlier run left.
        options: of the worker's configuration.

    Raises:
        Exception: whatever `init` and `execute` raise.
    """
    workload.init(Environment("test", options or {}))
    try:
        task = Task("test", given, checkpoint)
        result = workload.execute(task, context or Bench())
        return Outcome(json.loads(json.dumps(result)))
    except Stopped:
        return Outcome(stopped=True, checkpoint=workload.checkpoint())
    finally:
        workload.close()
