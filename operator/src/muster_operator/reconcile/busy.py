"""Marking the workers that have tasks, so that a scale-down takes them last."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping

from muster_operator import naming
from muster_operator.cluster import Cluster, NotFoundError
from muster_operator.reconcile.sparing import changed_costs
from muster_operator.resources import PODS, Manifest


async def mark_busy(
    cluster: Cluster, pods: Iterable[Manifest], loads: Mapping[str, int], concurrency: int
) -> None:
    """Write the deletion cost of each of the pods whose cost has changed.

    Raises:
        ClusterError: a write failed.
    """
    pods = list(pods)
    namespaces = {pod["metadata"]["name"]: pod["metadata"]["namespace"] for pod in pods}

    async def mark(pod: str, cost: str) -> None:
        patch = {"metadata": {"annotations": {naming.DELETION_COST: cost}}}
        with contextlib.suppress(NotFoundError):
            await cluster.merge(PODS, namespaces[pod], pod, patch)

    costs = changed_costs(pods, loads, concurrency)
    await asyncio.gather(*(mark(pod, costs[pod]) for pod in costs))
