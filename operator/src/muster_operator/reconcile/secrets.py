"""Secrets: those that others make, with what is missing of them, and those that are made once."""

from collections.abc import Iterable
from dataclasses import dataclass

from muster_api.conditions import Reason
from muster_api.shared import SecretKeyReference
from muster_operator.children.base import Owner
from muster_operator.children.secret_files import NO_SECRET, SecretFile
from muster_operator.cluster import Cluster, ConflictError
from muster_operator.reconcile.conditions import Finding
from muster_operator.resources import SECRETS, Manifest


@dataclass(frozen=True, slots=True)
class Held:
    """A Secret that can be used, or why not.

    Args:
        former: it is of a deleted Coordinator of the same name and not gone yet.
    """

    file: SecretFile = NO_SECRET
    problem: Finding | None = None
    former: bool = False


async def lacking(
    cluster: Cluster, namespace: str, name: str, keys: Iterable[str], why: str
) -> Finding | None:
    """What is missing of a Secret; `why` says who needs it for what.

    Raises:
        ClusterError: the read failed.
    """
    found = await read(cluster, namespace, name, keys, why)
    return found if isinstance(found, Finding) else None


async def read(
    cluster: Cluster, namespace: str, name: str, keys: Iterable[str], why: str
) -> Manifest | Finding:
    """A Secret with all `keys`, or what is missing; `why` says who needs it for what.

    Raises:
        ClusterError: the read failed.
    """
    found = await cluster.get(SECRETS, namespace, name)
    if found is None:
        message = f"Secret {name} is missing: make it, for {why}"
        return Finding(Reason.SECRET_NOT_FOUND, message)
    for key in keys:
        if key not in (found.get("data") or {}):
            message = f"Secret {name} has no key {key}: put it there, for {why}"
            return Finding(Reason.SECRET_NOT_FOUND, message)
    return found


async def named(cluster: Cluster, owner: Owner, reference: SecretKeyReference, why: str) -> Held:
    """A Secret that somebody else makes; `why` says what it is for.

    Raises:
        ClusterError: the read failed.
    """
    found = await read(cluster, owner.key.namespace, reference.name, [reference.key], why)
    if isinstance(found, Finding):
        return Held(problem=found)
    version = found["metadata"]["resourceVersion"]
    return Held(SecretFile(reference.name, reference.key, version))


async def made_once(cluster: Cluster, manifest: Manifest) -> Manifest:
    """Make a Secret, and return it, or the one that somebody was faster with.

    Raises:
        ClusterError: the write failed.
    """
    try:
        return await cluster.create(SECRETS, manifest)
    except ConflictError:
        metadata = manifest["metadata"]
        found = await cluster.get(SECRETS, metadata["namespace"], metadata["name"])
        if found is None:
            raise
        return found
