"""Letting volumes expand: reading claims and writing to them what `growth` says."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace

from muster_operator.children.base import Owner
from muster_operator.cluster import Cluster, ConflictError, NotFoundError, RefusedError
from muster_operator.reconcile.growth import Shortfall, Volumes, shortfall
from muster_operator.reconcile.plan import Children, Claim, claim
from muster_operator.resources import CLAIMS, STATEFUL_SETS

log = logging.getLogger(__name__)


async def shortfalls(
    cluster: Cluster, owner: Owner, volumes: Iterable[Volumes], live: Children
) -> tuple[Shortfall, ...]:
    """The volumes that are too small, of StatefulSets of `owner` that are there.

    Raises:
        ClusterError: a read failed.
    """
    sizes = {
        name: each.size
        for each in volumes
        if (there := live.get((STATEFUL_SETS.kind, each.stateful_set)))
        if claim(owner, there) is Claim.OURS
        for name in each.claims
    }
    found = await asyncio.gather(
        *(cluster.get(CLAIMS, owner.key.namespace, name) for name in sizes)
    )
    lacks = (
        shortfall(each, size)
        for each, size in zip(found, sizes.values(), strict=True)
        if each is not None
    )
    return tuple(filter(None, lacks))


async def expand(cluster: Cluster, found: Iterable[Shortfall]) -> tuple[Shortfall, ...]:
    """Have claims ask for the sizes that their volumes are to have; returns what is lacking then.

    Raises:
        ClusterError: a write failed and is worth trying again.
    """
    after = await asyncio.gather(*(_expand(cluster, each) for each in found))
    return tuple(filter(None, after))


async def _expand(cluster: Cluster, lacking: Shortfall) -> Shortfall | None:
    patch, metadata = lacking.patch, lacking.claim["metadata"]
    if patch is None:
        return lacking
    namespace, name = metadata["namespace"], metadata["name"]
    try:
        after = await cluster.merge(CLAIMS, namespace, name, patch)
    except RefusedError as refused:
        return replace(lacking, refused=refused.message)
    except (ConflictError, NotFoundError):
        return lacking  # the next look tells what it is now
    log.info("a larger volume is asked for", extra={"claim": name, "size": lacking.size})
    return shortfall(after, lacking.size)
