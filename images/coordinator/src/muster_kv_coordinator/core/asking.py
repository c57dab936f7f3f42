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
class BegunQuestion:
    """What replicas answered to a request that was begun elsewhere, under a version of the ring.

    They were asked for the record of a read, or for the operation of a write.
    """

    ring_version: int
    answers: Answers

    def still(self, ring_version: int) -> Answers | None:
        """The answers, if that is the ring in force."""
        return self.answers if self.ring_version == ring_version else None
