"""A real NATS server of the tests' own, thrown away at the end."""

import json
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from muster_testing.ports import free_port
from muster_testing.programs import find_program
from muster_testing.waiting import eventually_sync

_PROGRAM_MISSING = "no nats-server: run `make integration` once, which builds it"
_LEAVE_SECONDS = 15.0

MAX_PAYLOAD = 8 * 2**20
"""Bytes that one message may have."""


class NatsServer:
    """A server on a free port of the loopback address, with JetStream in a folder of its own.

    What JetStream has acknowledged is on the disk, as in production.

    Args:
        settings: more of the server's configuration, as in `{"authorization": {"token": "x"}}`.
    """

    def __init__(self, settings: dict[str, Any] | None = None) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="muster-nats-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = settings or {}
        self._monitoring = free_port()
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def configure(self, settings: dict[str, Any]) -> None:
        """Other settings, from the next start on."""
        self._settings = settings

    def start(self) -> None:
        """Start the server and wait until it answers, JetStream included."""
        configuration = self._home / "nats.conf"
        # Its configuration's format takes JSON.
        configuration.write_text(json.dumps(self._document(), indent=2))
        program = find_program("nats-server", _PROGRAM_MISSING)
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "--config", configuration], stdout=log, stderr=log
            )
        eventually_sync(self._answers, deadline=120, every=0.02, what="the NATS server answers")

    def stop(self) -> None:
        """Stop the server as an operator would: connections break, what is stored stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop the server as a crash does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it hang: its connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def lose_storage(self) -> None:
        """Remove all that JetStream has stored; only while it is stopped."""
        if self._process is not None:
            raise RuntimeError("the server runs")
        shutil.rmtree(self._home / "jetstream", ignore_errors=True)

    def _document(self) -> dict[str, Any]:
        return {
            "server_name": "muster-test",
            "host": "127.0.0.1",
            "port": self.port,
            "http": f"127.0.0.1:{self._monitoring}",
            "max_payload": MAX_PAYLOAD,
            "jetstream": {"store_dir": str(self._home / "jetstream"), "sync_interval": "always"},
        } | self._settings

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        # One that hangs would not end otherwise.
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            tail = (self._home / "log").read_text()[-2000:]
            raise RuntimeError(f"nats-server ended: {tail}")
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._monitoring}/healthz", timeout=30
            ) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False
