"""Tokens and certificates, over real connections; and errors that every call may have."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import pytest

from muster_protos import kv_pb2 as pb
from muster_runtime import renewal
from muster_testing.authority import Authority
from muster_testing.waiting import eventually

from .harness import Client, Coordinator, serving, settings
from .nodes import memory_nodes

pytestmark = pytest.mark.integration

SECRET = "s" * 40


def _token(**claims: Any) -> str:
    return jwt.encode({"exp": time.time() + 3600} | claims, SECRET, "HS256")


@asynccontextmanager
async def _guarded(dsn: str, home: Path) -> AsyncIterator[Coordinator]:
    """A coordinator that asks for tokens, with the tenants `t` and `u`; its client is an admin."""
    (home / "secret").write_text(SECRET)
    auth = {"mode": "jwt", "secret_file": str(home / "secret")}
    async with memory_nodes("n-1") as (node,), serving(settings(dsn, auth=auth), home) as kv:
        kv.grpc.token = _token(admin=True)
        await kv.join(node.member)
        for tenant in ("t", "u"):
            made = await kv.grpc.call("CreateTenant", tenant_id=tenant, replication_factor=1)
            assert made.success, made.error_message
        yield kv


async def test_a_tenant_s_token_opens_its_own_data_and_nothing_else(
    dsn: str, tmp_path: Path
) -> None:
    async with _guarded(dsn, tmp_path) as kv:
        kv.grpc.token = _token(tenant="t")
        assert (await kv.grpc.write("a", b"1")).success
        assert (await kv.grpc.call("GetTenant", tenant_id="t")).success
        for answer in (
            await kv.grpc.write("a", b"1", tenant="u"),
            await kv.grpc.read("a", tenant="u"),
            await kv.grpc.delete("a", tenant="u"),
            await kv.grpc.call("ScanKeyValues", tenant_id="u"),
            await kv.grpc.call("GetTenant", tenant_id="u"),
            await kv.grpc.call("CreateTenant", tenant_id="v", replication_factor=1),
            await kv.grpc.call("UpdateTenantPolicy", tenant_id="t"),
            await kv.grpc.call("UpdateReplicationFactor", tenant_id="t"),
            await kv.grpc.call("AddStorageNode", node_id="n-2", host="h", port=1),
            await kv.grpc.call("RemoveStorageNode", node_id="n-1"),
            await kv.grpc.call("ListStorageNodes"),
            await kv.grpc.call("GetMigrationStatus", migration_id="m"),
            await kv.grpc.call("CancelMigration", migration_id="m"),
            await kv.grpc.call("StartRepair", tenant_id="t"),
            await kv.grpc.call("GetRepairStatus", repair_id="r"),
        ):
            assert answer.error_code == pb.FORBIDDEN, answer
        read = pb.Operation(read=pb.ReadKeyValueRequest(tenant_id="u", key="a"))
        write = pb.Operation(write=pb.WriteKeyValueRequest(tenant_id="t", key="b"))
        batch = await kv.grpc.call("Batch", operations=[write, read])
        assert batch.error_code == pb.FORBIDDEN
        assert (await kv.grpc.read("b")).error_code == pb.KEY_NOT_FOUND


async def test_without_a_token_nothing_is_open(dsn: str, tmp_path: Path) -> None:
    async with _guarded(dsn, tmp_path) as kv:
        for token in ("", "nonsense"):
            kv.grpc.token = token
            assert (await kv.grpc.read("a")).error_code == pb.UNAUTHORIZED
            assert (await kv.grpc.call("ListStorageNodes")).error_code == pb.UNAUTHORIZED
        params = {"tenant_id": "t", "key": "a"}
        answer = await kv.http.get("/v1/key-value", params=params)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        headers = {"Authorization": f"Bearer {_token(tenant='u')}"}
        answer = await kv.http.get("/v1/key-value", params=params, headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "FORBIDDEN")


async def test_each_operation_of_a_stream_is_judged(dsn: str, tmp_path: Path) -> None:
    async with _guarded(dsn, tmp_path) as kv:

        async def batches() -> AsyncIterator[pb.BatchRequest]:
            yield pb.BatchRequest(
                operations=[
                    pb.Operation(id=1, read=pb.ReadKeyValueRequest(tenant_id="t", key="a")),
                    pb.Operation(id=2),
                ]
            )

        seen = [one async for answer in kv.grpc.stream(batches()) for one in answer.outcomes]
        codes = {outcome.id: outcome.read.error_code for outcome in seen}
        assert codes == {1: pb.UNAUTHORIZED, 2: pb.INVALID_REQUEST}


async def test_certificates_of_clients(dsn: str, tmp_path: Path) -> None:
    authority = Authority("ours")
    authority.write(tmp_path / "ca.crt")
    authority.issue("server", tmp_path / "server", addresses=["127.0.0.1"])
    authority.issue("operator", tmp_path / "operator")
    authority.issue("someone", tmp_path / "someone")
    (tmp_path / "secret").write_text(SECRET)
    tls = {
        "mode": "mutual",
        "cert_file": str(tmp_path / "server.crt"),
        "key_file": str(tmp_path / "server.key"),
        "ca_file": str(tmp_path / "ca.crt"),
    }
    auth = {
        "mode": "jwt",
        "secret_file": str(tmp_path / "secret"),
        "admin_common_names": ["operator"],
    }
    async with serving(settings(dsn, tls=tls, auth=auth), tmp_path) as kv:
        answers = {}
        for name in ("operator", "someone"):
            client = Client(f"127.0.0.1:{kv.ports.grpc}", _credentials(tmp_path, name))
            answers[name] = await client.call("ListStorageNodes")
            await client.close()
        assert answers["operator"].success
        assert answers["someone"].error_code == pb.UNAUTHORIZED
        stranger = Client(
            f"127.0.0.1:{kv.ports.grpc}",
            grpc.ssl_channel_credentials((tmp_path / "ca.crt").read_bytes()),
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stranger.call("ListStorageNodes")
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        await stranger.close()
        await _https(kv, tmp_path)


async def test_both_ports_use_a_renewed_certificate_and_no_broken_one(
    dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(renewal, "LOOK_SECONDS", 0.05)
    authority = Authority("ours")
    authority.issue("first", tmp_path / "server", addresses=["127.0.0.1"])
    tls = {
        "mode": "server",
        "cert_file": str(tmp_path / "server.crt"),
        "key_file": str(tmp_path / "server.key"),
    }
    async with serving(settings(dsn, tls=tls), tmp_path) as kv:

        async def shown() -> list[str]:
            ports = kv.ports.grpc, kv.ports.http
            return [
                await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
                for port in ports
            ]

        first = (tmp_path / "server.crt").read_text()
        assert await shown() == [first, first]
        # A certificate without its key is what the middle of a rotation looks like.
        authority.issue("second", tmp_path / "next", addresses=["127.0.0.1"])
        (tmp_path / "next.crt").replace(tmp_path / "server.crt")
        follower = renewal.log.name
        await eventually(
            lambda: [one.name for one in caplog.records].count(follower) >= 2,
            what="both have looked at the files",
        )
        assert await shown() == [first, first]
        second = (tmp_path / "server.crt").read_text()
        (tmp_path / "next.key").replace(tmp_path / "server.key")

        async def renewed() -> bool:
            return await shown() == [second, second]

        await eventually(renewed, what="both ports show the renewed certificate")


def _credentials(home: Path, name: str) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        (home / "ca.crt").read_bytes(),
        (home / f"{name}.key").read_bytes(),
        (home / f"{name}.crt").read_bytes(),
    )


async def _https(kv: Coordinator, home: Path) -> None:
    url = f"https://127.0.0.1:{kv.ports.http}/health"
    context = ssl.create_default_context(cafile=home / "ca.crt")
    async with httpx.AsyncClient(verify=context, timeout=60) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(url)
    context.load_cert_chain(home / "someone.crt", home / "someone.key")
    async with httpx.AsyncClient(verify=context, timeout=60) as client:
        assert (await client.get(url)).status_code == 200


async def test_errors_of_a_tenant_that_is_not_there(dsn: str, tmp_path: Path) -> None:
    async with _guarded(dsn, tmp_path) as kv:
        for answer in (
            await kv.grpc.write("a", b"1", tenant="x"),
            await kv.grpc.read("a", tenant="x"),
            await kv.grpc.delete("a", tenant="x"),
            await kv.grpc.call("ScanKeyValues", tenant_id="x"),
            await kv.grpc.call("GetTenant", tenant_id="x"),
        ):
            assert answer.error_code == pb.TENANT_NOT_FOUND
            assert answer.error_message == "TENANT_NOT_FOUND: tenant 'x' does not exist"


async def test_a_tenant_that_asks_too_often(dsn: str, tmp_path: Path) -> None:
    async with _guarded(dsn, tmp_path) as kv:
        policy = pb.TenantPolicy(writes_per_minute=2)
        await kv.grpc.call("UpdateTenantPolicy", tenant_id="t", policy=policy)
        answers = [await kv.grpc.write("a", b"1") for _ in range(3)]
        assert [answer.error_code for answer in answers] == [0, 0, pb.RATE_LIMIT_EXCEEDED]
        assert "more than 2 writes a minute" in answers[2].error_message
        assert (await kv.grpc.read("a")).success
        assert (await kv.grpc.write("a", b"1", tenant="u")).success
        writes = [
            pb.Operation(write=pb.WriteKeyValueRequest(tenant_id="t", key="b")) for _ in range(3)
        ]
        batch = await kv.grpc.call("Batch", operations=writes)
        assert batch.error_code == pb.RATE_LIMIT_EXCEEDED


async def test_bytes_that_are_no_message(dsn: str, tmp_path: Path) -> None:
    async with (
        serving(settings(dsn), tmp_path) as kv,
        grpc.aio.insecure_channel(f"127.0.0.1:{kv.ports.grpc}") as channel,
    ):
        for method, code in (
            ("ReadKeyValue", grpc.StatusCode.INVALID_ARGUMENT),
            ("NoSuchCall", grpc.StatusCode.UNIMPLEMENTED),
        ):
            call: Any = channel.unary_unary(f"/proto.CoordinatorService/{method}")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"\xff\xff")
            assert refused.value.code() is code
