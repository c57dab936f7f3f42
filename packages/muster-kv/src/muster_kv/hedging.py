"""When to ask one more replica, and whom first: pure decisions over what was seen.

A second request goes out when an answer is later than nearly all were (Dean and Barroso, "The
Tail at Scale", 2013), and only for a small part of all requests: slowness must not make load.
"""

from collections.abc import Callable, Sequence

import msgspec


class Latency(msgspec.Struct, frozen=True, gc=False):
    """What a node's answers took, in seconds: mean and mean deviation, as in RFC 6298."""

    mean: float = 0.0
    deviation: float = 0.0
    samples: int = 0

    def observe(self, seconds: float) -> "Latency":
        """Return the latency after one more answer."""
        if not self.samples:
            return Latency(seconds, seconds / 2, 1)
        deviation = 0.75 * self.deviation + 0.25 * abs(seconds - self.mean)
        return Latency(0.875 * self.mean + 0.125 * seconds, deviation, self.samples + 1)


class Hedging(msgspec.Struct, frozen=True):
    """How eager to be. Times in seconds; `share` of the requests may be sent twice."""

    least: float = 0.005
    most: float = 0.25
    unknown: float = 0.05
    share: float = 0.1
    burst: float = 50.0

    def delay(self, latency: Latency) -> float:
        """Return how long to wait for an answer before asking another node as well."""
        if latency.samples < 8:
            return self.unknown
        return min(self.most, max(self.least, latency.mean + 4 * latency.deviation))


class Budget(msgspec.Struct, frozen=True, gc=False):
    """How many second requests may be sent: each first one earns a share of one."""

    tokens: float = 0.0

    def earn(self, policy: Hedging) -> "Budget":
        """Return the budget after a first request."""
        return Budget(min(policy.burst, self.tokens + policy.share))

    def spend(self) -> "Budget | None":
        """Return the budget after a second request; None where there is none to spend."""
        return Budget(self.tokens - 1) if self.tokens >= 1 else None


class Health(msgspec.Struct, frozen=True, gc=False):
    """Whether a node is asked first. After failures it comes last, and is tried now and then.

    Times are seconds of any one clock.
    """

    failures: int = 0
    suspect_until: float = 0.0

    def succeed(self) -> "Health":
        """Return the health after an answer."""
        return HEALTHY

    def fail(self, now: float) -> "Health":
        """Return the health after a failure: suspect for 0.1 s, then twice as long, up to 5 s."""
        failures = self.failures + 1
        return Health(failures, now + min(5.0, 0.1 * 2 ** min(failures - 1, 10)))

    def suspect(self, now: float) -> bool:
        """Tell whether the node should not be asked while another can be."""
        return now < self.suspect_until


HEALTHY = Health()


def order(nodes: Sequence[str], usable: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the nodes to ask, in turn: those that are usable first, else as they are preferred.

    All coordinators prefer the same taker for a key: writes that meet there know of each other.
    """
    return tuple(sorted(nodes, key=lambda node: not usable(node)))
