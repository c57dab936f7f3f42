"""Three members of etcd, every write fsynced, as is its default."""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from bench.kv.deployment import Deployment
from bench.kv.servers import Server
from muster_testing.ports import free_port
from muster_testing.programs import find_program

_MEMBERS = 3
_MISSING = "no etcd: run `make cluster` once, which builds it"


@contextlib.contextmanager
def etcd(home: Path) -> Iterator[Deployment]:
    """A cluster with its data below `home`, spoken to at its leader, which saves it a hop."""
    program = str(find_program("etcd", _MISSING))
    names = [f"etcd-{number}" for number in range(_MEMBERS)]
    peers = {name: f"http://127.0.0.1:{free_port()}" for name in names}
    clients = {name: f"http://127.0.0.1:{free_port()}" for name in names}
    members = ",".join(f"{name}={url}" for name, url in peers.items())
    with ExitStack() as stack:
        servers = []
        for name in names:
            command = [
                program,
                f"--name={name}",
                f"--data-dir={home / name}",
                f"--listen-peer-urls={peers[name]}",
                f"--initial-advertise-peer-urls={peers[name]}",
                f"--listen-client-urls={clients[name]}",
                f"--advertise-client-urls={clients[name]}",
                f"--initial-cluster={members}",
                "--initial-cluster-state=new",
                # A busy machine must not make it elect another leader.
                "--heartbeat-interval=500",
                "--election-timeout=5000",
                "--log-level=warn",
            ]
            servers.append(stack.enter_context(Server(name, command, home / f"{name}.log")))
        for server in servers:
            server.until("it knows a leader", partial(_leader, clients[server.name]))
        [leading] = [url for url in clients.values() if _leads(url)]
        yield Deployment(
            "etcd",
            _ask(leading)["version"],
            tuple(server.pid for server in servers),
            {"store": "etcd", "endpoints": [leading.removeprefix("http://")]},
        )


def _leader(url: str) -> str:
    return str(_ask(url).get("leader", ""))


def _leads(url: str) -> bool:
    status = _ask(url)
    return bool(status["leader"] == status["header"]["member_id"])


def _ask(url: str) -> dict[str, Any]:
    answer = httpx.post(f"{url}/v3/maintenance/status", json={}, timeout=5.0)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found
