"""Volumes of a StatefulSet that was deleted with them, while the cluster has not collected them.

A StatefulSet of the same name would take them up, serve from them, and lose them with the next end
of a pod.
"""

import asyncio
from collections.abc import Sequence

from muster_operator.cluster import Cluster
from muster_operator.resources import CLAIMS, STATEFUL_SETS, Manifest


async def doomed_claims(cluster: Cluster, stateful_set: Manifest) -> Sequence[str]:
    """The claims that a StatefulSet, which is not there yet, must not take up.

    Raises:
        ClusterError: a read failed.
    """
    namespace, names = stateful_set["metadata"]["namespace"], claim_names(stateful_set)
    found = await asyncio.gather(*(cluster.get(CLAIMS, namespace, name) for name in names))
    return [name for name, there in zip(names, found, strict=True) if there and is_doomed(there)]


def claim_names(stateful_set: Manifest) -> list[str]:
    """The names of its pods' claims; pure."""
    name, spec = stateful_set["metadata"]["name"], stateful_set["spec"]
    return [
        f"{template['metadata']['name']}-{name}-{number}"
        for number in range(spec["replicas"])
        for template in spec.get("volumeClaimTemplates", [])
    ]


def is_doomed(claim: Manifest) -> bool:
    """Whether a claim goes: it is on its way, or it goes with a StatefulSet, as kept ones don't."""
    metadata = claim["metadata"]
    owners = metadata.get("ownerReferences", [])
    return "deletionTimestamp" in metadata or any(
        owner["kind"] == STATEFUL_SETS.kind for owner in owners
    )
