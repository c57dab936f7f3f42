"""A key of a ceremony, brought in by the custom resource, makes the proofs."""

import hashlib
from pathlib import Path

import pytest

from e2e.ceremony import hold
from e2e.fleet import Fleet, client, fixed
from muster_proving import CircuitSpec, import_key
from muster_proving.independent import verify_with_py_ecc

pytestmark = pytest.mark.e2e

SPEC = CircuitSpec.from_key_id("addition-poseidon@bn254")
POWER = 10


async def test_proofs_are_made_with_the_key_of_a_ceremony(fleet: Fleet, tmp_path: Path) -> None:
    zkey = hold(SPEC, POWER, tmp_path)
    key = import_key(SPEC, zkey.read_bytes())
    fleet.cluster.kubectl(
        *("create", "secret", "generic", "ceremony", "-n", fleet.namespace),
        f"--from-file=final.zkey={zkey}",
    )
    imported = {
        "name": "addition",
        "source": {"secretRef": {"name": "ceremony", "key": "final.zkey"}},
        "sha256": hashlib.sha256(zkey.read_bytes()).hexdigest(),
        "version": key.version,
    }
    spec = {"circuits": [{"name": "addition"}], "keys": {"imported": [imported]}}
    fleet.cluster.apply(fleet.manifest(**spec, **fixed(1)), fleet.namespace)
    fleet.cluster.kubectl(
        *("wait", f"proverpool/{fleet.pool}", "-n", fleet.namespace),
        *("--for=condition=Ready", "--timeout=6m"),
    )
    # The coordinator is asked which keys it uses; what it answers may be told after Ready.
    fleet.cluster.kubectl(
        *("wait", f"proverpool/{fleet.pool}", "-n", fleet.namespace),
        *("--for=jsonpath={.status.keys[*].keyId}=" + SPEC.key_id, "--timeout=4m"),
    )
    status = fleet.cluster.get("proverpool", fleet.pool, fleet.namespace)["status"]
    assert status["keys"] == [{"keyId": SPEC.key_id, "version": key.version}]
    assert not fleet.cluster.condition("proverpool", fleet.pool, fleet.namespace, "InsecureSetup")
    async with client(fleet) as api:
        task_id = await api.submit("addition", {"a": 20, "b": 22})
        (task,) = await api.all_ended([task_id], deadline=300)
        shown = await api.key("addition")
    assert (task["status"], task["verified"]) == ("completed", True), task["error"]
    assert task["key_version"] == key.version
    assert verify_with_py_ecc(shown, task["public_inputs"], task["proof"])
