"""Servers under load: processes in groups of their own, which never outlive the bench."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

_SECONDS_TO_END = 20.0


class Server:
    """A server process; it and all that it started end with the context, however that ends.

    The kernel kills the server too where this process is killed.

    Args:
        log: where its output goes.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of its process, and of its group."""
        return self._process.pid

    def until(self, what: str, probe: Callable[[], object], deadline: float = 60.0) -> None:
        """Wait until `probe` returns something true; that nobody answers it means not yet.

        Raises:
            RuntimeError: the server ended, or it is not so after `deadline` seconds.
        """
        end = time.monotonic() + deadline
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended before {what}: {self._tail()}")
            with contextlib.suppress(OSError, httpx.HTTPError):
                if probe():
                    return
            if time.monotonic() >= end:
                waited = f"not true in {deadline:g} s that {what}"
                raise RuntimeError(f"{self.name}: {waited}: {self._tail()}")
            time.sleep(0.1)

    def told(self, name: str, deadline: float = 60.0) -> Any:
        """Wait until a line of its log, each of which is JSON, has a field; what it holds.

        Raises:
            RuntimeError: as `until`.
        """
        found: list[Any] = []

        def probe() -> bool:
            lines = self._log.read_text(errors="replace").splitlines()
            for line in lines:
                with contextlib.suppress(ValueError):
                    said = json.loads(line)
                    if isinstance(said, dict) and name in said:
                        found.append(said[name])
                        return True
            return False

        self.until(f"it tells its {name}", probe, deadline)
        return found[0]

    def stop(self) -> None:
        """End the whole group: in order if it can, by SIGKILL after 20 s."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_END)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def listening(host: str, port: int) -> bool:
    """Whether somebody takes connections there.

    Raises:
        OSError: nobody does.
    """
    with socket.create_connection((host, port), timeout=1.0):
        return True
