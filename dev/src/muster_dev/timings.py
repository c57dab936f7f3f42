"""Where the time of a long run went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster_dev.steps import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muster_dev.steps import Step, Steps

# A shorter step is not worth a line.
_WORTH_A_LINE_S = 2.0


@dataclass(frozen=True)
class Part:
    """A part of a run, its seconds, and the steps that ended in it."""

    title: str
    seconds: float
    steps: Sequence[Step]


class Timings:
    """Notes the parts of a run."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._parts: list[Part] = []

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """Note how long the block takes, and which steps end in it; also when it fails."""
        began, first = time.monotonic(), len(self._steps.ended)
        try:
            yield
        finally:
            steps = self._steps.ended[first:]
            self._parts.append(Part(title, time.monotonic() - began, steps))

    def table(self) -> str:
        """Return a line for each part and each step that was not short."""
        lines = ["", "How long it took (steps of a part may run side by side):"]
        for part in self._parts:
            lines.append(f"{duration(part.seconds):>8}  {part.title}")
            long = [step for step in part.steps if step.elapsed >= _WORTH_A_LINE_S]
            lines += [f"{duration(step.elapsed):>17}  {step.title}" for step in long]
        total = sum(part.seconds for part in self._parts)
        return "\n".join([*lines, f"{duration(total):>8}  altogether"])
