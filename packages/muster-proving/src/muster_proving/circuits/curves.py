"""The curves, and the moduli of their scalar fields."""

from enum import StrEnum
from functools import cached_property

import muster_native


class Curve(StrEnum):
    """A pairing-friendly curve; the value is its name on the wire."""

    BN254 = "bn254"
    BLS12_381 = "bls12-381"

    @cached_property
    def modulus(self) -> int:
        """The order of the groups: public signals and witnesses are below it."""
        return int(muster_native.modulus(self.value))
