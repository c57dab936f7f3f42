"""The example of a control plane for workloads: an account, a workload, its result."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.fleet import Fleet
from muster_testing.waiting import eventually

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[1] / "examples" / "coordinator-workloads.yaml"
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}


def _key(fleet: Fleet, *owner: str) -> str:
    """A new API key, made as an operator makes it."""
    command = ("muster-coordinator", "keys", "create", *owner)
    deployment = f"deploy/{fleet.pool}-coordinator"
    return fleet.cluster.kubectl("exec", "-n", fleet.namespace, deployment, "--", *command).strip()


async def _ended(http: httpx.AsyncClient, workload: str) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        try:
            answer = await http.get(f"/v1/workloads/{workload}", params={"wait": "10s"})
        except httpx.TransportError:
            return None
        if answer.status_code in {httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS}:
            return None
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
        answer = await http.post("/v1/workloads", json=body)
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
            answer = await http.get("/v1/admin/workers", headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == status, answer.text
