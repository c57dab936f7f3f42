"""Our own services as processes: what they log, which ports they took, how they end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

from muster_testing.waiting import eventually


class Process:
    """A running service; its log is read all the time, as JSON lines.

    Args:
        command: what Python is started with, such as `-m`, a module and its arguments.
        environment: of the process, besides that of this one.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self.lines: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    async def bound(self, deadline: float = 120.0) -> dict[str, int]:
        """Wait until it has told its ports; by name.

        Raises:
            RuntimeError: it ended before; the log is in the text.
        """

        def told() -> dict[str, int] | None:
            if self.process.poll() is not None:
                raise RuntimeError(f"the process stopped: {self.lines}")
            found: list[dict[str, int]] = [line["ports"] for line in self.lines if "ports" in line]
            return found[0] if found else None

        return cast(
            "dict[str, int]", await eventually(told, deadline=deadline, what="the process serves")
        )

    def said(self, message: str) -> bool:
        """Whether a message was logged."""
        return any(line["message"] == message for line in self.lines)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def exit_status(self) -> int:
        """Wait for the end, when all that it has logged is known."""
        status = await asyncio.to_thread(self.process.wait, 120)
        # What it started may still hold its log.
        await asyncio.to_thread(self._reader.join, 60)
        return status

    def close(self) -> None:
        """Kill what is left."""
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        if self.process.stderr is None:
            raise RuntimeError("its log is not read")
        with self.process.stderr as stream:
            for line in stream:
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    self.lines.append({"message": line})
