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
    """A result. Of a proof task it holds proof and public inputs only, no witness."""

    kind: Literal["completion"] = "completion"
    output: bytes
    metadata_json: str = ""
    merkle_root: str = ""
    duration_ms: int
    proof: bool = True
    """Whether `output` is a proof; else it is JSON."""


class Failure(_Report):
    """A task that failed on this worker."""

    kind: Literal["failure"] = "failure"
    reason: Reason
    message: str
    permanent: bool = False
    """Whether the workload said that it fails everywhere."""

    @property
    def transient(self) -> bool:
        """Whether another try may succeed."""
        return self.reason.transient and not self.permanent


class Halted(_Report):
    """A task that stopped as it was asked to. It never lies on the disk: its state may be secret,
    and what the task saved before is with the coordinator."""

    checkpoint: bytes | None = None
    """What to go on from; none leaves it to what was saved before."""


Final = Completion | Failure
"""What ends a task here, and has to survive this process."""

Report = Final | Halted

_ADAPTER: TypeAdapter[Final] = TypeAdapter(Annotated[Final, Field(discriminator="kind")])


def encode(report: Final) -> bytes:
    """The report as JSON."""
    return _ADAPTER.dump_json(report)


def decode(data: bytes) -> Final:
    """Read what `encode` wrote.

    Raises:
        ValueError: the data is no report.
    """
    return _ADAPTER.validate_json(data)
