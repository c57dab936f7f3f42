"""Numbers of tasks as they stand in a status; pure."""

from muster_api.queue import QueueStatus
from muster_operator.telemetry.report import QueueNumbers


def queue_status(numbers: QueueNumbers) -> QueueStatus:
    """What a coordinator said of a queue."""
    return QueueStatus(
        pending=numbers.pending,
        assigned=numbers.assigned,
        in_progress=numbers.in_progress,
        oldest_pending_seconds=numbers.oldest_pending_seconds,
    )
