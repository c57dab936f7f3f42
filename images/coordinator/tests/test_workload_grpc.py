"""niyanta.v1.WorkloadService, as a real gRPC client speaks to it."""

import functools
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from muster_coordinator import faces
from muster_coordinator.accounts.entrance import Entrance
from muster_coordinator.engine.customers import Tier
from muster_protos import workload_pb2 as pb
from muster_protos.workload_pb2_grpc import WorkloadServiceStub
from muster_testing.postgres import PostgresServer

from .credentials import Certs
from .hands import Hands
from .harness import Replica, serving
from .tenants import make_key, workloads

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

UNKNOWN = "00000000-0000-7000-8000-000000000000"


class Client:
    """A client with a key."""

    def __init__(self, channel: grpc.aio.Channel, key: str | None) -> None:
        self._stub: Any = WorkloadServiceStub(channel)
        self._metadata = () if key is None else (("authorization", f"Bearer {key}"),)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._stub, name)

        def call(**fields: Any) -> Any:
            request = getattr(pb, f"{name}Request")(**fields)
            return method(request, metadata=self._metadata, timeout=120)

        return call


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dsn(postgres: PostgresServer) -> str:
    return await postgres.create_database()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replica]:
    with pytest.MonkeyPatch.context() as patch:
        # Buckets stay as empty as they are made.
        patch.setattr(faces, "Entrance", functools.partial(Entrance, clock=lambda: 0.0))
        async with serving(dsn, workloads(), tmp_path_factory.mktemp("grpc")) as shared:
            yield shared


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(served: Replica) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(served.target) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acme(channel: grpc.aio.Channel, dsn: str) -> Client:
    return Client(channel, await make_key(dsn, "acme"))


async def _refused(call: Any, code: grpc.StatusCode) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (anext(aiter(call)) if hasattr(call, "__aiter__") else call)
    assert caught.value.code() is code, caught.value
    return str(caught.value.details())


async def test_a_workload_is_done(served: Replica, acme: Client) -> None:
    asked = pb.SubmitWorkloadRequest(workload_type="sleep", priority=0, timeout_seconds=60)
    asked.input_params.update({"seconds": 1, "part": 0.5, "deep": {"list": [1, "two", None, True]}})
    asked.affinity_rules.soft_affinity.worker_tags["zone"] = "a"
    fields = {field.name: value for field, value in asked.ListFields()} | {"priority": 0}
    submitted = await acme.SubmitWorkload(**fields)
    assert submitted.status == pb.WORKLOAD_STATUS_PENDING
    workload_id = submitted.workload_id

    updates = aiter(acme.StreamWorkloadStatus(workload_id=workload_id))
    first = await anext(updates)
    assert (first.workload_id, first.status) == (workload_id, pb.WORKLOAD_STATUS_PENDING)
    async with Hands(served) as hands:
        assignment = await hands.begin()
        # A Struct has no order and no integers.
        assert json.loads(assignment.input) == {
            "seconds": 1,
            "part": 0.5,
            "deep": {"list": [1, "two", None, True]},
        }
        assert b'"seconds":1,' in assignment.input or b'"seconds":1}' in assignment.input
        await hands.progress(assignment, 30, "begun")
        # Who is slow to listen hears of what is, and not of all that was.
        while True:
            update = await anext(updates)
            if (update.progress_percent, update.message) == (30, "begun"):
                break
        await hands.complete(assignment, [1, 2])
    heard = [update async for update in updates]
    assert heard[-1].status == pb.WORKLOAD_STATUS_COMPLETED

    found = (await acme.GetWorkload(workload_id=workload_id)).workload
    assert (found.customer_id, found.workload_type, found.priority) == ("acme", "sleep", 0)
    assert found.status == pb.WORKLOAD_STATUS_COMPLETED
    assert found.HasField("created_at")
    assert found.HasField("completed_at")
    assert found.timeout_seconds == 60
    assert MessageToDict(found.result_data) == {"value": [1, 2]}
    assert MessageToDict(found.input_params)["part"] == 0.5
    assert found.affinity_rules.soft_affinity.worker_tags == {"zone": "a"}


async def test_the_same_request_is_taken_in_once(acme: Client) -> None:
    first = await acme.SubmitWorkload(workload_type="once", idempotency_key="k")
    second = await acme.SubmitWorkload(workload_type="once", idempotency_key="k")
    assert first.workload_id == second.workload_id
    call = acme.SubmitWorkload(workload_type="once", priority=1, idempotency_key="k")
    assert "Idempotency-Key" in await _refused(call, grpc.StatusCode.ALREADY_EXISTS)


async def test_workloads_are_listed(channel: grpc.aio.Channel, dsn: str) -> None:
    lister = Client(channel, await make_key(dsn, "lister"))
    made = [(await lister.SubmitWorkload(workload_type="listed")).workload_id for _ in range(3)]
    page = await lister.ListWorkloads(limit=2, status=[pb.WORKLOAD_STATUS_PENDING])
    assert [one.workload_id for one in page.workloads] == [made[2], made[1]]
    last = await lister.ListWorkloads(limit=2, cursor=page.next_cursor)
    assert [one.workload_id for one in last.workloads] == [made[0]]
    assert last.next_cursor == ""
    since = page.workloads[1].created_at
    newer = await lister.ListWorkloads(created_after=since)
    assert [one.workload_id for one in newer.workloads] == [made[2]]
    assert not (await lister.ListWorkloads(workload_type="other")).workloads


async def test_a_workload_is_cancelled(acme: Client) -> None:
    workload_id = (await acme.SubmitWorkload(workload_type="unheard")).workload_id
    for _ in range(2):
        found = (await acme.CancelWorkload(workload_id=workload_id)).workload
        assert found.status == pb.WORKLOAD_STATUS_CANCELLED
    code = grpc.StatusCode.FAILED_PRECONDITION
    await _refused(acme.PauseWorkload(workload_id=workload_id), code)
    await _refused(acme.ResumeWorkload(workload_id=workload_id), code)


async def test_a_workload_is_paused_and_resumed(served: Replica, acme: Client) -> None:
    workload_id = (await acme.SubmitWorkload(workload_type="sleep")).workload_id
    async with Hands(served) as hands:
        assignment = await hands.begin()
        found = (await acme.PauseWorkload(workload_id=workload_id)).workload
        assert found.status == pb.WORKLOAD_STATUS_RUNNING
        await hands.told()
        await hands.paused(assignment, b"x")
        found = (await acme.ResumeWorkload(workload_id=workload_id)).workload
        assert found.status != pb.WORKLOAD_STATUS_PAUSED
        await hands.complete(await hands.begin())


@pytest.mark.parametrize(
    ("method", "fields", "said"),
    [
        ("SubmitWorkload", {}, "workload_type is missing; allowed: a kind of work"),
        ("SubmitWorkload", {"workload_type": "A"}, "workload_type is 'A'; allowed: a kind of"),
        ("SubmitWorkload", {"workload_type": "a", "priority": 1001}, "priority is 1001; allowed"),
        ("SubmitWorkload", {"workload_type": "a", "max_retries": -1}, "max_retries is -1; allowed"),
        ("SubmitWorkload", {"workload_type": "a", "timeout_seconds": -1}, "timeout_seconds is -1"),
        ("SubmitWorkload", {"workload_type": "a", "pool": "\x01"}, "pool is '\\x01'; allowed"),
        ("SubmitWorkload", {"workload_config_id": "x"}, "workload_config_id is 'x'; allowed"),
        ("SubmitWorkload", {"workload_type": "a", "idempotency_key": "a b"}, "idempotency_key is"),
        ("SubmitWorkload", {"workload_type": "prove.addition"}, "input_params.a is missing"),
        (
            "SubmitWorkload",
            {
                "workload_type": "a",
                "affinity_rules": pb.AffinityRules(
                    hard_affinity=pb.AffinityRule(workload_types=["A"])
                ),
            },
            "affinity.hard_affinity.workload_types is 'A'; allowed: a list",
        ),
        ("GetWorkload", {"workload_id": "7"}, "workload_id is '7'; allowed: a UUID"),
        ("CancelWorkload", {"workload_id": ""}, "workload_id is ''; allowed: a UUID"),
        ("PauseWorkload", {"workload_id": "7"}, "workload_id is '7'; allowed: a UUID"),
        ("ResumeWorkload", {"workload_id": "7"}, "workload_id is '7'; allowed: a UUID"),
        ("StreamWorkloadStatus", {"workload_id": "7"}, "workload_id is '7'; allowed: a UUID"),
        ("ListWorkloads", {"status": [0]}, "status is 'UNSPECIFIED'; allowed: PENDING"),
        ("ListWorkloads", {"status": [99]}, "status is '99'; allowed: PENDING"),
        ("ListWorkloads", {"limit": 501}, "limit is 501; allowed: an integer from 1 to 500"),
        ("ListWorkloads", {"offset": -1}, "offset is -1; allowed: an integer from 0"),
        ("ListWorkloads", {"ordering": "age"}, "ordering is 'age'; allowed: created_at"),
        ("ListWorkloads", {"cursor": "x"}, "cursor is 'x'; allowed: next_cursor"),
        ("ListWorkloads", {"workload_type": "A"}, "type is 'A'; allowed: a kind of work"),
        ("ListWorkloads", {"cursor": UNKNOWN, "offset": 1}, "offset is beside cursor"),
        (
            "ListWorkloads",
            {"created_after": Timestamp(seconds=10**15)},
            "created_after is 1000000000000000 s; allowed: a time that can be",
        ),
        ("ListWorkloads", {"created_before": Timestamp()}, "created_before is '1970-01-01T"),
    ],
)
async def test_wrong_fields(acme: Client, method: str, fields: dict[str, Any], said: str) -> None:
    call = getattr(acme, method)(**fields)
    assert said in await _refused(call, grpc.StatusCode.INVALID_ARGUMENT)


METHODS = [
    "GetWorkload",
    "CancelWorkload",
    "PauseWorkload",
    "ResumeWorkload",
    "StreamWorkloadStatus",
]


@pytest.mark.parametrize("method", METHODS)
async def test_workloads_of_others_are_not_there(
    channel: grpc.aio.Channel, dsn: str, acme: Client, method: str
) -> None:
    workload_id = (await acme.SubmitWorkload(workload_type="unheard")).workload_id
    thief = Client(channel, await make_key(dsn, "thief"))
    call = getattr(thief, method)(workload_id=workload_id)
    await _refused(call, grpc.StatusCode.NOT_FOUND)


@pytest.mark.parametrize("method", [*METHODS, "SubmitWorkload", "ListWorkloads"])
async def test_nobody_calls_without_a_key(channel: grpc.aio.Channel, dsn: str, method: str) -> None:
    stranger = Client(channel, None)
    said = await _refused(getattr(stranger, method)(), grpc.StatusCode.UNAUTHENTICATED)
    assert said == "authorization is missing; allowed: Bearer <key or token>"
    admin = Client(channel, await make_key(dsn, None))
    await _refused(getattr(admin, method)(), grpc.StatusCode.PERMISSION_DENIED)


async def test_both_faces_count_on_one_bucket(
    served: Replica, channel: grpc.aio.Channel, dsn: str
) -> None:
    key = await make_key(dsn, "hurried", Tier.FREE)
    headers = {"Authorization": f"Bearer {key}"}
    for _ in range(6):
        await served.http.get("/v1/customer", headers=headers)
    hurried = Client(channel, key)
    said = await _refused(hurried.ListWorkloads(), grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert "asked too often; allowed: 5 requests at once" in said


async def test_what_is_left_of_the_bucket_is_told(acme: Client) -> None:
    call = acme.ListWorkloads()
    await call
    trailing = dict(await call.trailing_metadata())
    assert trailing["x-ratelimit-limit"] == "1000"


async def test_each_method_is_counted_from_the_start(served: Replica) -> None:
    shown = 'grpc_server_handled_total{grpc_code="OK",grpc_method="%s",grpc_service="%s",'
    service = "niyanta.v1.WorkloadService"
    for method, kind in (("GetWorkload", "unary"), ("StreamWorkloadStatus", "server_stream")):
        line = shown % (method, service) + f'grpc_type="{kind}"}}'
        assert await served.metric(line) >= 0


async def test_the_service_is_healthy(channel: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    asked = health_pb2.HealthCheckRequest(service="niyanta.v1.WorkloadService")
    assert (await stub.Check(asked)).status == health_pb2.HealthCheckResponse.SERVING


async def test_a_certificate_is_a_customer(
    dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("tls")
    certs = Certs(home / "certs")
    document = workloads() | {
        "grpc_tls": certs.section("mutual"),
        "accounts": {"certificates": [{"subject": "CN=worker", "customer": "acme-tls"}]},
    }
    async with (
        serving(dsn, document, home) as replica,
        certs.channel(replica.target, certified=True) as secure,
    ):
        found = await Client(secure, None).SubmitWorkload(workload_type="unheard")
        seen = (await Client(secure, None).GetWorkload(workload_id=found.workload_id)).workload
    assert seen.customer_id == "acme-tls"
