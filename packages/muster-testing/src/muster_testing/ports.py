"""Free TCP ports."""

import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

_FIRST = 10_000
# Above it are those that Kubernetes gives to services.
_LAST = 29_999
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 1000

_given: set[int] = set()


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now.

    It is none that the kernel gives away by itself, so no connection that goes out takes it before
    somebody listens on it; and it is this process's until that ends: no other process of tests is
    given it, also while nobody listens.

    Raises:
        OSError: none was found.
    """
    last = min(_LAST, int(_EPHEMERAL.read_text().split()[0]) - 1)
    for _ in range(_TRIES):
        port = random.randint(_FIRST, last)  # noqa: S311 - no secret
        if port not in _given and _reserved(port) and _can_be_bound(port):
            _given.add(port)
            return port
    raise OSError(f"no free port found between {_FIRST} and {last}")


def _reserved(port: int) -> bool:
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):
        return False
    return True


@functools.cache
def _reservations() -> IO[bytes]:
    """A file of which a process locks the byte of each port that it was given.

    The locks go with the process, or with the first time that it closes the file.
    """
    return (Path(tempfile.gettempdir()) / f"muster-test-ports-{os.geteuid()}").open("ab")


def _can_be_bound(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
