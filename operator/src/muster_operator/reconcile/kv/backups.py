"""How the backups of a KVCluster stand, and whether there is a volume for them."""

from dataclasses import dataclass

from muster_api.conditions import ConditionType, Reason
from muster_api.kvcluster import KVClusterSpec
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.cluster import Cluster
from muster_operator.reconcile.conditions import Finding, Verdict, verdict
from muster_operator.reconcile.plan import Children
from muster_operator.resources import CLAIMS, CRON_JOBS


@dataclass(frozen=True, slots=True)
class Backups:
    """What is known of them; times as a status has them, empty where there was none.

    Args:
        begun: when one was begun last by the schedule.
        made: when all storage nodes had one last.
        running: whether one is being made.
    """

    begun: str = ""
    made: str = ""
    running: bool = False


def backups(owner: Owner, live: Children) -> Backups:
    """Read the CronJob's status; pure."""
    job = live.get((CRON_JOBS.kind, naming.kv_backup_name(owner.key.name)), {})
    status = job.get("status", {})
    return Backups(
        str(status.get("lastScheduleTime") or ""),
        str(status.get("lastSuccessfulTime") or ""),
        bool(status.get("active")),
    )


def backed_up(found: Backups) -> Verdict:
    """The condition about backups; pure."""
    kind = ConditionType.BACKED_UP
    # Of one form and in UTC, so that the later one is the greater.
    if found.begun > found.made and not found.running:
        message = f"the backup that began at {found.begun} was not made of every storage node"
        return verdict(kind, False, Reason.BACKUP_FAILED, message)
    if found.made:
        message = f"every storage node had one at {found.made}"
        return verdict(kind, True, Reason.BACKUP_MADE, message)
    return Verdict(kind, "Unknown", Reason.NO_BACKUP, Reason.NO_BACKUP.meaning)


async def lacking_claim(cluster: Cluster, owner: Owner, spec: KVClusterSpec) -> Finding | None:
    """What is said where the volume for backups is not there.

    A storage node that mounts it would find no place.

    Raises:
        ClusterError: the read failed.
    """
    if spec.backup is None:
        return None
    name = spec.backup.claim_name
    if await cluster.get(CLAIMS, owner.key.namespace, name):
        return None
    message = (
        f"PersistentVolumeClaim {name} is missing: make it, or correct spec.backup.claimName; "
        "nothing is changed before"
    )
    return Finding(Reason.CLAIM_NOT_FOUND, message)
