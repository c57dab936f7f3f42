"""Say what is being done, how long it took, and what to look at when it failed.

On a terminal the line of a running step counts its seconds and is overwritten at its end. In CI
each step is one line at its end, and one line a minute while it lasts.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from muster_dev.shell import tail

if TYPE_CHECKING:
    from muster_dev.errors import SetupError

CI_REMINDER_S = 60.0
TERMINAL_TICK_S = 0.5


def duration(seconds: float) -> str:
    """Write a duration for people: ``0.4s``, ``12s``, ``6m02s``."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    return f"{whole // 60}m{whole % 60:02d}s"


class Step:
    """One running step; ``note`` adds what came out of it to its line."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.notes: list[str] = []
        self.started = time.monotonic()
        self.ended: float | None = None
        # Set by a block that goes on in spite of it.
        self.failed = False

    def note(self, text: str) -> None:
        """Add a few words to the line of this step."""
        self.notes.append(text)

    @property
    def elapsed(self) -> float:
        """Seconds since the step began, or that it took."""
        return (time.monotonic() if self.ended is None else self.ended) - self.started

    @property
    def line(self) -> str:
        """The title with its notes."""
        return f"{self.title} ({', '.join(self.notes)})" if self.notes else self.title


class Steps:
    """Prints the steps of one run; steps may run in several threads at once."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._terminal = self._out.isatty()
        self._lock = threading.Lock()
        self._running: list[Step] = []
        self._drawn = False
        # In the order of their ends.
        self.ended: list[Step] = []

    @contextmanager
    def attended(self, title: str) -> Iterator[None]:
        """Print a step's beginning and end while something in the block prints for itself."""
        step = Step(title)
        self.say(f"\n== {title}")
        mark = "FAIL"
        try:
            yield
            mark = "ok"
        finally:
            with self._lock:
                self._end(mark, step)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Print a step while the block runs."""
        step = Step(title)
        ended = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(step, ended), daemon=True)
        with self._lock:
            self._running.append(step)
            self._draw()
        ticker.start()
        mark = "FAIL"
        try:
            yield step
            mark = "FAIL" if step.failed else "ok"
        finally:
            ended.set()
            with self._lock:
                self._running.remove(step)
                self._end(mark, step)
                self._draw()

    def say(self, text: str) -> None:
        """Print a line between the steps."""
        with self._lock:
            self._erase()
            self._out.write(f"{text}\n")
            self._draw()

    def failed(self, failure: SetupError) -> None:
        """Print why the run ends here, the end of the log, and what to do."""
        lines = ["", f"error: {failure}"]
        if failure.log is not None:
            lines += [f"  | {line}" for line in tail(failure.log).splitlines()]
            lines.append(f"  the whole log: {failure.log}")
        if failure.hint:
            lines.append(f"  {failure.hint}")
        self.say("\n".join(lines))

    def _end(self, mark: str, step: Step) -> None:
        step.ended = time.monotonic()
        self.ended.append(step)
        self._print(mark, step)

    def _print(self, mark: str, step: Step) -> None:
        self._erase()
        if self._terminal:
            colour = "\033[32m" if mark == "ok" else "\033[31m"
            mark = f"{colour}{mark:>4}\033[0m"
        self._out.write(f"{mark:>4} {duration(step.elapsed):>6}  {step.line}\n")
        self._out.flush()

    def _tick(self, step: Step, ended: threading.Event) -> None:
        while not ended.wait(TERMINAL_TICK_S if self._terminal else CI_REMINDER_S):
            with self._lock:
                if ended.is_set():
                    return
                if self._terminal:
                    self._draw()
                else:
                    self._print("...", step)

    def _draw(self) -> None:
        if self._terminal and self._running:
            self._erase()
            names = "; ".join(f"{step.title} {duration(step.elapsed)}" for step in self._running)
            self._out.write(f" ... {names[:110]}")
            self._drawn = True
        self._out.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._out.write("\r\033[K")
            self._drawn = False
