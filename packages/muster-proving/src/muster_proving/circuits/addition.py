"""Two committed values and their sum: `{"a": N, "b": N}`; public: both commitments, sum.

Optional `blinding_a` and `blinding_b` make the commitments reproducible.
"""

from collections.abc import Mapping
from typing import Any

from muster_proving.circuits.circuit import Circuit, JsonObject
from muster_proving.circuits.curves import Curve
from muster_proving.circuits.hashes import Hash
from muster_proving.circuits.values import blinding, check_fields, decimal

OPERAND_BITS = 128


class AdditionCircuit(Circuit):
    """Operands are integers of 128 bits, so that their sum is one of integers too."""

    name = "addition"
    wire_name = "addition"
    size_name = None
    sizes = range(1)
    default_size = 0

    def parse(self, curve: Curve, size: int, given: Mapping[str, Any]) -> JsonObject:
        """Check both operands; the canonical numbers are decimal strings."""
        check_fields(given, ("a", "b", "blinding_a", "blinding_b"))
        below = 2**OPERAND_BITS
        allowed = f"an integer from 0 to 2^{OPERAND_BITS} - 1, as a number or as decimal digits"
        canonical = {}
        for name in ("a", "b"):
            operand = decimal(name, given.get(name), below=below, allowed=allowed, secret=True)
            canonical[name] = str(operand)
        for name in ("blinding_a", "blinding_b"):
            canonical[name] = str(blinding(name, given.get(name), curve.modulus))
        return canonical

    def witness(
        self, curve: Curve, size: int, hash_with: Hash, inputs: Mapping[str, Any]
    ) -> list[str]:
        """The canonical numbers in order."""
        return [inputs[name] for name in ("a", "b", "blinding_a", "blinding_b")]
