"""All that decides what a Coordinator becomes."""

from dataclasses import dataclass, field

from muster_api.coordinator import CoordinatorSpec
from muster_api.proverpool import ProverPoolSpec
from muster_operator.children.base import Owner
from muster_operator.children.secret_files import Credentials


@dataclass(frozen=True, slots=True)
class PoolScale:
    """How many workers one of its own pools has, beside what the spec says.

    Args:
        asleep: whether it has no work and therefore no workers.
        spared: workers that the autoscaler has to leave, because they have tasks.
    """

    asleep: bool = False
    spared: int = 0


AWAKE = PoolScale()


@dataclass(frozen=True, slots=True)
class CoordinatorInput:
    """A Coordinator's spec, and what was observed around it.

    Args:
        credentials: the Secrets that it has as files.
        pools: the ProverPools that it serves, by name.
        scales: of its own worker pools, by name; one that is missing is awake.
    """

    owner: Owner
    spec: CoordinatorSpec
    credentials: Credentials
    pools: dict[str, ProverPoolSpec] = field(default_factory=dict)
    scales: dict[str, PoolScale] = field(default_factory=dict)
