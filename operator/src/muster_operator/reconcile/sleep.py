"""Whether a pool without work keeps its last worker; pure.

A HorizontalPodAutoscaler leaves a Deployment of no replicas alone and never makes one so. Between
one worker and `maxReplicas` the number is its own; between none and one it is the operator's, and
while there are none there is no autoscaler.
"""

from dataclasses import dataclass
from datetime import datetime

from muster_api.workers import Autoscaling


@dataclass(frozen=True, slots=True)
class Sleepiness:
    """What decides.

    Args:
        at_zero: whether no workers are wanted at present.
        outstanding: unfinished tasks; None while nobody knows.
        idle_since: since when there have been none, as was noted before.
        suspended: whether no pods are wanted whatever there is to do.
    """

    at_zero: bool
    outstanding: int | None
    idle_since: datetime | None = None
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """What is decided.

    Args:
        asleep: whether there are to be no workers.
        idle_since: since when there has been no work; to be noted.
        again_after: seconds after which to decide anew although nothing has changed.
    """

    asleep: bool = False
    idle_since: datetime | None = None
    again_after: float | None = None


AWAKE = Rest()


def rest(limits: Autoscaling, seen: Sleepiness, now: datetime) -> Rest:
    """Decide at the time `now`, which has whole seconds."""
    if seen.suspended or not limits.enabled or limits.min_replicas > 0:
        return AWAKE
    if seen.outstanding is None:
        # As it is: neither may workers go that have work, nor do they help if nobody hands it out.
        return Rest(asleep=seen.at_zero)
    if seen.outstanding > 0:
        return AWAKE
    since = min(seen.idle_since or now, now)
    left = (since + limits.scale_to_zero_after - now).total_seconds()
    if seen.at_zero or left <= 0:
        return Rest(asleep=True, idle_since=since)
    return Rest(idle_since=since, again_after=left)
