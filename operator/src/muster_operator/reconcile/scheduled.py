"""Whether every pod has found a node; pure."""

from muster_api.conditions import ConditionType, Reason
from muster_operator.reconcile.conditions import Verdict, verdict
from muster_operator.reconcile.rollout import Unplaced


def scheduled(kind: ConditionType, what: str, found: Unplaced) -> Verdict:
    """The condition `kind` about the pods that are called `what`, in the scheduler's words."""
    if not found.count:
        return verdict(kind, True, Reason.ALL_SCHEDULED, f"all {what} have a node")
    message = f"{found.count} {what} find no node: {found.message}"
    return verdict(kind, False, Reason.UNSCHEDULABLE, message)
