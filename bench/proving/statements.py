"""What is proved: the same statements for every contender."""

from dataclasses import dataclass
from typing import Any

from muster_proving import CircuitSpec, Curve


@dataclass(frozen=True)
class Statement:
    """A circuit with inputs, and how often it is proved in one round."""

    metric: str
    spec: CircuitSpec
    inputs: dict[str, Any]
    times: int


_CASES: tuple[tuple[str, int, dict[str, Any], int], ...] = (
    ("merkle", 20, {"leaves": [hex(3**i) for i in range(100)], "leaf_index": 77}, 3),
    ("range", 64, {"value": 3_141_592_653_589_793, "min": 10**15, "max": 10**16}, 20),
    ("addition", 0, {"a": 2**127 + 11, "b": 3**80}, 10),
)

STATEMENTS = tuple(
    Statement(
        metric=f"{curve.value.replace('-', '_')}_{name}{size or ''}",
        spec=CircuitSpec(name, curve, size),
        inputs=inputs,
        times=times,
    )
    for curve in Curve
    for name, size, inputs, times in _CASES
)
