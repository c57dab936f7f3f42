"""The catalogue of circuits and the checks of their inputs."""

from muster_proving.circuits.curves import Curve
from muster_proving.circuits.spec import (
    CircuitSpec,
    parse_circuit,
    parse_inputs,
    public_signals,
    witness,
)

__all__ = ["CircuitSpec", "Curve", "parse_circuit", "parse_inputs", "public_signals", "witness"]
