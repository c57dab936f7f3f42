"""How much waits and runs, as it stands in a status."""

from pydantic import Field

from muster_api.model import Model


class QueueStatus(Model):
    """Numbers of tasks, as last heard from the coordinator."""

    pending: int = Field(0, ge=0, description="Waiting for a worker.")
    assigned: int = Field(0, ge=0, description="Given to a worker and not begun.")
    in_progress: int = Field(0, ge=0, description="Being worked on.")
    oldest_pending_seconds: int | None = Field(
        None, ge=0, description="Age of the task that has waited longest."
    )
