"""A TCP port that nobody uses."""

import socket


def free_port() -> int:
    """One of the loopback address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
