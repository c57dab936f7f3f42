"""The verifier that shares no code with ours: it accepts what ours accepts, and nothing else."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from muster_proving import CircuitSpec, Curve, independent
from muster_proving.independent import verify_with_py_ecc

from .samples import EXAMPLES, SPECS, Loaded

ADDITION = CircuitSpec("addition", Curve.BN254)
Files = tuple[dict[str, Any], list[str], dict[str, Any]]


def make_files(loaded: Loaded) -> Files:
    """Key, public signals and proof as snarkjs' files, in the verifier's order."""
    bundle = loaded.prover.prove(EXAMPLES[loaded.spec.name])
    proof, key, public = loaded.verifier.to_snarkjs(bundle.public, bundle.proof)
    return key, public, proof


def test_its_import_leaves_the_limit_of_recursion_alone() -> None:
    code = """
import sys
limit = sys.getrecursionlimit()
import muster_proving.independent
assert sys.getrecursionlimit() == limit
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_it_accepts_every_circuit_on_every_curve(loaded: Loaded) -> None:
    key, public, proof = make_files(loaded)
    assert verify_with_py_ecc(key, public, proof)
    assert not verify_with_py_ecc(key, loaded.altered(public, len(public) - 1), proof)


def test_it_refuses_a_proof_of_another_key(keys: dict[CircuitSpec, Loaded]) -> None:
    merkle, range_ = SPECS[3:5]
    _, public, proof = make_files(keys[merkle])
    key, _, _ = make_files(keys[range_])
    assert not verify_with_py_ecc(key, public, proof)


@pytest.fixture(scope="module")
def files(keys: dict[CircuitSpec, Loaded]) -> Files:
    return make_files(keys[ADDITION])


def _alias(public: list[str]) -> list[str]:
    return [str(int(public[0]) + Curve.BN254.modulus), *public[1:]]


@pytest.mark.parametrize(
    "change",
    [
        _alias,
        lambda public: public[1:],
        lambda public: [*public, "0"],
        lambda public: [int(signal) for signal in public],
        lambda public: [f"0{public[0]}", *public[1:]],
        lambda public: ["-1", *public[1:]],
        lambda public: ["٣", *public[1:]],
        lambda _: None,
    ],
)
def test_it_refuses_signals_that_are_not_canonical(change: Any, files: Files) -> None:
    key, public, proof = files
    assert not verify_with_py_ecc(key, change(public), proof)


INFINITY = ["0", "1", "0"]


@pytest.mark.parametrize(
    "part",
    [
        {"pi_a": ["1", "1", "1"]},
        {"pi_a": INFINITY},
        {"pi_a": ["1", "2"]},
        {"pi_a": "12"},
        {"pi_b": [["1", "0"], ["2", "0"], ["1", "0"]]},
        {"pi_b": [["1"], ["2"], ["1"]]},
        {"pi_c": None},
        {"pi_c": ["1", str(2**256), "1"]},
        {"curve": "bls12381"},
        {"curve": "bn254"},
        {"protocol": "plonk"},
    ],
)
def test_it_refuses_malformed_proofs(part: dict[str, Any], files: Files) -> None:
    key, public, proof = files
    assert not verify_with_py_ecc(key, public, {**proof, **part})
    assert not verify_with_py_ecc(key, public, {k: v for k, v in proof.items() if k not in part})


def test_it_refuses_a_point_outside_of_the_subgroup(files: Files) -> None:
    curve = pytest.importorskip("py_ecc.optimized_bn128")
    key, public, proof = files
    # x = 1 + 0u gives a point of the twist; a random one is hardly ever in the subgroup.
    stray = next(_points_on_the_twist(curve))
    coordinates = [[str(int(c)) for c in part.coeffs] for part in stray]
    assert curve.is_on_curve(stray, curve.b2)
    assert not verify_with_py_ecc(key, public, {**proof, "pi_b": coordinates})


def _points_on_the_twist(curve: Any) -> Any:
    """Points of the curve over FQ2 that multiplication by the group's order does not annul."""
    for x in range(1, 100):
        element = curve.FQ2([x, 0])
        square = element * element * element + curve.b2
        root = _square_root(curve, square)
        if root is not None:
            point = (element, root, curve.FQ2.one())
            if not curve.is_inf(curve.multiply(point, curve.curve_order)):
                yield point


def _square_root(curve: Any, square: Any) -> Any:
    """A root in FQ2 by the norm, or None (the modulus is 3 mod 4)."""
    p = curve.field_modulus
    a, b = (int(c) for c in square.coeffs)
    norm = (a * a + b * b) % p
    for sign in (1, -1):
        half = (a + sign * pow(norm, (p + 1) // 4, p)) * pow(2, -1, p) % p
        x = pow(half, (p + 1) // 4, p)
        if x:
            root = curve.FQ2([x, b * pow(2 * x, -1, p) % p])
            if root * root == square:
                return root
    return None


def test_it_knows_nothing_of_our_own_verifier() -> None:
    source = Path(independent.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source)
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
        )
    }
    assert imported == {"collections", "importlib", "sys", "types", "typing"}
    assert set(re.findall(r'import_module\(f?"(\w+)', source)) == {"py_ecc"}
