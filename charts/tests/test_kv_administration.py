"""The operator administrates a real coordinator of a KVCluster, over TLS and with its own tokens.

The operator does not import the coordinator, so that nothing but this test keeps their words the
same.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from muster_api.kv_tenants import KVTenant
from muster_api.kvcluster import KVClusterSpec
from muster_kv_coordinator.app import KvCoordinator, Ports
from muster_kv_coordinator.config import KvConfig
from muster_operator.certificates import Subject, Usage, issue, new_authority
from muster_operator.reconcile.kv.access import Access, tls_context
from muster_operator.reconcile.kv.client import AnswerError, Faces, Member, StoreClient
from muster_operator.reconcile.kv.size import Size, Sizing, settle_size
from muster_operator.reconcile.kv.store import Wanted, settle_store
from muster_operator.resources import Key
from muster_testing.ports import free_port
from muster_testing.waiting import eventually

pytestmark = pytest.mark.integration

SECRET = "s" * 43
CLUSTER = Key("KVCluster", "data", "demo")
ACME = KVTenant(name="acme", replication_factor=2, reads_per_minute=-1)


@contextlib.asynccontextmanager
async def serving(config: dict[str, Any]) -> AsyncIterator[Ports]:
    """A coordinator in this process."""
    coordinator = KvCoordinator(KvConfig.model_validate(config), {}, "test")
    stop = asyncio.Event()
    running = asyncio.create_task(coordinator.run(stop))

    def ports() -> Ports | None:
        assert not running.done(), running
        return coordinator.ports

    try:
        yield await eventually(ports, what="it serves")
    finally:
        stop.set()
        assert await running == 0


@pytest.fixture
def folder(tmp_path: Path, dsn: str) -> Path:
    """The files of a coordinator, as its pod has them."""
    now = datetime.now(UTC)
    authority = new_authority("a", now)
    server = issue(authority, Subject(("localhost",), Usage.SERVER), now)
    client = issue(authority, Subject(("operator",), Usage.CLIENT), now)
    files = {
        "ca.crt": authority.certificates,
        "tls.crt": server.certificate,
        "tls.key": server.key,
        "client.crt": client.certificate,
        "client.key": client.key,
        "dsn": dsn.encode(),
        "keys": b"k" * 40,
        "admin": SECRET.encode(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def configuration(folder: Path, ops_port: int) -> dict[str, Any]:
    """What `children.kv.config` writes, but with these files and free ports."""
    return {
        "server": {"host": "localhost", "port": 0, "http_port": 0, "shutdown_timeout": "2s"},
        "database": {
            "dsn_file": str(folder / "dsn"),
            "max_connections": 5,
            "min_connections": 1,
        },
        "tls": {
            "mode": "mutual",
            "cert_file": str(folder / "tls.crt"),
            "key_file": str(folder / "tls.key"),
            "ca_file": str(folder / "ca.crt"),
        },
        "auth": {
            "mode": "jwt",
            "secret_file": str(folder / "keys"),
            "admin_secret_file": str(folder / "admin"),
            "issuer": "https://issuer.example",
            "audience": "store",
        },
        "metrics": {"port": ops_port},
    }


async def test_what_the_operator_asks_is_understood(folder: Path) -> None:
    ops = free_port()
    pair = {"tls.crt": "client.crt", "tls.key": "client.key"}
    shown = {key: (folder / name).read_bytes() for key, name in pair.items()}
    tls = tls_context({"ca.crt": (folder / "ca.crt").read_bytes()}, shown)
    async with serving(configuration(folder, ops)) as ports:
        faces = Faces(f"localhost:{ports.http}", f"localhost:{ops}")
        async with StoreClient(faces, Access(tls)) as stranger:
            with pytest.raises(AnswerError, match="UNAUTHORIZED"):
                await stranger.members()
        async with StoreClient(faces, Access(tls, SECRET.encode())) as client:
            running = {f"demo-kv-storage-{number}": "" for number in range(3)}
            spec = KVClusterSpec(replicas=3, tenants=[ACME])
            state = await settle_store(client, Wanted(CLUSTER, spec, 3, running=running))
            assert (state.silent, state.refusal) == ("", "")
            assert (state.members, state.present, state.settled) == (3, 1, 1)
            assert state.topology is not None
            # No storage node answers there.
            assert state.topology.under_replicated == 450
            assert state.factor == 2
            again = await settle_store(client, Wanted(CLUSTER, spec, 3, running=running))
            assert again == state
            changed = KVClusterSpec(tenants=[ACME.model_copy(update={"writes_per_minute": -1})])
            state = await settle_store(client, Wanted(CLUSTER, changed, 3, running=running))
            assert state.settled == 1
            assert (await client.tenant("acme") or {})["policy"]["writes_per_minute"] == -1
            last = "demo-kv-storage-2"
            asked = await settle_size(client, Sizing("demo", 3, 2))
            assert asked == Size(3, leaving=(last,))
            # Not before the status says so.
            assert (await client.members())[last].status == "active"
            assert await settle_size(client, Sizing("demo", 3, 2, (last,))) == asked
            assert (await client.members())[last].status == "draining"
            assert await settle_size(client, Sizing("demo", 3, 2, (last,))) == asked
            topology = await client.topology()
            assert [(each.type, each.of) for each in topology.work] == [("node_deletion", last)]
            # It is wanted again.
            assert await settle_size(client, Sizing("demo", 3, 3, (last,))) == asked
            assert (await client.members())[last].status == "active"
            assert await settle_size(client, Sizing("demo", 3, 3, (last,))) == Size(3)
            # One comes, and is wanted no more.
            coming = "demo-kv-storage-3"
            await client.add(coming, Member("localhost", 1, "active"))
            assert (await client.members())[coming].status == "joining"
            asked = await settle_size(client, Sizing("demo", 4, 3))
            assert asked == Size(4, leaving=(coming,))
            gone = await settle_size(client, Sizing("demo", 4, 3, (coming,)))
            assert gone == Size(3, left=coming)
            await settle_size(client, Sizing("demo", 3, 2, (last,)))
            # Neither the operator asks for more, nor is it granted.
            refused = await settle_size(client, Sizing("demo", 2, 1))
            assert refused == Size(2, refusal="tenants want 2 replicas", fewest=2)
            with pytest.raises(AnswerError, match=r"NODE_IN_USE.* 1 would remain, and tenants"):
                await client.remove("demo-kv-storage-1")
