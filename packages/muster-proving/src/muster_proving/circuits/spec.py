"""Which circuit, of which size, on which curve; and its inputs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import muster_native
from muster_proving.circuits.addition import AdditionCircuit
from muster_proving.circuits.circuit import Circuit, JsonObject
from muster_proving.circuits.curves import Curve
from muster_proving.circuits.hashes import Hash
from muster_proving.circuits.merkle import MerkleCircuit
from muster_proving.circuits.range import RangeCircuit
from muster_proving.circuits.values import describe, show
from muster_proving.errors import InvalidInput

_CATALOGUE: tuple[Circuit, ...] = (MerkleCircuit(), RangeCircuit(), AdditionCircuit())
_BY_NAME = {c.name: c for c in _CATALOGUE} | {c.wire_name: c for c in _CATALOGUE}
_KEY_ID = re.compile(
    r"(?P<name>[a-z]+)(?:-(?P<size>[0-9]{1,3}))?-(?P<hash>[a-z]+)@(?P<curve>[a-z0-9-]+)"
)


def _find(name: object) -> Circuit:
    if isinstance(name, str) and name in _BY_NAME:
        return _BY_NAME[name]
    raise InvalidInput("circuit", show(name), ", ".join(sorted(_BY_NAME)))


@dataclass(frozen=True)
class CircuitSpec:
    """A circuit of a size on a curve, with a hash: what a key is for.

    `name` is canonical (`merkle`, `range`, `addition`); `size` is the depth of a merkle tree, the
    bits of a range, 0 for addition. Raises InvalidInput for anything that is not in the catalogue.
    """

    name: str
    curve: Curve = Curve.BN254
    size: int = 0
    hash: Hash = Hash.POSEIDON

    def __post_init__(self) -> None:
        circuit = self.circuit
        if circuit.name != self.name:
            raise InvalidInput("circuit", show(self.name), circuit.name)
        if type(self.size) is not int or self.size not in circuit.sizes:
            low, high = circuit.sizes[0], circuit.sizes[-1]
            allowed = f"{low} to {high}" if circuit.size_name else "nothing, or 0"
            raise InvalidInput(circuit.size_name or "size", show(self.size), allowed)

    @property
    def circuit(self) -> Circuit:
        """The catalogue's entry."""
        return _find(self.name)

    @property
    def circuit_id(self) -> str:
        """Circuit, size and hash instance, e.g. `merkle-20-poseidon`."""
        sized = f"{self.name}-{self.size}" if self.size else self.name
        return f"{sized}-{self.hash.value}"

    @property
    def key_id(self) -> str:
        """The circuit id and the curve, e.g. `merkle-20-poseidon@bn254`."""
        return f"{self.circuit_id}@{self.curve.value}"

    @property
    def wire_name(self) -> str:
        """The circuit type in task assignments, e.g. `merkle_proof`."""
        return self.circuit.wire_name

    @property
    def task_type(self) -> str:
        """The type of task that proves it, e.g. `prove.merkle`."""
        return f"prove.{self.name}"

    @classmethod
    def from_key_id(cls, key_id: str) -> Self:
        """The spec that a key id names. Raises InvalidInput."""
        match = _KEY_ID.fullmatch(key_id)
        if match is None or match["curve"] not in list(Curve) or match["hash"] not in list(Hash):
            raise InvalidInput("key id", show(key_id), "e.g. merkle-20-poseidon@bn254")
        size = int(match["size"] or 0)
        spec = cls(match["name"], Curve(match["curve"]), size, Hash(match["hash"]))
        if spec.key_id != key_id:
            raise InvalidInput("key id", show(key_id), f"e.g. {spec.key_id}")
        return spec


def parse_circuit(
    name: object,
    *,
    curve: object = Curve.BN254,
    size: object = None,
    hash_with: object = Hash.POSEIDON,
) -> CircuitSpec:
    """The spec for what a request or a configuration says; `size` None means the default.

    Takes the names of the wire (`merkle_proof`) too. Raises InvalidInput.
    """
    circuit = _find(name)
    known = [known.value for known in Curve]
    if not isinstance(curve, str) or curve.lower() not in known:
        raise InvalidInput("curve", show(curve), " or ".join(known))
    if size is None:
        size = circuit.default_size
    if not isinstance(size, int) or isinstance(size, bool):
        raise InvalidInput(circuit.size_name or "size", show(size), "an integer")
    hashes = [known.value for known in Hash]
    if not isinstance(hash_with, str) or hash_with not in hashes:
        raise InvalidInput("hash", show(hash_with), " or ".join(hashes))
    return CircuitSpec(circuit.name, Curve(curve.lower()), size, Hash(hash_with))


def parse_inputs(spec: CircuitSpec, given: object) -> JsonObject:
    """The inputs of one proof, checked and canonical: JSON-able, with random blindings filled in.

    What comes out determines the public signals, and comes out unchanged if parsed again.
    Raises InvalidInput, which names the element and keeps secret values to itself.
    """
    if not isinstance(given, Mapping):
        raise InvalidInput("inputs", describe(given), "an object")
    return spec.circuit.parse(spec.curve, spec.size, given)


def witness(spec: CircuitSpec, inputs: Mapping[str, Any]) -> list[str]:
    """The prover's view of canonical inputs: decimal numbers in the circuit's order."""
    return spec.circuit.witness(spec.curve, spec.size, spec.hash, inputs)


def public_signals(spec: CircuitSpec, inputs: Mapping[str, Any]) -> list[str]:
    """The public signals, as decimal strings, that a proof of canonical inputs must have."""
    numbers = witness(spec, inputs)
    return muster_native.public_signals(spec.key_id, numbers)
