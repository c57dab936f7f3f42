"""The example of a control plane for workloads: an account, a workload, its result."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.fleet import Fleet
from muster_testing.waiting import eventually

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[1] / "examples" / "coordinator-workloads.yaml"
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
BUSY = {httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS}


def _key(fleet: Fleet, *owner: str) -> str:
    """A new API key, made as an operator makes it."""
    command = ("muster-coordinator", "keys", "create", *owner)
    deployment = f"deploy/{fleet.pool}-coordinator"
    return fleet.cluster.kubectl("exec", "-n", fleet.namespace, deployment, "--", *command).strip()


async def _answered(http: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    """The answer of a replica that can give one; the way to one may not be there yet."""

    async def found() -> httpx.Response | None:
        try:
            answer = await http.request(method, path, **more)
        except httpx.TransportError:
            return None
        return None if answer.status_code in BUSY else answer

    return await eventually(found, deadline=300, what=f"{method} {path} is answered")


async def _ended(http: httpx.AsyncClient, workload: str) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        path = f"/v1/workloads/{workload}"
        answer = await _answered(http, "GET", path, params={"wait": "10s"})
        answer.raise_for_status()
        shown: dict[str, Any] = answer.json()
        return shown if shown["status"] in ENDED else None

    return await eventually(found, deadline=300, what="the workload has ended")


async def test_a_customers_workload_is_done_by_a_pool(fleet: Fleet) -> None:
    fleet.cluster.kubectl("apply", "-n", fleet.namespace, "-f", str(EXAMPLE))
    for condition in ("Ready", "WorkerPoolsReady"):
        fleet.cluster.kubectl(
            *("wait", "coordinator/work", "-n", fleet.namespace),
            *(f"--for=condition={condition}", "--timeout=6m"),
        )
    work = Fleet(fleet.cluster, fleet.namespace, "work")
    key = await asyncio.to_thread(_key, work, "--customer", "acme")
    url = await asyncio.to_thread(work.api)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
        body = {"workload_type": "sleep", "input_params": {"seconds": 1}}
        # An answer may be lost; what is asked again is the same workload.
        again = {"Idempotency-Key": str(uuid.uuid4())}
        answer = await _answered(http, "POST", "/v1/workloads", json=body, headers=again)
        assert answer.status_code in {201, 202}, answer.text
        done = await _ended(http, answer.json()["workload_id"])
    assert done["status"] == "COMPLETED", done
    workers = {pod["metadata"]["name"] for pod in work.pods("worker")}
    assert done["worker_id"] in workers


async def test_the_first_administrators_key_opens_what_is_theirs(fleet: Fleet) -> None:
    coordinator = {
        "apiVersion": "muster.dev/v1alpha1",
        "kind": "Coordinator",
        "metadata": {"name": "work"},
        "spec": {"accounts": {}},
    }
    fleet.cluster.apply(coordinator, fleet.namespace)
    fleet.cluster.kubectl(
        *("wait", "coordinator/work", "-n", fleet.namespace),
        *("--for=condition=Ready", "--timeout=6m"),
    )
    work = Fleet(fleet.cluster, fleet.namespace, "work")
    secret = work.cluster.kubectl(
        *("get", "secret", "work-coordinator-admin", "-n", fleet.namespace),
        *("-o", "go-template={{.data.key | base64decode}}"),
    )
    url = await asyncio.to_thread(work.api)
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        for key, status in ((secret, 200), (secret[:-1] + "?", 401)):
            shown = {"Authorization": f"Bearer {key}"}
            answer = await _answered(http, "GET", "/v1/admin/workers", headers=shown)
            assert answer.status_code == status, answer.text
