"""Ports of this machine: which are free, and who holds one that is not."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from pathlib import Path

from muster_dev.errors import SetupError
from muster_dev.processes import everybody

_PROC = Path("/proc")
_LISTENING = "0A"


def free(start: int, taken: Iterable[int] = ()) -> int:
    """Return the first port from ``start`` on that nobody listens on and that is not in ``taken``.

    Raises SetupError when there is none among the next thousand.
    """
    avoid = set(taken)
    for port in range(start, min(start + 1000, 65536)):
        if port not in avoid and not busy(port):
            return port
    raise SetupError(f"No port from {start} to {start + 999} is free.")


def require_free(port: int) -> None:
    """Raise SetupError, naming the holder, when somebody listens on a port."""
    if busy(port):
        raise SetupError(
            f"Port {port} is in use by {holder(port)}.",
            hint="Stop it, or choose another port.",
        )


def busy(port: int) -> bool:
    """Tell whether somebody listens on a port of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def holder(port: int) -> str:
    """Name the process that listens on a port, as far as this user may see it."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        path = _PROC / "net" / table
        if path.exists():
            inodes |= listening_inodes(path.read_text(encoding="utf-8"), port)
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for process in everybody():
        if sockets & _open_files(process):
            name = (_PROC / str(process) / "comm").read_text(encoding="utf-8").strip()
            return f"{name} (process {process})"
    return "a process of another user"


def _open_files(process: int) -> set[str]:
    try:
        return {link.resolve().name for link in (_PROC / str(process) / "fd").iterdir()}
    except OSError:
        # It has ended meanwhile, or belongs to another user.
        return set()


def listening_inodes(table: str, port: int) -> set[str]:
    """Return the sockets that listen on a port, from the text of ``/proc/net/tcp``."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTENING and int(fields[1].rsplit(":", 1)[1], 16) == port:
            found.add(fields[9])
    return found
