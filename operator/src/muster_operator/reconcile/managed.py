"""The condition about a store that the operator keeps, or that somebody else does."""

from dataclasses import dataclass

from muster_api.conditions import ConditionType, Reason
from muster_operator.reconcile.conditions import Verdict, verdict
from muster_operator.reconcile.rollout import Rollout


@dataclass(frozen=True, slots=True)
class Store:
    """What is said of one kind of store.

    Args:
        name: of the program, as in PostgreSQL.
    """

    kind: ConditionType
    name: str
    external: Reason
    running: Reason
    waiting: Reason


DATABASE = Store(
    ConditionType.DATABASE_READY,
    "PostgreSQL",
    Reason.EXTERNAL_DATABASE,
    Reason.DATABASE_RUNNING,
    Reason.WAITING_FOR_DATABASE,
)
BROKER = Store(
    ConditionType.BROKER_READY,
    "NATS",
    Reason.EXTERNAL_BROKER,
    Reason.BROKER_RUNNING,
    Reason.WAITING_FOR_BROKER,
)


def managed(store: Store, found: Rollout | None) -> Verdict:
    """The condition about a store; None where it is external."""
    if found is None:
        return Verdict(store.kind, "Unknown", store.external, "it is looked after elsewhere")
    if found.ready:
        return verdict(store.kind, True, store.running, f"the managed {store.name} is ready")
    message = found.failure or f"the managed {store.name} is not ready"
    return verdict(store.kind, False, store.waiting, message)
