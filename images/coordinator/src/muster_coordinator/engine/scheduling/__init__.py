"""Who gets which workload: the order of the queue, its lanes, and the strategies by name."""

from muster_coordinator.engine.scheduling.fairness import fair_order
from muster_coordinator.engine.scheduling.lanes import (
    Lane,
    Waiting,
    held_by_customers,
    open_lanes,
)
from muster_coordinator.engine.scheduling.placement import Candidate, Placement, Slot, place
from muster_coordinator.engine.scheduling.strategies import STRATEGIES, Strategy

__all__ = [
    "STRATEGIES",
    "Candidate",
    "Lane",
    "Placement",
    "Slot",
    "Strategy",
    "Waiting",
    "fair_order",
    "held_by_customers",
    "open_lanes",
    "place",
]
