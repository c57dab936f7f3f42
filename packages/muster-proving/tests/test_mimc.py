"""MiMC is gnark's: the digests of gnark-crypto itself, on numbers of all sizes."""

import json
import random
import subprocess
from pathlib import Path

import pytest

import muster_native
from muster_proving import CircuitSpec, Curve, Hash, parse_inputs, public_signals

from . import installed

HERE = Path(__file__).parent


def ask_gnark(requests: list[tuple[Curve, list[int]]]) -> list[str]:
    """gnark-crypto's digest of the blocks of each request."""
    program = installed.go("gnark-mimc", HERE / "gnark") / "program"
    documents = [
        {"curve": curve.value, "blocks": [str(block) for block in blocks]}
        for curve, blocks in requests
    ]
    done = subprocess.run(
        [program], input=json.dumps(documents).encode(), capture_output=True, check=True, timeout=60
    )
    digests: list[str] = json.loads(done.stdout)
    return digests


@pytest.mark.integration
def test_digests_are_those_of_gnark() -> None:
    numbers = random.Random(1)
    requests = []
    ours = []
    for curve in Curve:
        top = curve.modulus - 1
        for left, right in [(0, 0), (top, top), (1, 2)] + [
            (numbers.randrange(top), numbers.randrange(top)) for _ in range(10)
        ]:
            requests += [(curve, [left]), (curve, [left, right]), (curve, [left, right])]
            ours += [
                muster_native.hash_two(curve.value, "mimc", domain, str(left), str(right))
                for domain in ("leaf", "node", "commitment")
            ]
    assert ours == ask_gnark(requests)


@pytest.mark.integration
@pytest.mark.parametrize("curve", list(Curve))
def test_a_root_is_that_of_a_tree_of_gnark_s_hash(curve: Curve) -> None:
    spec = CircuitSpec("merkle", curve, 2, Hash.MIMC)
    leaves = [5, 6, 7, 0]
    hashed = [int(digest) for digest in ask_gnark([(curve, [leaf]) for leaf in leaves])]
    nodes = [int(d) for d in ask_gnark([(curve, hashed[:2]), (curve, hashed[2:])])]
    [root] = ask_gnark([(curve, nodes)])
    inputs = parse_inputs(spec, {"leaves": ["5", "6", "7"], "leaf_index": 2})
    assert public_signals(spec, inputs) == [root]
