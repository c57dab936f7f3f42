"""A small key of every circuit on both curves, and inputs for each circuit."""

from typing import Any

from hypothesis import settings

from muster_proving import (
    CircuitSpec,
    Curve,
    Hash,
    generate_insecure_key,
    load_proving_key,
    load_verifying_key,
)


class Loaded:
    """A key pair, ready to prove and verify."""

    def __init__(self, spec: CircuitSpec) -> None:
        self.spec = spec
        self.material = generate_insecure_key(spec)
        version = self.material.version
        self.prover = load_proving_key(spec, self.material.proving_key, version)
        self.verifier = load_verifying_key(spec, self.material.verifying_key, version)

    def altered(self, public: list[str], index: int) -> list[str]:
        """The signals with one of them changed to another canonical value."""
        changed = list(public)
        changed[index] = str((int(changed[index]) + 1) % self.spec.curve.modulus)
        return changed


A_FEW = settings(max_examples=15, deadline=None)
"""For properties whose every example makes proofs: seconds on a busy machine."""

SIZES = {"merkle": 4, "range": 16, "addition": 0}
SPECS = [CircuitSpec(name, curve, size) for curve in Curve for name, size in SIZES.items()] + [
    CircuitSpec("merkle", Curve.BN254, 4, Hash.MIMC),
    CircuitSpec("range", Curve.BLS12_381, 16, Hash.MIMC),
    CircuitSpec("addition", Curve.BN254, 0, Hash.MIMC),
]

EXAMPLES: dict[str, dict[str, Any]] = {
    "merkle": {"leaves": ["0x1", "2", "0xabc"], "leaf_index": 1},
    "range": {"value": 30, "min": 18, "max": "120"},
    "addition": {"a": 2**128 - 1, "b": "7"},
}
