"""What the bench knows of a store that is up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Deployment:
    """A store that serves.

    Attributes:
        name: of the contender.
        version: of its software.
        pids: all processes that it needs to serve, without those that they start.
        opening: how the generator connects to it.
        metrics: where it tells what it counts, as Prometheus does; empty if it does not.
    """

    name: str
    version: str
    pids: tuple[int, ...]
    opening: Mapping[str, Any]
    metrics: str = ""
