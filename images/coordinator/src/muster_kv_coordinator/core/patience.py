"""How long each replica may take over a write before somebody else is asked."""

from muster_kv.health import HEALTHY, Health, Latency

_MOST_SECONDS = 1.0


class Patience:
    """Learns from answers: the mean and four deviations, as timers of retransmission do.

    Args:
        least: seconds, however fast a replica has been.
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._latencies: dict[str, Latency] = {}
        self._healths: dict[str, Health] = {}

    def seconds(self, node_id: str) -> float:
        """How long a replica may take now."""
        latency = self._latencies.get(node_id)
        if latency is None:
            return max(self._least, _MOST_SECONDS / 4)
        return min(_MOST_SECONDS, max(self._least, latency.mean + 4 * latency.deviation))

    def answered(self, node_id: str, seconds: float) -> None:
        """A replica took so long."""
        self._healths.pop(node_id, None)
        self._observe(node_id, seconds)

    def late(self, node_id: str, seconds: float, now: float) -> None:
        """A replica had not answered after so long: next time it may take longer.

        Until then others are asked first, for longer with each time.
        """
        self._healths[node_id] = self._healths.get(node_id, HEALTHY).fail(now)
        self._observe(node_id, 2 * seconds)

    def suspects(self, node_id: str, now: float) -> bool:
        """Whether others should be asked first."""
        health = self._healths.get(node_id)
        return health is not None and health.suspect(now)

    def _observe(self, node_id: str, seconds: float) -> None:
        self._latencies[node_id] = self._latencies.get(node_id, Latency()).observe(seconds)
