"""Connections to storage nodes: TLS both ways, and those that are not ours."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from muster_kv_coordinator.app import KvCoordinator
from muster_kv_coordinator.config import KvConfig
from muster_runtime.config import ConfigError
from muster_testing.authority import Authority
from muster_testing.waiting import eventually

from .harness import serving, settings
from .nodes import MemoryNode

pytestmark = pytest.mark.integration


def _files(home: Path, authority: Authority, name: str) -> dict[str, str]:
    """A certificate as keys of a configuration."""
    authority.write(home / f"{name}-ca.crt")
    authority.issue(name, home / name, addresses=["127.0.0.1"])
    return {
        "ca_file": str(home / f"{name}-ca.crt"),
        "cert_file": str(home / f"{name}.crt"),
        "key_file": str(home / f"{name}.key"),
    }


def _mutual(files: dict[str, str]) -> ssl.SSLContext:
    """A node's context, which wants certificates of its authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files["ca_file"])
    context.load_cert_chain(files["cert_file"], files["key_file"])
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def _added(kv: Any, node: MemoryNode) -> None:
    member = node.member
    answer = await kv.grpc.call(
        "AddStorageNode", node_id=member.node_id, host=member.host, port=member.port
    )
    assert answer.success, answer.error_message


async def test_nodes_and_coordinators_show_each_other_certificates(
    dsn: str, tmp_path: Path
) -> None:
    ours, others = Authority("ours"), Authority("others")
    node_files = _files(tmp_path, ours, "node")
    node = MemoryNode("n-1")
    await node.server.start("127.0.0.1", 0, _mutual(node_files))
    try:
        stranger = _files(tmp_path, others, "stranger")
        # One who trusts the node, and shows a certificate that it does not trust.
        unknown = stranger | {"ca_file": node_files["ca_file"]}
        for files, let_in in (
            (_files(tmp_path, ours, "coordinator"), True),
            (stranger, False),
            (unknown, False),
        ):
            document = settings(dsn, storage=files)
            async with serving(document, tmp_path, ready=False) as kv:
                await _added(kv, node)
                if not let_in:
                    assert not (await kv.grpc.write("a", b"2")).success
                    continue
                await kv.healthy(1)
                made = await kv.grpc.call("CreateTenant", tenant_id="t", replication_factor=1)
                assert made.success, made.error_message
                large = bytes(3_000_000)
                assert (await kv.grpc.write("large", large)).success
                assert (await kv.grpc.read("large")).value == large
                assert (await kv.grpc.write("a", b"1")).success
                assert (await kv.grpc.read("a")).value == b"1"
        assert len(node.takes) == 2
    finally:
        await node.server.close(grace=0.1)


async def test_a_node_of_another_cluster_is_none_of_ours(
    dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = MemoryNode("n-1")
    await node.server.start("127.0.0.1", 0, None)
    try:
        document = settings(dsn, storage={"cluster": "another"})
        async with serving(document, tmp_path, ready=False) as kv:
            await _added(kv, node)
            said = "cluster: 'another'; allowed: 'muster'"
            await eventually(
                lambda: any(getattr(one, "error", "") == said for one in caplog.records),
                what="the coordinator tells why it is refused",
            )
    finally:
        await node.server.close(grace=0.1)


def test_files_that_can_not_be_used_are_told_at_the_start(dsn: str, tmp_path: Path) -> None:
    files = _files(tmp_path, Authority("ours"), "coordinator")
    (tmp_path / "empty").write_text("")
    config = KvConfig.model_validate(settings(dsn, storage=files | {"ca_file": tmp_path / "empty"}))
    with pytest.raises(ConfigError, match=r"storage\.ca_file"):
        KvCoordinator(config, {}, "0.0.0")
