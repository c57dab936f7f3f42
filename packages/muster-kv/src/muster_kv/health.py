"""What was seen of a node: how long its answers take, and whether it is asked first."""

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
