"""A KVCluster: one coordinator, three storage nodes that fsync, PostgreSQL for the metadata."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from bench import cpu_time
from bench.kv.deployment import Deployment
from bench.kv.servers import Server
from muster_testing.authority import Authority
from muster_testing.postgres import PostgresServer

_NODES = 3
_START_SECONDS = 180.0
_UNLIMITED = {"writes_per_minute": -1, "reads_per_minute": -1}


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run Muster.

    Attributes:
        policy: of its tenants.
        coordinator: sections of the coordinator's configuration that differ.
        tls: mutual TLS between coordinator and nodes, and TLS to clients.
        tenants: how many there are.
        opening: how the generator differs.
    """

    policy: Mapping[str, Any] = field(default_factory=dict)
    coordinator: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tls: bool = False
    tenants: int = 1
    opening: Mapping[str, Any] = field(default_factory=dict)


class Files:
    """Certificates of one run, made if they are asked for."""

    def __init__(self, home: Path) -> None:
        self.ca = home / "ca.crt"
        self.cert = home / "server.crt"
        self.key = home / "server.key"
        authority = Authority("bench")
        authority.write(self.ca)
        authority.issue("muster", home / "server", addresses=["127.0.0.1"])

    @property
    def section(self) -> dict[str, str]:
        """As keys of a configuration."""
        return {
            "ca_file": str(self.ca),
            "cert_file": str(self.cert),
            "key_file": str(self.key),
        }


@contextlib.contextmanager
def muster(
    home: Path, postgres: PostgresServer, variant: Variant | None = None
) -> Iterator[Deployment]:
    """A cluster with its data below `home` and a database of its own."""
    how = variant or Variant()
    files = Files(home) if how.tls else None
    with ExitStack() as stack:
        servers = []
        for number in range(_NODES):
            name = f"storage-{number}"
            config = home / f"{name}.yaml"
            config.write_text(json.dumps(_node(name, home, files)))
            servers.append(_python(stack, name, "muster_storage", config))
        wires = {}
        for server in servers:
            ops_port = server.told("ops_port", _START_SECONDS)
            server.until("it is ready", partial(_ready, ops_port), _START_SECONDS)
            wires[server.name] = server.told("port")
        dsn = asyncio.run(postgres.create_database())
        (home / "dsn").write_text(dsn)
        config = home / "coordinator.yaml"
        config.write_text(json.dumps(_coordinator(home, how, files)))
        coordinator = _python(stack, "coordinator", "muster_kv_coordinator", config)
        ports = coordinator.told("ports", _START_SECONDS)
        coordinator.until("it is ready", lambda: _ready(ports["ops"]), _START_SECONDS)
        _fill_in(ports["http"], wires, how, files)
        coordinator.until("its nodes answer", lambda: _healthy(ports["ops"]), _START_SECONDS)
        database = cpu_time.postmaster(postgres.port)
        yield Deployment(
            "muster",
            version("muster-coordinator"),
            (coordinator.pid, *(server.pid for server in servers), database),
            {
                "store": "muster",
                "endpoints": [f"127.0.0.1:{ports['grpc']}"],
                "ca_file": str(files.ca) if files else "",
                **how.opening,
            },
            f"http://127.0.0.1:{ports['ops']}/metrics",
        )


def cache_lookups(deployment: Deployment) -> tuple[float, float]:
    """How often the coordinator looked for a tenant so far, and how often its cache had it."""
    counted = {}
    for line in httpx.get(deployment.metrics, timeout=5.0).text.splitlines():
        name, _, value = line.rpartition(" ")
        counted[name] = value
    hits, misses = (
        float(counted[f"coordinator_cache_{what}_total"]) for what in ("hits", "misses")
    )
    return hits + misses, hits


def _python(stack: ExitStack, name: str, module: str, config: Path) -> Server:
    command = [sys.executable, "-m", module, "--config", str(config)]
    return stack.enter_context(Server(name, command, config.with_suffix(".log")))


def _node(name: str, home: Path, files: Files | None) -> dict[str, Any]:
    own = {
        "node_id": name,
        "host": "127.0.0.1",
        # Free ones, which it tells: nobody can take them before it listens.
        "port": 0,
        "ops_port": 0,
        "data_dir": str(home / name),
        # How full the machine's disk is must not matter.
        **{f"disk_{step}": 100 for step in ("warn", "large", "all")},
    }
    return {"storage": own, **({"tls": files.section} if files else {})}


def _coordinator(home: Path, how: Variant, files: Files | None) -> dict[str, Any]:
    document: dict[str, dict[str, Any]] = {
        "server": {
            "host": "127.0.0.1",
            "port": 0,
            "http_port": 0,
            "node_id": "coordinator",
        },
        "metrics": {"port": 0},
        "database": {"dsn_file": str(home / "dsn"), "min_connections": 1},
        "limits": dict(_UNLIMITED),
    }
    if files:
        own = {"cert_file": str(files.cert), "key_file": str(files.key)}
        document["tls"] = {"mode": "server", **own}
        document["storage"] = files.section
    for name, section in how.coordinator.items():
        document[name] = {**document.get(name, {}), **section}
    return document


def _fill_in(http_port: int, nodes: Mapping[str, int], how: Variant, files: Files | None) -> None:
    """Add the nodes and make the tenants."""
    scheme = "https" if files else "http"
    with httpx.Client(
        base_url=f"{scheme}://127.0.0.1:{http_port}",
        verify=str(files.ca) if files else True,
        timeout=30.0,
    ) as client:
        for name, port in nodes.items():
            body = {"node_id": name, "host": "127.0.0.1", "port": port}
            _done(client.post("/v1/admin/storage-nodes", json=body))
        for number in range(how.tenants):
            body = {
                "tenant_id": f"tenant-{number:04}",
                "replication_factor": _NODES,
                "policy": {**_UNLIMITED, **how.policy},
            }
            _done(client.post("/v1/tenants", json=body))


def _done(answer: httpx.Response) -> None:
    if not answer.is_success:
        raise RuntimeError(f"{answer.request.url}: {answer.text}")


def _ready(ops_port: int) -> bool:
    return _get(ops_port, "/ready").status_code == 200


def _healthy(ops_port: int) -> bool:
    found = _get(ops_port, "/ready").json()["storage_nodes"]
    return list(found.values()).count("healthy") == _NODES


def _get(ops_port: int, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{ops_port}{path}", timeout=5.0)
