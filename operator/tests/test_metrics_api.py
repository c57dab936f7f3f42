"""The external metrics API, asked directly and through a real API server."""

import base64
import contextlib
import ssl
from typing import Any

import aiohttp
import pytest

from muster_operator.cluster import Cluster
from muster_operator.metrics_api.documents import GROUP_VERSION
from muster_operator.rbac import METRICS_API_SERVICE
from muster_operator.resources import (
    API_SERVICES,
    COORDINATORS,
    SECRETS,
    Manifest,
    Resource,
)
from muster_operator.telemetry import poll
from muster_testing.ports import free_port
from muster_testing.waiting import eventually

from .conftest import Operators, Replica, Space, api_service
from .coordinators import FakeCoordinator
from .plane import SECRET, SYSTEM, Plane

pytestmark = pytest.mark.integration

METRIC = "muster_prover_outstanding_tasks"
OF_WORKER_POOLS = "muster_worker_pool_outstanding_tasks"
BOTH = f"{METRIC} and {OF_WORKER_POOLS}"
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
        ("other_metric", "", 404, f"there is no metric other_metric; there are {BOTH}"),
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
    await eventually(lambda: _lists(admin), what="an answer by way of the API server")
    status, _ = await client.ask(f"/apis/{GROUP_VERSION}")
    assert status == 200


@pytest.mark.parametrize("damaged", ["tls.key", "tls.crt", "ca.key"])
async def test_an_operator_that_finds_damaged_certificates_makes_others(
    operators: Operators, admin: Cluster, damaged: str
) -> None:
    first = await operators.start("first")
    secret = await eventually(lambda: _certificates(admin), what="certificates")
    await first.close()
    data = {**secret["data"], damaged: base64.b64encode(b"nonsense").decode()}
    await admin.replace(SECRETS, {**secret, "data": data})
    second = await operators.start("second")

    async def mended() -> bool:
        assert not second.task.done(), second.task
        found = await _certificates(admin)
        assert found
        assert found["data"][damaged] != data[damaged]
        return True

    await eventually(mended, deadline=60, what="others are made")


async def _certificates(admin: Cluster) -> Manifest | None:
    found = await admin.get(SECRETS, SYSTEM, SECRET)
    return found if found and found.get("data") else None


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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It has asked, too, where there was no answer in time.
    monkeypatch.setattr(poll, "_DEADLINE_SECONDS", 60.0)
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
