"""What every circuit of the catalogue provides."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from muster_proving.circuits.curves import Curve
from muster_proving.circuits.hashes import Hash

JsonObject = dict[str, Any]


class Circuit(ABC):
    """A circuit: its names, its sizes, and the way from a request to a witness."""

    name: ClassVar[str]
    wire_name: ClassVar[str]
    """The name in task assignments."""
    size_name: ClassVar[str | None]
    """What the size counts; None for a circuit of one size, which is 0."""
    sizes: ClassVar[range]
    default_size: ClassVar[int]

    @abstractmethod
    def parse(self, curve: Curve, size: int, given: Mapping[str, Any]) -> JsonObject:
        """Check a request and bring it into the one canonical form, random parts filled in.

        Raises InvalidInput. Parsing a canonical form returns it unchanged.
        """

    @abstractmethod
    def witness(
        self, curve: Curve, size: int, hash_with: Hash, inputs: Mapping[str, Any]
    ) -> list[str]:
        """The native inputs, in decimal, of canonical `inputs`."""
