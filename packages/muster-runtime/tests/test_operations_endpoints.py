from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, Gauge

from muster_runtime.ops import Health, OpsServer


class Process:
    def __init__(self) -> None:
        self.ready = False

    async def health(self) -> Health:
        return Health(True, {"status": "healthy"})

    async def readiness(self) -> Health:
        return Health(self.ready, {"database": self.ready})

    async def queue(self) -> dict[str, int]:
        return {"pending": 3}


@pytest.fixture
def process() -> Process:
    return Process()


@pytest_asyncio.fixture
async def ops(process: Process) -> AsyncIterator[httpx.AsyncClient]:
    registry = CollectorRegistry()
    Gauge("worker_connected", "Whether there is a session", registry=registry).set(1)
    server = OpsServer(
        service="muster-worker",
        version="0.1.0",
        port=0,
        registry=registry,
        health=process.health,
        ready=process.readiness,
        routes={"/queue": process.queue},
    )
    async with server:
        base = f"http://127.0.0.1:{server.bound_port}"
        async with httpx.AsyncClient(base_url=base, timeout=60) as client:
            yield client


async def test_health_tells_what_the_process_says(ops: httpx.AsyncClient) -> None:
    answer = await ops.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


async def test_readiness_is_503_until_the_process_is_ready(
    ops: httpx.AsyncClient, process: Process
) -> None:
    before = await ops.get("/ready")
    process.ready = True
    after = await ops.get("/ready")
    assert (before.status_code, before.json()) == (503, {"database": False})
    assert (after.status_code, after.json()) == (200, {"database": True})


async def test_metrics_are_in_the_format_that_is_asked_for(ops: httpx.AsyncClient) -> None:
    plain = await ops.get("/metrics")
    assert "worker_connected 1.0" in plain.text
    assert plain.headers["content-type"].startswith("text/plain")
    openmetrics = await ops.get(
        "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert openmetrics.text.rstrip().endswith("# EOF")


async def test_the_root_names_the_service_and_further_routes_answer_json(
    ops: httpx.AsyncClient,
) -> None:
    root = (await ops.get("/")).json()
    assert root["service"] == "muster-worker"
    assert root["endpoints"]["ready"] == "/ready"
    assert (await ops.get("/queue")).json() == {"pending": 3}


async def test_other_paths_and_methods_are_refused(ops: httpx.AsyncClient) -> None:
    assert (await ops.get("/etc")).status_code == 404
    assert (await ops.post("/queue")).status_code == 405
