"""The external metrics API, asked directly and through a real API server."""

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from muster_operator.cluster import Cluster
from muster_operator.metrics_api import server
from muster_operator.metrics_api.documents import GROUP_VERSION
from muster_operator.rbac import METRICS_API_SERVICE
from muster_operator.resources import (
    API_SERVICES,
    AUTOSCALERS,
    COORDINATORS,
    DEPLOYMENTS,
    EVENTS,
    PROVER_POOLS,
    SECRETS,
    SERVICES,
    Key,
    Manifest,
    Resource,
)
from muster_operator.telemetry import poll
from muster_testing.ports import free_port
from muster_testing.waiting import eventually

from .conftest import Operators, Replica, Space
from .coordinators import FakeCoordinator, pool_numbers
from .plane import SECRET, SERVICE, SYSTEM, Plane

pytestmark = pytest.mark.integration

METRIC = "muster_prover_outstanding_tasks"
AUTOSCALER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
EXTERNAL = Resource(GROUP_VERSION, "ExternalMetricValueList", METRIC)


class Client:
    """Asks one replica directly, as whoever it claims to be."""

    def __init__(self, plane: Plane, replica: Replica) -> None:
        self._plane = plane
        self._port = replica.metrics_port

    async def ask(
        self, path: str, *, certificate: str | None = "front-proxy-client", user: str = AUTOSCALER
    ) -> tuple[int, dict[str, Any]]:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(*self._plane.proxy_certificate(certificate))
        connector = aiohttp.TCPConnector(ssl=context)
        headers = {"X-Remote-User": user, "X-Remote-Group": "system:authenticated"}
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"https://127.0.0.1:{self._port}{path}", headers=headers) as answer,
        ):
            return answer.status, await answer.json()


@pytest.fixture
async def coordinator(operators: Operators, space: Space) -> AsyncIterator[FakeCoordinator]:
    """The coordinator of pool `demo`, with 6 unfinished tasks."""
    numbers = pool_numbers("demo", pending=3, assigned=1, in_progress=2)
    async with FakeCoordinator(numbers).serving() as serving:
        operators.urls[Key("Coordinator", space.name, "demo")] = serving.url
        yield serving


@pytest.fixture
async def client(plane: Plane, operator: Replica) -> Client:
    """Asks the operator."""
    found = Client(plane, operator)

    async def answers() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            status, _ = await found.ask(f"/apis/{GROUP_VERSION}")
            assert status == 200
            return True
        return False

    await eventually(answers, what="the metrics API answers")
    return found


def path(space: Space, metric: str = METRIC, selector: str = "proverpool%3Ddemo") -> str:
    return f"/apis/{GROUP_VERSION}/namespaces/{space.name}/{metric}?labelSelector={selector}"


async def test_unfinished_tasks_are_answered_by_pool(
    client: Client, coordinator: FakeCoordinator, space: Space
) -> None:
    await space.pool()

    async def answered() -> dict[str, Any]:
        status, answer = await client.ask(path(space))
        assert status == 200, answer
        assert answer["items"], "the pool is not known yet"
        return answer

    answer = await eventually(answered, what="a value")
    assert answer["kind"] == "ExternalMetricValueList"
    (item,) = answer["items"]
    assert (item["metricName"], item["metricLabels"]) == (METRIC, {"proverpool": "demo"})
    assert item["value"] == "6"
    assert coordinator.asked > 0
    status, answer = await client.ask(path(space, selector="proverpool%3Dother"))
    assert (status, answer["items"]) == (200, [])


async def test_nobody_is_believed_without_the_front_proxys_certificate(
    client: Client, space: Space
) -> None:
    status, answer = await client.ask(path(space), certificate=None)
    assert (status, answer["reason"]) == (401, "Unauthorized")
    status, answer = await client.ask(path(space), certificate="mallory")
    assert status == 401
    assert answer["message"] == "mallory may not speak for others"


async def test_who_may_not_read_the_metric_is_refused(client: Client, space: Space) -> None:
    status, answer = await client.ask(path(space), user="mallory")
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert answer["message"] == f"mallory may not read {METRIC} in {space.name}"


@pytest.mark.parametrize(
    ("metric", "selector", "code", "sentence"),
    [
        ("other_metric", "", 404, f"there is no metric other_metric; there is {METRIC}"),
        (METRIC, "a+b", 400, "'a b' is no label selector; write proverpool=NAME"),
    ],
)
async def test_a_wrong_question_is_told_so(
    client: Client, space: Space, metric: str, selector: str, code: int, sentence: str
) -> None:
    status, answer = await client.ask(path(space, metric, selector))
    assert (status, answer["kind"], answer["message"]) == (code, "Status", sentence)


async def test_an_unknown_path_is_not_found(client: Client) -> None:
    status, answer = await client.ask("/healthz/nothing")
    assert (status, answer["kind"]) == (404, "Status")


async def test_old_numbers_are_not_passed_off_as_new(
    client: Client,
    coordinator: FakeCoordinator,
    space: Space,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await space.pool()

    async def code(wanted: int) -> bool:
        status, answer = await client.ask(path(space))
        assert status == wanted, answer
        assert status != 200 or answer["items"], "the pool is not known yet"
        return True

    await eventually(lambda: code(200), what="a value")
    monkeypatch.setattr(poll, "STALE_SECONDS", 0.0)
    coordinator.status = 500
    await eventually(lambda: code(503), what="no value")


def api_service(service: str, port: int) -> Manifest:
    return API_SERVICES.manifest(
        {"name": METRICS_API_SERVICE},
        spec={
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": service, "namespace": SYSTEM, "port": port},
        },
    )


@pytest.fixture
async def registered(
    admin: Cluster, operator: Replica, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Manifest]:
    """The APIService, as the chart makes it, pointing at the operator in this process."""
    monkeypatch.setattr(server, "_REFRESH_SECONDS", 0.5)
    service = SERVICES.manifest(
        {"name": SERVICE, "namespace": SYSTEM},
        spec={"type": "ExternalName", "externalName": "localhost"},
    )
    await admin.apply(SERVICES, service)
    there = await admin.apply(API_SERVICES, api_service(SERVICE, operator.metrics_port))

    async def available() -> bool:
        found = await admin.get(API_SERVICES, None, METRICS_API_SERVICE) or {}
        conditions = found.get("status", {}).get("conditions", [])
        assert [each["status"] for each in conditions] == ["True"], conditions
        return True

    try:
        await eventually(available, deadline=60, what="the APIService is available")
        yield there
    finally:
        await admin.delete(API_SERVICES, there)


@pytest.mark.usefixtures("registered")
async def test_the_autoscaler_follows_the_queue_and_holds_when_it_is_unknown(
    coordinator: FakeCoordinator,
    space: Space,
    admin: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await space.pool("autoscaling: {maxReplicas: 5, scaleDownStabilizationSeconds: 0}")

    async def workers(wanted: int) -> bool:
        deployment = await space.the(DEPLOYMENTS, "demo-worker")
        found = deployment["spec"]["replicas"]
        scaler = await space.the(AUTOSCALERS, "demo-worker")
        assert found == wanted, (found, scaler.get("status"))
        return True

    # 6 unfinished tasks, 4 for each worker.
    await eventually(lambda: workers(2), what="two workers")
    coordinator.queue["pools"] = [pool_numbers("demo", pending=100)]
    await eventually(lambda: workers(5), deadline=60, what="as many workers as allowed")
    raw = await admin.list(EXTERNAL, space.name)
    assert [item["value"] for item in raw] == ["100"]

    async def in_status() -> bool:
        there = await space.the(PROVER_POOLS, "demo")
        assert there["status"]["queue"]["pending"] == 100
        assert there["status"]["desiredReplicas"] == 5
        return True

    await eventually(in_status, what="the status says so")
    coordinator.queue["pools"] = [pool_numbers("demo")]
    coordinator.status = 503
    monkeypatch.setattr(poll, "STALE_SECONDS", 0.0)

    async def blind() -> bool:
        scaler = await space.the(AUTOSCALERS, "demo-worker")
        (active,) = [
            each for each in scaler["status"]["conditions"] if each["type"] == "ScalingActive"
        ]
        assert (active["status"], active["reason"]) == ("False", "FailedGetExternalMetric")
        return True

    await eventually(blind, what="the autoscaler sees nothing")
    assert await workers(5)
    monkeypatch.setattr(poll, "STALE_SECONDS", 30.0)
    coordinator.status = 200
    await eventually(lambda: workers(1), deadline=90, what="one worker")


@pytest.mark.usefixtures("registered")
async def test_a_pool_without_work_has_no_workers_until_there_is_work(
    coordinator: FakeCoordinator, space: Space
) -> None:
    coordinator.queue["pools"] = [pool_numbers("demo")]
    limits = "minReplicas: 0, maxReplicas: 5, scaleToZeroAfter: 4s"
    await space.pool(f"autoscaling: {{{limits}, scaleDownStabilizationSeconds: 0}}")

    async def workers(wanted: int) -> bool:
        deployment = await space.the(DEPLOYMENTS, "demo-worker")
        scaler = await space.get(AUTOSCALERS, "demo-worker")
        assert deployment["spec"]["replicas"] == wanted, (scaler or {}).get("status")
        assert (scaler is None) is (wanted == 0)
        return True

    await space.until_ready(COORDINATORS)
    await space.reason(PROVER_POOLS, "Ready", "ScaledToZero")
    assert await workers(0)
    coordinator.queue["pools"] = [pool_numbers("demo", pending=12)]
    await eventually(lambda: workers(3), deadline=60, what="the autoscaler's number of workers")
    await space.until_ready(PROVER_POOLS)
    coordinator.queue["pools"] = [pool_numbers("demo", in_progress=1)]
    await eventually(lambda: workers(1), deadline=60, what="the one that is busy")
    coordinator.queue["pools"] = [pool_numbers("demo")]
    await eventually(lambda: workers(0), deadline=60, what="none")
    said = await space.reason(PROVER_POOLS, "Ready", "ScaledToZero")
    assert said["status"] == "True"

    async def told() -> bool:
        events = await space.cluster.list(EVENTS, space.name)
        reasons = {each["reason"] for each in events if each["regarding"]["kind"] == "ProverPool"}
        assert {"ScaledToZero", "ScaledFromZero"} <= reasons, reasons
        return True

    await eventually(told, what="Events about it")


@pytest.mark.usefixtures("registered")
async def test_lost_certificates_are_made_anew_and_published(
    admin: Cluster, client: Client
) -> None:
    async def bundle() -> str:
        found = await admin.get(API_SERVICES, None, METRICS_API_SERVICE) or {}
        return str(found["spec"].get("caBundle", ""))

    before = await bundle()
    assert before
    secret = await admin.get(SECRETS, SYSTEM, SECRET)
    assert secret
    assert "BEGIN CERTIFICATE" in base64.b64decode(secret["data"]["ca.crt"]).decode()
    await admin.replace(SECRETS, {**secret, "data": {}})

    async def followed() -> bool:
        found = await admin.get(SECRETS, SYSTEM, SECRET) or {}
        after = await bundle()
        assert after != before
        assert after == found["data"]["ca.crt"]
        return True

    await eventually(followed, deadline=60, what="a new authority is published")
    # The API server trusts the new certificate: it still gets an answer.
    await eventually(lambda: _lists(admin), deadline=30, what="an answer by way of the API server")
    status, _ = await client.ask(f"/apis/{GROUP_VERSION}")
    assert status == 200


async def _lists(admin: Cluster) -> bool:
    try:
        await admin.list(EXTERNAL, "default")
    except Exception as error:
        raise AssertionError(repr(error)) from error
    return True


async def test_an_api_of_another_server_is_left_alone(
    operators: Operators, admin: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = await admin.apply(API_SERVICES, api_service("prometheus-adapter", 443))
    try:
        await operators.start()
        warning = "another server has the external metrics API: autoscaling does not work"
        await eventually(lambda: warning in caplog.messages, what="it says so")
        found = await admin.get(API_SERVICES, None, METRICS_API_SERVICE) or {}
        assert "caBundle" not in found["spec"]
    finally:
        await admin.delete(API_SERVICES, theirs)


async def test_a_new_replica_is_not_ready_before_it_knows_the_queues(
    plane: Plane,
    operator: Replica,
    operators: Operators,
    coordinator: FakeCoordinator,
    space: Space,
) -> None:
    await space.pool()
    await space.the(COORDINATORS, "demo")
    await eventually(lambda: coordinator.asked, what="the first replica asks")
    await operator.close()
    coordinator.asked = 0
    coordinator.answering.clear()
    port = free_port()
    async with aiohttp.ClientSession() as session:
        second = await operators.start("second", ops_port=port)
        await eventually(lambda: coordinator.asked, what="the second replica asks")

        async def readiness() -> tuple[int, bool]:
            async with session.get(f"http://127.0.0.1:{port}/ready") as answer:
                return answer.status, (await answer.json())["coordinators_asked"]

        assert await readiness() == (503, False)
        coordinator.answering.set()

        async def ready() -> bool:
            assert await readiness() == (200, True)
            return True

        await eventually(ready, what="it is ready")
        status, answer = await Client(plane, second).ask(path(space))
        assert (status, answer["items"][0]["value"]) == (200, "6")
