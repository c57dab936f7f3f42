"""Free TCP ports."""

import random
import socket
from pathlib import Path

_FIRST = 10_000
# Above it are those that Kubernetes gives to services.
_LAST = 29_999
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 1000


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now.

    It is none that the kernel gives away by itself, so no connection that goes out takes it before
    somebody listens on it; drawn at random, it is hardly another's choice either.

    Raises:
        OSError: none was found.
    """
    last = min(_LAST, int(_EPHEMERAL.read_text().split()[0]) - 1)
    for _ in range(_TRIES):
        port = random.randint(_FIRST, last)  # noqa: S311 - no secret
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port found between {_FIRST} and {last}")
