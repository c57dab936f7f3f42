"""The catalogue of circuits and the checks of their inputs."""

from muster_proving.circuits.curves import Curve
from muster_proving.circuits.hashes import Hash
from muster_proving.circuits.spec import (
    CircuitSpec,
    parse_circuit,
    parse_inputs,
    public_signals,
    witness,
)

__all__ = [
    "CircuitSpec",
    "Curve",
    "Hash",
    "parse_circuit",
    "parse_inputs",
    "public_signals",
    "witness",
]
