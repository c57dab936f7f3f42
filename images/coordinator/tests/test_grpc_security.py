"""TLS, client certificates and bearer tokens on the gRPC port."""

import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from muster_coordinator.grpc_face import authentication, token_review
from muster_protos import coordinator_pb2 as pb
from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub
from muster_testing.apiserver import ControlPlane
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

from .credentials import Accounts, Certs
from .harness import Replica, prepare, process, serving, settings, worker_process

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


async def _beats(channel: grpc.aio.Channel, name: str = "w", token: str | None = None) -> Any:
    """One heartbeat, which any caller that is let in may send."""
    metadata = None if token is None else (("authorization", f"Bearer {token}"),)
    stub: Any = CoordinatorServiceStub(channel)
    return await stub.SendHeartbeat(
        pb.HeartbeatRequest(worker_id=name), metadata=metadata, timeout=60
    )


async def _refused(channel: grpc.aio.Channel, **how: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _beats(channel, **how)
    return refused.value.code(), str(refused.value.details())


def _served_subject(target: str, certs: Certs) -> str:
    """The common name of the certificate that a new connection is shown."""
    host, _, port = target.rpartition(":")
    context = ssl.create_default_context(cafile=certs.ca)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), timeout=60) as raw,
        context.wrap_socket(raw, server_hostname=host) as connection,
    ):
        shown: Any = connection.getpeercert()
    return str(dict(pair for (pair,) in shown["subject"])["commonName"])


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certs:
    return Certs(tmp_path_factory.mktemp("certs"))


async def test_with_server_tls_workers_know_whom_they_speak_to(
    postgres: PostgresServer, tmp_path: Path, certs: Certs
) -> None:
    document = settings() | {"grpc_tls": certs.section("server")}
    async with serving(await postgres.create_database(), document, tmp_path) as replica:
        async with certs.channel(replica.target) as channel:
            assert not (await _beats(channel)).known
        async with grpc.aio.insecure_channel(replica.target) as channel:
            assert (await _refused(channel))[0] is grpc.StatusCode.UNAVAILABLE
        stranger = Certs(tmp_path / "stranger")
        async with stranger.channel(replica.target) as channel:
            assert (await _refused(channel))[0] is grpc.StatusCode.UNAVAILABLE


async def test_with_mutual_tls_the_coordinator_knows_who_speaks(
    postgres: PostgresServer, tmp_path: Path, certs: Certs
) -> None:
    document = settings() | {"grpc_tls": certs.section("mutual")}
    async with serving(await postgres.create_database(), document, tmp_path) as replica:
        async with certs.channel(replica.target, certified=True) as channel:
            assert not (await _beats(channel)).known
        async with certs.channel(replica.target) as channel:
            assert (await _refused(channel))[0] is grpc.StatusCode.UNAVAILABLE
        stranger = Certs(tmp_path / "stranger")
        certs.authority.write(stranger.ca)
        async with stranger.channel(replica.target, certified=True) as channel:
            assert (await _refused(channel))[0] is grpc.StatusCode.UNAVAILABLE


async def test_a_rotated_certificate_is_used_and_a_broken_one_is_not(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    certs = Certs(tmp_path / "certs")
    document = settings() | {"grpc_tls": certs.section("server")}
    async with (
        serving(await postgres.create_database(), document, tmp_path) as replica,
        certs.channel(replica.target) as before,
    ):
        await _beats(before)
        certs.renew_server("renewed")
        assert _served_subject(replica.target, certs) == "renewed"
        (certs.folder / "server.key").write_text("half of a rotation")
        assert _served_subject(replica.target, certs) == "renewed"
        (certs.folder / "server.key").unlink()
        assert _served_subject(replica.target, certs) == "renewed"
        certs.renew_server("again")
        assert _served_subject(replica.target, certs) == "again"
        # Those who are connected stay connected.
        await _beats(before)


async def test_rotated_authorities_of_workers_are_used(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    certs = Certs(tmp_path / "certs")
    document = settings() | {"grpc_tls": certs.section("mutual")}
    async with serving(await postgres.create_database(), document, tmp_path) as replica:
        others = Certs(tmp_path / "others")
        trusted = certs.ca.read_bytes()
        others.ca.write_bytes(trusted)
        async with others.channel(replica.target, certified=True) as channel:
            assert (await _refused(channel))[0] is grpc.StatusCode.UNAVAILABLE
        others.authority.write(certs.folder / "new.crt")
        (certs.folder / "new.crt").replace(certs.ca)
        async with others.channel(replica.target, certified=True) as channel:
            assert not (await _beats(channel)).known


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def accounts(apiserver: ControlPlane) -> AsyncIterator[Accounts]:
    async with Accounts(apiserver) as made:
        await made.account("workers")
        await made.account("others")
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(
    postgres: PostgresServer,
    apiserver: ControlPlane,
    accounts: Accounts,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Replica]:
    """A coordinator that asks the API server about tokens."""
    document = settings() | {
        "auth": {
            "mode": "token-review",
            "allowed_service_accounts": [f"{accounts.namespace}:workers"],
        }
    }
    home = tmp_path_factory.mktemp("guarded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(apiserver.kubeconfig))
        # The API server may be slow.
        for module in (authentication, token_review):
            patch.setattr(module, "REVIEW_SECONDS", 60.0)
        async with serving(await postgres.create_database(), document, home) as replica:
            yield replica


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(guarded: Replica) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(guarded.target) as opened:
        yield opened


async def test_a_token_of_an_allowed_account_is_let_in(
    accounts: Accounts, channel: grpc.aio.Channel
) -> None:
    token = await accounts.token("workers")
    for name in ("any", "name"):
        assert not (await _beats(channel, name, token)).known


async def test_a_token_of_another_account_is_not(
    accounts: Accounts, channel: grpc.aio.Channel
) -> None:
    code, details = await _refused(channel, token=await accounts.token("others"))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert details == (
        f"system:serviceaccount:{accounts.namespace}:others is not in auth.allowed_service_accounts"
    )


async def test_a_token_for_another_audience_is_not_valid(
    accounts: Accounts, channel: grpc.aio.Channel
) -> None:
    token = await accounts.token("workers", audience="https://kubernetes.default.svc")
    assert await _refused(channel, token=token) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "the token in authorization is not valid here",
    )


async def test_no_token_is_told_what_is_allowed(channel: grpc.aio.Channel) -> None:
    assert await _refused(channel) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "authorization is missing; allowed: Bearer <token>",
    )
    assert await _refused(channel, token="made up") == (
        grpc.StatusCode.UNAUTHENTICATED,
        "the token in authorization is not valid here",
    )


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ((("authorization", "Basic abc"),), "authorization is something else"),
        ((("authorization", "Bearer "),), "authorization is something else"),
        (
            (("authorization", "Bearer a"), ("authorization", "Bearer b")),
            "authorization is there 2 times; allowed: once",
        ),
    ],
)
async def test_anything_else_than_one_bearer_token_is_refused(
    channel: grpc.aio.Channel, metadata: Any, said: str
) -> None:
    stub: Any = CoordinatorServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ListKeys(pb.ListKeysRequest(), metadata=metadata)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert str(refused.value.details()).startswith(said)


async def test_a_token_of_a_pod_speaks_for_that_pod_only(
    accounts: Accounts, channel: grpc.aio.Channel
) -> None:
    pod = await accounts.pod("demo-worker-1", "workers")
    token = await accounts.token("workers", pod=pod)
    assert not (await _beats(channel, "demo-worker-1", token)).known
    code, details = await _refused(channel, name="demo-worker-2", token=token)
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert details == (
        "worker_id is 'demo-worker-2'; allowed with this token: 'demo-worker-1', "
        "the pod that it is bound to"
    )
    metadata = (("authorization", f"Bearer {token}"),)
    stub: Any = CoordinatorServiceStub(channel)
    assert (await stub.ListKeys(pb.ListKeysRequest(), metadata=metadata)).keys
    stream = stub.ReceiveTasks(pb.ReceiveTasksRequest(worker_id="other"), metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await stream.read()
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    for frames in ([_frame("other")], [_frame("demo-worker-1"), _frame("other")]):
        session = stub.Session(metadata=metadata)
        for frame in frames:
            await session.write(frame)
        assert await session.code() is grpc.StatusCode.PERMISSION_DENIED


def _frame(name: str) -> pb.WorkerFrame:
    return pb.WorkerFrame(worker_id=name, heartbeat=pb.Heartbeat())


async def test_every_method_but_health_needs_a_token(channel: grpc.aio.Channel) -> None:
    for method in pb.DESCRIPTOR.services_by_name["CoordinatorService"].methods:
        request = () if method.client_streaming else (getattr(pb, method.input_type.name)(),)
        call = getattr(CoordinatorServiceStub(channel), method.name)(*request)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await (call.read() if method.server_streaming else call)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED, method.name
    # Written by the call itself: it may be refused before.
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    asking = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asked)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await asking.read()
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    probe = health_pb2.HealthCheckRequest()
    answer = await health_pb2_grpc.HealthStub(channel).Check(probe)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_refusals_are_counted(guarded: Replica, channel: grpc.aio.Channel) -> None:
    sample = (
        'grpc_server_handled_total{grpc_code="UNAUTHENTICATED",grpc_method="SendHeartbeat",'
        'grpc_service="coordinator.CoordinatorService",grpc_type="unary"}'
    )
    await _refused(channel)
    before = await guarded.metric(sample)
    await _refused(channel)

    async def counted() -> bool:
        return await guarded.metric(sample) > before

    # A call is counted when its answer is on its way.
    await eventually(counted, what="the refusal is counted")


async def test_tokens_are_not_logged(
    accounts: Accounts, channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    token = await accounts.token("others")
    await _refused(channel, token=token)
    await _refused(channel, token=f"{token}x")
    said = json.dumps([[record.getMessage(), str(vars(record))] for record in caplog.records])
    assert token not in said


async def test_without_an_api_server_callers_are_told_to_come_back(
    postgres: PostgresServer, tmp_path: Path, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    nobody = {"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "x",
                "clusters": [nobody],
                "users": [{"name": "x", "user": {}}],
                "contexts": [context],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    document = settings() | {"auth": {"mode": "token-review", "allowed_service_accounts": ["a:b"]}}
    token = await accounts.token("workers")
    async with (
        serving(await postgres.create_database(), document, tmp_path) as replica,
        grpc.aio.insecure_channel(replica.target) as channel,
    ):
        code, details = await _refused(channel, token=token)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "the Kubernetes API can't judge the token now" in details
        assert token not in details


async def test_a_worker_with_certificate_and_token_makes_a_proof(
    postgres: PostgresServer,
    apiserver: ControlPlane,
    accounts: Accounts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything together, in processes of their own, with files as a pod has them."""
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig))
    certs = Certs(tmp_path / "certs")
    pod = await accounts.pod("demo-worker-7", "workers")
    (tmp_path / "token").write_text(await accounts.token("workers", pod=pod))
    document = settings() | {
        "grpc_tls": certs.section("mutual"),
        "auth": {
            "mode": "token-review",
            "allowed_service_accounts": [f"{accounts.namespace}:workers"],
        },
    }
    tls = {"ca_file": "ca.crt", "cert_file": "worker.crt", "key_file": "worker.key"}
    files = {key: str(certs.folder / name) for key, name in tls.items()}
    dsn = await postgres.create_database()
    await prepare(dsn)
    with process(dsn, document, tmp_path / "home") as coordinator:
        replica = await coordinator.serving()
        async with worker_process(
            replica,
            tmp_path,
            "demo-worker-7",
            worker={"token_file": str(tmp_path / "token")},
            tls=files | {"server_name": "demo-coordinator"},
        ):
            task = await replica.ends(await replica.add())
        await replica.close()
    assert (task["status"], task["worker_id"]) == ("completed", "demo-worker-7")
    assert (tmp_path / "token").read_text() not in json.dumps(coordinator.lines)
