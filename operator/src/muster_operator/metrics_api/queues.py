"""The metrics that there are, and the queues that each of them is about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from muster_operator.children import prover_pool, worker_pool
from muster_operator.inventory import Inventory
from muster_operator.resources import COORDINATORS, PROVER_POOLS, Key


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of which the metric has a value.

    Args:
        coordinator: who knows its length; None where that is not known itself.
        pool: what that Coordinator calls it.
        labels: of the value.
    """

    coordinator: Key | None
    pool: str
    labels: Mapping[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.labels.items())


def _of_prover_pools(known: Inventory, namespace: str) -> list[Queue]:
    return [
        Queue(known.coordinator_of(pool), pool.name, {prover_pool.METRIC_LABEL: pool.name})
        for pool in known.of_kind(PROVER_POOLS.kind)
        if pool.namespace == namespace
    ]


def _of_worker_pools(known: Inventory, namespace: str) -> list[Queue]:
    return [
        Queue(key, pool, {worker_pool.COORDINATOR_LABEL: key.name, worker_pool.POOL_LABEL: pool})
        for key in known.of_kind(COORDINATORS.kind)
        if key.namespace == namespace
        for pool in known.worker_pools(key)
    ]


METRICS: Mapping[str, Callable[[Inventory, str], list[Queue]]] = {
    prover_pool.METRIC: _of_prover_pools,
    worker_pool.METRIC: _of_worker_pools,
}
"""The queues of a namespace, by the metric that is about them."""
