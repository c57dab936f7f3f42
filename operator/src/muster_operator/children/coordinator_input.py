"""All that decides what a Coordinator becomes."""

from dataclasses import dataclass, field

from muster_api.coordinator import CoordinatorSpec
from muster_api.proverpool import ProverPoolSpec
from muster_operator.children.base import Owner
from muster_operator.children.secret_files import Credentials
from muster_operator.children.security import Security


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
        certificates: the revisions of managed certificates that are kept, the one in use first.
    """

    owner: Owner
    spec: CoordinatorSpec
    credentials: Credentials
    pools: dict[str, ProverPoolSpec] = field(default_factory=dict)
    scales: dict[str, PoolScale] = field(default_factory=dict)
    certificates: tuple[int, ...] = ()

    @property
    def security(self) -> Security:
        """How the Coordinator and its workers know each other."""
        revision = self.certificates[0] if self.certificates else 0
        return Security.of(self.owner.key.name, self.spec, revision)
