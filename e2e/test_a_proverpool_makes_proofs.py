"""The whole user story: apply the example, submit, and check the proofs with foreign verifiers."""

import asyncio
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from e2e.fleet import Fleet, client
from muster_proving import parse_circuit, parse_inputs, public_signals
from muster_proving.independent import verify_with_py_ecc

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).parents[1] / "examples" / "proverpool.yaml"
PROOFS = 50


async def test_fifty_proofs_of_the_example_are_accepted_by_py_ecc(fleet: Fleet) -> None:
    fleet.cluster.kubectl("apply", "-n", fleet.namespace, "-f", str(EXAMPLE))
    fleet.cluster.kubectl(
        *("wait", f"proverpool/{fleet.pool}", "-n", fleet.namespace),
        *("--for=condition=Ready", "--timeout=6m"),
    )
    spec = parse_circuit("merkle")
    leaves = [hex(1000 + n) for n in range(PROOFS)]
    asked = [{"leaves": leaves, "leaf_index": index} for index in range(PROOFS)]
    async with client(fleet) as api:
        ids = await asyncio.gather(*(api.submit("merkle", inputs) for inputs in asked))
        tasks = await api.all_ended(ids, deadline=900)
        key = await api.key("merkle")
    for task, inputs in zip(tasks, asked, strict=True):
        assert task["status"] == "completed", task["error"]
        assert task["verified"] is True
        assert task["public_inputs"] == public_signals(spec, parse_inputs(spec, inputs))
    with ProcessPoolExecutor() as verifiers:
        verdicts = verifiers.map(
            verify_with_py_ecc,
            [key] * PROOFS,
            [task["public_inputs"] for task in tasks],
            [task["proof"] for task in tasks],
        )
    assert list(verdicts) == [True] * PROOFS
