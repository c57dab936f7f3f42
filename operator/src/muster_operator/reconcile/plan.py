"""Which writes bring the children that are there to those that are wanted; pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.cluster import FIELD_MANAGER
from muster_operator.reconcile.growth import with_first_size
from muster_operator.reconcile.quantities import same_amount
from muster_operator.resources import Manifest, identity

Children = Mapping[tuple[str, str], Manifest]
"""Objects of one owner by kind and name."""


class Claim(Enum):
    """Whose an object is that has the name of a child."""

    OURS = auto()
    FORMER = auto()
    """Of a deleted owner of the same name; the cluster will collect it."""
    FOREIGN = auto()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written.

    Args:
        apply: manifests that are missing, differ, or have lost a field.
        prune: objects that are wanted no more.
        former: names of objects that must go before ours can come.
        foreign: names of objects that are somebody else's.
    """

    apply: tuple[Manifest, ...] = ()
    prune: tuple[Manifest, ...] = ()
    former: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def plan(owner: Owner, wanted: Iterable[Manifest], live: Children) -> Plan:
    """Compare `wanted` with `live`, which holds every labelled child and every taken name."""
    apply: list[Manifest] = []
    former: list[str] = []
    foreign: list[str] = []
    names = set()
    for each in wanted:
        kind, name = identity(each)
        names.add((kind, name))
        there = live.get((kind, name))
        manifest = stamped(with_first_size(each, there))
        if there is None:
            apply.append(manifest)
            continue
        match claim(owner, there):
            case Claim.FOREIGN:
                foreign.append(f"{kind} {name}")
            case Claim.FORMER:
                former.append(f"{kind} {name}")
            case Claim.OURS if not contains(there, manifest):
                apply.append(manifest)
    prune = tuple(
        there
        for key, there in live.items()
        if key not in names and claim(owner, there) is Claim.OURS
        if "deletionTimestamp" not in there["metadata"]
    )
    return Plan(tuple(apply), prune, tuple(former), tuple(foreign))


def stamped(manifest: Manifest) -> Manifest:
    """Add a digest of the manifest to it, so that a field left out since is noticed."""
    text = json.dumps(manifest, sort_keys=True)
    metadata = manifest["metadata"]
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    annotations = {**metadata.get("annotations", {}), naming.APPLIED: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def claim(owner: Owner, there: Manifest) -> Claim:
    """Whose `there` is."""
    metadata = there["metadata"]
    controllers = [
        reference
        for reference in metadata.get("ownerReferences", [])
        if reference.get("controller")
    ]
    if controllers:
        reference = controllers[0]
        if reference["uid"] == owner.uid:
            return Claim.OURS
        same_name = (reference["kind"], reference["name"]) == (owner.key.kind, owner.key.name)
        return Claim.FORMER if same_name else Claim.FOREIGN
    # Somebody may have taken the owner reference away; that we made it still shows.
    return Claim.OURS if any(map(_is_ours, _applied(there))) else Claim.FOREIGN


def _applied(there: Manifest) -> list[Manifest]:
    """What is known about server-side applies to the object, by manager."""
    entries: list[Manifest] = there["metadata"].get("managedFields", [])
    return [entry for entry in entries if entry.get("operation") == "Apply"]


def _is_ours(entry: Manifest) -> bool:
    # A status of ours stands in objects of all users: who wrote that did not make them.
    return entry.get("manager") == FIELD_MANAGER and not entry.get("subresource")


def contains(live: Any, wanted: Any, path: tuple[str, ...] = ()) -> bool:
    """Whether everything in `wanted` is in `live`, which may have more fields by defaulting.

    Empty lists and objects count as absent, as the API server leaves them out, and quantities are
    compared as such, as it writes `1024Mi` as `1Gi`.

    Args:
        path: the fields that both are below.
    """
    if isinstance(wanted, dict):
        if not isinstance(live, dict):
            return not wanted and live is None
        return all(contains(live.get(key), value, (*path, key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        if live is None:
            return not wanted
        if not isinstance(live, list) or len(live) != len(wanted):
            return False
        return all(contains(there, each, path) for there, each in zip(live, wanted, strict=True))
    return bool(live == wanted) or (_is_quantity(path) and same_amount(live, wanted))


def _is_quantity(path: tuple[str, ...]) -> bool:
    """Whether the field is one of those of ours that are quantities."""
    return path[-3:-1] in _RESOURCES or path[-2:] == _METRIC


_RESOURCES = (("resources", "requests"), ("resources", "limits"))
_METRIC = ("target", "averageValue")


def owns_replicas(deployment: Manifest) -> bool:
    """Whether our field manager owns `spec.replicas`.

    If so, leaving the field out of the next apply would reset it to 1.
    """
    return any(
        "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in _applied(deployment)
        if _is_ours(entry)
    )
