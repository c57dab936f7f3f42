"""Volumes whose size was raised: which claims are to ask for more, and what is said of it; pure.

A volume grows by its claim alone. The template in a StatefulSet can't be changed and stays at the
size that it was made with, so a claim that is made later asks for more when it is bound. To put
another StatefulSet in the place of the one that is there would leave its pods without an owner
meanwhile, and its claims with one that is gone, with which the cluster collects them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from muster_api.conditions import ConditionType, Reason
from muster_operator import naming
from muster_operator.reconcile.conditions import Finding, Verdict, verdict
from muster_operator.reconcile.rollout import shortened
from muster_operator.resources import Manifest

LOOK_SECONDS = 15.0
"""How soon volumes that are too small are looked at again: changes of claims are not watched."""


@dataclass(frozen=True, slots=True)
class Volumes:
    """The volumes of a StatefulSet's pods.

    Args:
        size: that each is to have.
        pods: how many there are, or were before they were stopped.
    """

    stateful_set: str
    size: str
    pods: int = 1

    @property
    def claims(self) -> list[str]:
        """The names of their claims."""
        return [naming.claim(f"{self.stateful_set}-{number}") for number in range(self.pods)]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A volume that is smaller than it is to be.

    Args:
        claim: as it was read.
        asks: whether the claim asks for that size; a claim can't ask for more before it is bound.
        refused: the API server's answer where it may not ask.
    """

    claim: Manifest
    size: str
    asks: bool
    refused: str = ""

    @property
    def patch(self) -> dict[str, Any] | None:
        """What is to be merged into the claim; None where there is nothing to be written.

        Only into the claim that was read: somebody may have made it larger than that since.
        """
        if self.asks or _held(self.claim) is None:
            return None
        return {
            "metadata": {"resourceVersion": self.claim["metadata"]["resourceVersion"]},
            "spec": {"resources": {"requests": {"storage": self.size}}},
        }

    @property
    def message(self) -> str:
        """What is known about it."""
        name, held = self.claim["metadata"]["name"], _held(self.claim)
        if held is None:
            return f"{name} is not bound yet"
        if not self.refused:
            state = _state(self.claim)
            return f"{name} has {held} of {self.size}" + (f": {state}" if state else "")
        storage_class = self.claim["spec"].get("storageClassName") or "none"
        return (
            f"{name} stays at {held} of {self.size}: {self.refused}; its StorageClass "
            f"({storage_class}) has to say allowVolumeExpansion: true, and quotas to leave room"
        )


def shortfall(claim: Manifest, size: str) -> Shortfall | None:
    """What a claim's volume lacks of `size`; None where it lacks nothing, or is going."""
    wanted, held = parse_quantity(size), _held(claim)
    asked = parse_quantity(claim["spec"]["resources"]["requests"]["storage"])
    # What is not there yet comes as large as is asked for, and often larger than that.
    there = asked if held is None else parse_quantity(held)
    if there >= wanted or "deletionTimestamp" in claim["metadata"]:
        return None
    return Shortfall(claim, size, asks=asked >= wanted)


def with_first_size(wanted: Manifest, there: Manifest | None) -> Manifest:
    """`wanted`; of a StatefulSet, with the sizes of volumes in the templates of the one there."""
    if there is None or "volumeClaimTemplates" not in wanted.get("spec", {}):
        return wanted
    first = {
        template["metadata"]["name"]: template["spec"]["resources"]
        for template in there["spec"].get("volumeClaimTemplates", [])
    }
    templates = [
        {**template, "spec": {**template["spec"], "resources": resources}}
        for template in wanted["spec"]["volumeClaimTemplates"]
        for resources in [first.get(template["metadata"]["name"], template["spec"]["resources"])]
    ]
    return {**wanted, "spec": {**wanted["spec"], "volumeClaimTemplates": templates}}


def growing(found: Sequence[Shortfall]) -> Finding | None:
    """What is still to come; None where all volumes are large enough, or one may not grow."""
    if not found or any(each.refused for each in found):
        return None
    return Finding(Reason.VOLUMES_GROWING, _told(found))


def volume_verdicts(found: Sequence[Shortfall]) -> list[Verdict]:
    """The condition about volumes that are too small; none where there are none."""
    refused = [each for each in found if each.refused]
    if not found:
        return []
    reason = Reason.VOLUME_EXPANSION_REFUSED if refused else Reason.VOLUMES_GROWING
    return [verdict(ConditionType.VOLUMES_TOO_SMALL, True, reason, _told(refused or found))]


def soonest(*seconds: float | None) -> float | None:
    """The least of some pauses; None is one without end."""
    return min((each for each in seconds if each is not None), default=None)


def _told(found: Sequence[Shortfall]) -> str:
    """The first of them in full: a message that lists all changes with each."""
    others = len(found) - 1
    return found[0].message + (f"; and {others} more" if others else "")


def _held(claim: Manifest) -> str | None:
    """How large the volume is; None before there is one."""
    capacity: Mapping[str, str] = claim.get("status", {}).get("capacity", {})
    return capacity.get("storage")


def _state(claim: Manifest) -> str:
    """How far the cluster says to be with the claim's expansion, errors first."""
    said = [
        ": ".join(filter(None, [each["type"], each.get("message", "")]))
        for each in claim.get("status", {}).get("conditions", [])
        if each["status"] == "True" and "Resiz" in each["type"]
    ]
    return shortened("; ".join(sorted(said, key=lambda each: "Error" not in each.split(":")[0])))
