"""What the engine needs from the outside, as protocols.

Stores raise `Unavailable` while their database is away. Everything that a leader writes carries
its epoch and raises `StaleEpoch` where a newer one exists; everything that a worker writes is
judged by generation.
"""

from muster_coordinator.engine.ports.customers import (
    AccountStore,
    ConfigStore,
    HistoryStore,
    QueueStore,
)
from muster_coordinator.engine.ports.leading import (
    Expire,
    HealthLimits,
    LeaderStore,
    Sight,
)
from muster_coordinator.engine.ports.results import (
    Acceptance,
    KeyStore,
    Meter,
    Submission,
    Verdict,
)
from muster_coordinator.engine.ports.workers import (
    AssignmentStore,
    CheckpointNote,
    Decide,
    Decision,
    Deliverable,
    LogNote,
    NoteStore,
    Orders,
    ProgressNote,
    Recover,
    Statement,
    WorkerStore,
)

__all__ = [
    "Acceptance",
    "AccountStore",
    "AssignmentStore",
    "CheckpointNote",
    "ConfigStore",
    "Decide",
    "Decision",
    "Deliverable",
    "Expire",
    "HealthLimits",
    "HistoryStore",
    "KeyStore",
    "LeaderStore",
    "LogNote",
    "Meter",
    "NoteStore",
    "Orders",
    "ProgressNote",
    "QueueStore",
    "Recover",
    "Sight",
    "Statement",
    "Submission",
    "Verdict",
    "WorkerStore",
]
