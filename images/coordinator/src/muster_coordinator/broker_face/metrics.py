"""What is counted of the broker; everything exists at 0 from the start."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from muster_broker.messages import Ask, Event, Outcome

OUTCOMES = (*(outcome.value for outcome in Outcome), "duplicate", "buried", "later")


class BrokerMetrics:
    """The broker's metrics, in the coordinator's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._connected = Gauge(
            "coordinator_broker_connected",
            "1 while there is a connection to the broker.",
            registry=registry,
        )
        self._connections = Counter(
            "coordinator_broker_connections_total",
            "Connections to the broker that came to be.",
            registry=registry,
        )
        self._sessions = Gauge(
            "coordinator_broker_sessions",
            "Workers on the broker that this replica sends work to.",
            registry=registry,
        )
        self._messages = Counter(
            "coordinator_broker_messages_total",
            "Messages of workers, and what became of them.",
            ("type", "outcome"),
            registry=registry,
        )
        for kind in (*Event, *Ask, "other"):
            for outcome in OUTCOMES:
                self._messages.labels(kind, outcome)

    def connected(self, up: bool) -> None:
        """The connection came or went."""
        self._connected.set(int(up))
        if up:
            self._connections.inc()

    def sessions(self, count: int) -> None:
        """So many workers are served."""
        self._sessions.set(count)

    def handled(self, kind: str, outcome: str) -> None:
        """A message was handled; `kind` may be anything."""
        known = kind in frozenset(Event) or kind in frozenset(Ask)
        self._messages.labels(kind if known else "other", outcome).inc()
