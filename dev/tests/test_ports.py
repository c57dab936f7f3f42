import os
import socket

import pytest

from muster_dev import ports
from muster_dev.errors import SetupError

TABLE = """  sl  local_address rem_address   st tx_rx             tr_when     retr uid tmo inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 0 0 0 111 1
   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 0 0 0 222 1
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 0 0 0 333 1
"""


@pytest.fixture
def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_busy_port_is_passed_over(listener: socket.socket) -> None:
    with listener:
        port = listener.getsockname()[1]
        assert ports.busy(port)
        assert ports.free(port) > port


def test_a_port_that_is_spoken_for_is_passed_over(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    assert ports.free(port, [port]) > port


def test_the_holder_of_a_busy_port_is_named(listener: socket.socket) -> None:
    with listener:
        port = listener.getsockname()[1]
        with pytest.raises(
            SetupError, match=rf"Port {port} is in use by .+ \(process {os.getpid()}\)"
        ):
            ports.require_free(port)


def test_only_listening_sockets_hold_a_port() -> None:
    assert ports.listening_inodes(TABLE, 8080) == {"111"}
    assert ports.listening_inodes(TABLE, 80) == {"333"}
    assert ports.listening_inodes(TABLE, 81) == set()
