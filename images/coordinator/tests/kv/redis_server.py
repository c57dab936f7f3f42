"""A real Redis of the tests' own."""

import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from muster_testing.ports import free_port
from muster_testing.waiting import eventually


class RedisServer:
    """A server on a free port of the loopback address; keeps nothing, and asks for a password."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.password = "opensesame"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("no redis-server; install it (Debian: apt-get install redis-server)")
        own = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._home)]
        kept = ["--save", "", "--appendonly", "no", "--requirepass", self.password]
        self._process = _spawn([program, *own, *kept])

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        await eventually(listens, what="Redis listens")

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _spawn(command: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)
