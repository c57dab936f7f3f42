"""What the service calls."""

from dataclasses import dataclass

from muster_coordinator.engine.delivery import Delivery
from muster_coordinator.engine.ports import KeyStore
from muster_coordinator.engine.registry import Registry
from muster_coordinator.engine.reports import Reports
from muster_coordinator.proving.keyring import KeyRing
from muster_coordinator.proving.offers import Offers


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts of the engine that workers speak to."""

    registry: Registry
    delivery: Delivery
    reports: Reports
    keys: KeyStore
    keyring: KeyRing
    offers: Offers


@dataclass(frozen=True, slots=True)
class Terms:
    """What workers are told.

    Attributes:
        heartbeat_ms: how often they should send heartbeats.
        timeout_ms: how long they may work on a task that has no limit of its own; below what the
            coordinator waits, so that the worker gives up first and says why.
    """

    heartbeat_ms: int
    timeout_ms: int
