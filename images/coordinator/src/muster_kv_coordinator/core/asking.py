"""What several replicas answer that are asked the same."""

from dataclasses import dataclass, field

from muster_kv.wire.messages import Failure, ReplyBody
from muster_kv_coordinator.core import failures
from muster_kv_coordinator.core.failures import StaleRingError


@dataclass(slots=True)
class Answers:
    """Who said what, in the order in which it came."""

    good: dict[str, ReplyBody] = field(default_factory=dict)
    bad: list[Failure] = field(default_factory=list)

    @property
    def stale(self) -> StaleRingError | None:
        """The newest ring that replicas know of, where one refused for it."""
        return failures.stale(self.bad)


@dataclass(frozen=True, slots=True)
class BegunRead:
    """A read that was begun elsewhere, under a version of the ring, and what replicas answered."""

    ring_version: int
    answers: Answers
