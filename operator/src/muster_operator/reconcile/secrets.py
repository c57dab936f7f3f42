"""Secrets that others make, and what is missing of them."""

from collections.abc import Iterable

from muster_api.conditions import Reason
from muster_operator.cluster import Cluster
from muster_operator.reconcile.conditions import Finding
from muster_operator.resources import SECRETS


async def lacking(
    cluster: Cluster, namespace: str, name: str, keys: Iterable[str], why: str
) -> Finding | None:
    """What is missing of a Secret; `why` says who needs it for what.

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
    return None
