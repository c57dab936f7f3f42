"""A coordinator that believes nobody: workers need a certificate and a token to work for it."""

from pathlib import Path

import pytest

from e2e.fleet import Fleet, client

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[1] / "examples" / "coordinator-secured.yaml"


async def test_a_worker_with_certificate_and_token_makes_a_proof(fleet: Fleet) -> None:
    fleet.cluster.kubectl("apply", "-n", fleet.namespace, "-f", str(EXAMPLE))
    fleet.cluster.kubectl(
        *("wait", "proverpool/careful", "-n", fleet.namespace),
        *("--for=condition=Ready", "--timeout=6m"),
    )
    secured = Fleet(fleet.cluster, fleet.namespace, "secured")
    async with client(secured) as api:
        task_id = await api.submit("merkle", {"leaves": ["0x1", "0x2"], "leaf_index": 1})
        (task,) = await api.all_ended([task_id], deadline=300)
    assert (task["status"], task["verified"]) == ("completed", True), task["error"]
    assert task["worker_id"] in {pod["metadata"]["name"] for pod in fleet.pods("worker")}
