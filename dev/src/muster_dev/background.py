"""Work that goes on beside the main line of a run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Background:
    """One task in a thread of its own; whoever needs its result waits for it.

    The thread does not keep a run alive that has failed otherwise.
    """

    def __init__(self, task: Callable[[], object]) -> None:
        self._task = task
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end of the task; raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._task()
        except Exception as error:  # noqa: BLE001 -- it is raised where it is waited for
            self._error = error
