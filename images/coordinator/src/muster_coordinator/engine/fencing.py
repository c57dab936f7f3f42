"""Whether a worker may still report on an assignment."""

from muster_coordinator.engine.errors import EngineError, Fenced, NotFound
from muster_coordinator.engine.model import Claim, Held
from muster_coordinator.engine.states import HELD


def judge(claim: Claim, held: Held | None) -> EngineError | None:
    """The error that answers a report on somebody else's assignment; None where it is its own.

    An assignment is identified by workload, worker and generation. The generation rises with every
    assignment, so a report of an earlier one never passes, even from the same worker.
    """
    if held is None:
        return NotFound(f"task {claim.workload_id}: there is none")
    mine = held.worker_id == claim.worker_id and claim.generation in {0, held.generation}
    if mine and held.state in HELD:
        return None
    return Fenced(
        f"task {claim.workload_id}: generation {claim.generation} of worker {claim.worker_id} "
        f"is not its assignment: it is {held.state}, generation {held.generation}, "
        f"worker {held.worker_id or 'none'}"
    )


def finished_by(claim: Claim, held: Held | None) -> bool:
    """Whether this very assignment has been reported on before, so that this is a repetition."""
    return (
        held is not None
        and held.state not in HELD
        and held.worker_id == claim.worker_id
        and claim.generation in {0, held.generation}
    )
