"""Run test suites side by side: they mostly wait, for servers that they start themselves."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from muster_dev import shell
from muster_dev.background import Background
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

    from muster_dev.workspace import Workspace

CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Suite:
    """Tests that one program runs; ``again`` is what a person types to run them alone."""

    title: str
    argv: Sequence[str]
    again: str
    env: Mapping[str, str] = field(default_factory=dict)
    # The exit code that says that it has none of the tests that were asked for.
    empty: int | None = None
    # Made when it passes.
    passed: Path | None = None


class Run:
    """One run of some suites, the first ones begun first, and ``at_once`` side by side."""

    def __init__(self, work: Workspace, suites: Sequence[Suite], at_once: int) -> None:
        self._work = work
        self._at_once = at_once
        self._waiting = deque(suites)
        self._failed: list[Suite] = []
        self._ran = False

    def all(self) -> bool:
        """Run every suite, also when one fails; what a suite prints is shown at its end.

        Returns whether any suite had a test. Raises SetupError naming those that failed.
        """
        try:
            for running in [Background(self._next) for _ in range(self._at_once)]:
                running.wait()
        finally:
            # After an interruption nothing more is begun.
            self._waiting.clear()
        if self._failed:
            titles = "; ".join(suite.title for suite in self._failed)
            alone = "\n  ".join(suite.again for suite in self._failed)
            hint = f"Run again what failed:\n  {alone}"
            raise SetupError(f"{titles}: failed, see above.", hint=hint)
        return self._ran

    def _next(self) -> None:
        while True:
            try:
                suite = self._waiting.popleft()
            except IndexError:
                return
            self._one(suite)

    def _one(self, suite: Suite) -> None:
        with self._work.steps.step(suite.title) as step:
            code, said = shell.capture(suite.argv, env=suite.env, cwd=self._work.paths.repo)
            if code == suite.empty:
                step.note("no such tests")
                return
            self._ran = True
            if code != 0:
                step.failed = True
                self._failed.append(suite)
            elif suite.passed is not None:
                suite.passed.parent.mkdir(parents=True, exist_ok=True)
                suite.passed.touch()
        self._work.steps.say(f"{said.rstrip()}\n")
