"""What this worker tells the coordinator about a task, in a form that survives on disk."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from muster_worker.tasks import Reason, Ticket


class _Report(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )

    task_id: str
    generation: int
    started: bool = False
    """Whether the coordinator has been told that the task began."""
    traceparent: str = ""
    """W3C trace context of the run."""

    @property
    def ticket(self) -> Ticket:
        """The assignment that is reported on."""
        return Ticket(self.task_id, self.generation)


class Completion(_Report):
    """A result. It holds proof and public inputs only, no witness."""

    kind: Literal["completion"] = "completion"
    output: bytes
    metadata_json: str
    merkle_root: str
    duration_ms: int


class Failure(_Report):
    """A task that failed on this worker."""

    kind: Literal["failure"] = "failure"
    reason: Reason
    message: str


Report = Annotated[Completion | Failure, Field(discriminator="kind")]

_ADAPTER: TypeAdapter[Completion | Failure] = TypeAdapter(Report)


def encode(report: Completion | Failure) -> bytes:
    """The report as JSON."""
    return _ADAPTER.dump_json(report)


def decode(data: bytes) -> Completion | Failure:
    """Read what `encode` wrote.

    Raises:
        ValueError: the data is no report.
    """
    return _ADAPTER.validate_json(data)
