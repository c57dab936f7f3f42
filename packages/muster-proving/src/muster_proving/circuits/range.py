"""A committed value between bounds: `{"value": N, "min": N, "max": N}`; public: commitment, bounds.

An optional `blinding` makes the commitment reproducible.
"""

from collections.abc import Mapping
from typing import Any

from muster_proving.circuits.circuit import Circuit, JsonObject
from muster_proving.circuits.curves import Curve
from muster_proving.circuits.hashes import Hash
from muster_proving.circuits.values import blinding, check_fields, decimal, show
from muster_proving.errors import InvalidInput


class RangeCircuit(Circuit):
    """Bounds and value are integers of `bits` bits."""

    name = "range"
    wire_name = "range_proof"
    size_name = "bits"
    sizes = range(8, 129)
    default_size = 64

    def parse(self, curve: Curve, size: int, given: Mapping[str, Any]) -> JsonObject:
        """Check that min <= value <= max; the canonical numbers are decimal strings."""
        check_fields(given, ("value", "min", "max", "blinding"))
        allowed = f"an integer from 0 to 2^{size} - 1, as a number or as decimal digits"
        low, high = (
            decimal(bound, given.get(bound), below=2**size, allowed=allowed, secret=False)
            for bound in ("min", "max")
        )
        if low > high:
            raise InvalidInput("min", show(low), f"at most max, which is {high}")
        value = decimal("value", given.get("value"), below=2**size, allowed=allowed, secret=True)
        if not low <= value <= high:
            raise InvalidInput("value", "outside of min to max", f"an integer from {low} to {high}")
        factor = blinding("blinding", given.get("blinding"), curve.modulus)
        return {"value": str(value), "min": str(low), "max": str(high), "blinding": str(factor)}

    def witness(
        self, curve: Curve, size: int, hash_with: Hash, inputs: Mapping[str, Any]
    ) -> list[str]:
        """The canonical numbers in order."""
        return [inputs[name] for name in ("value", "min", "max", "blinding")]
