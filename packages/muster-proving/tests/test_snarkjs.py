"""snarkjs, the usual verifier of this kind of proof, accepts ours and refuses altered signals."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from muster_proving import CircuitSpec

from .samples import EXAMPLES, Loaded

HERE = Path(__file__).parent / "snarkjs"


def ask(folder: Path, claims: list[dict[str, Any]]) -> list[bool]:
    """The verdicts of snarkjs."""
    done = subprocess.run(
        ["node", str(HERE / "verify.cjs")],
        cwd=folder,
        input=json.dumps(claims).encode(),
        check=True,
        stdout=subprocess.PIPE,
        timeout=120,
    )
    verdicts: list[bool] = json.loads(done.stdout)
    return verdicts


@pytest.mark.integration
def test_snarkjs_agrees_on_every_circuit_and_curve(
    snarkjs: Path, keys: dict[CircuitSpec, Loaded]
) -> None:
    claims = []
    for loaded in keys.values():
        bundle = loaded.prover.prove(EXAMPLES[loaded.spec.name])
        proof, key, public = loaded.verifier.to_snarkjs(bundle.public, bundle.proof)
        claims.append({"key": key, "public": public, "proof": proof})
        for index in range(len(public)):
            altered = loaded.altered(public, index)
            claims.append({"key": key, "public": altered, "proof": proof})
        aliased = [str(int(public[0]) + loaded.spec.curve.modulus), *public[1:]]
        claims.append({"key": key, "public": aliased, "proof": proof})
        swapped = {**proof, "pi_a": proof["pi_c"], "pi_c": proof["pi_a"]}
        claims.append({"key": key, "public": public, "proof": swapped})
    verdicts = ask(snarkjs, claims)
    expected = [
        verdict
        for loaded in keys.values()
        for verdict in [True, *[False] * (3 if loaded.spec.name == "merkle" else 5)]
    ]
    assert verdicts == expected
