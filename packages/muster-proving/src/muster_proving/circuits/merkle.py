"""Membership of a leaf in a tree: `{"leaves": ["0x…", …], "leaf_index": 0}`; public: root."""

from collections.abc import Mapping
from typing import Any

import muster_native
from muster_proving.circuits.circuit import Circuit, JsonObject
from muster_proving.circuits.curves import Curve
from muster_proving.circuits.hashes import Hash
from muster_proving.circuits.values import check_fields, decimal, describe, hex_element
from muster_proving.errors import InvalidInput

MAX_LEAVES = 65_536


class MerkleCircuit(Circuit):
    """A tree of 2^depth leaves, of which the request gives the first and the rest are zero."""

    name = "merkle"
    wire_name = "merkle_proof"
    size_name = "depth"
    sizes = range(1, 33)
    default_size = 20

    def parse(self, curve: Curve, size: int, given: Mapping[str, Any]) -> JsonObject:
        """Check every leaf and the index; the canonical leaves are lower-case 0x-hex."""
        check_fields(given, ("leaves", "leaf_index"))
        leaves = given.get("leaves")
        most = min(2**size, MAX_LEAVES)
        if not isinstance(leaves, list) or not 1 <= len(leaves) <= most:
            raise InvalidInput("leaves", describe(leaves), f"a list of 1 to {most} hex strings")
        element = f"hex numbers of 1 to 64 digits below the modulus of {curve.value}"
        modulus = curve.modulus
        numbers = [hex_element(f"leaves[{i}]", v, modulus, element) for i, v in enumerate(leaves)]
        index = decimal(
            "leaf_index",
            given.get("leaf_index"),
            below=len(leaves),
            allowed=f"an integer from 0 to {len(leaves) - 1}, the index of a given leaf",
            secret=True,
        )
        return {"leaves": [f"{number:#x}" for number in numbers], "leaf_index": index}

    def witness(
        self, curve: Curve, size: int, hash_with: Hash, inputs: Mapping[str, Any]
    ) -> list[str]:
        """Leaf, index, and the siblings from the leaf up."""
        index = inputs["leaf_index"]
        numbers = [int(leaf, 16) for leaf in inputs["leaves"]]
        leaves = b"".join(number.to_bytes(32, "big") for number in numbers)
        _, siblings = muster_native.merkle_path(curve.value, hash_with.value, size, leaves, index)
        return [str(numbers[index]), str(index), *siblings]
