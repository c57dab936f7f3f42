"""Which coordinators may have the tokens of their workers judged.

That right is of the whole cluster, and so is its binding. The chart makes one, bound to a role that
allows nothing else, and the leader keeps the accounts in it: so the operator needs no right to make
bindings, and with the chart all of it goes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from muster_operator import naming
from muster_operator.cluster import Cluster, ClusterError
from muster_operator.resources import CLUSTER_ROLE_BINDINGS, Key, Manifest

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_DRIFT_SECONDS = 60.0


class TokenReviewers:
    """Keeps the binding's subjects.

    Args:
        coordinators: lists those whose workers show tokens.
        binding: the name of the ClusterRoleBinding.
    """

    def __init__(
        self, cluster: Cluster, coordinators: Callable[[], Iterable[Key]], binding: str
    ) -> None:
        self._cluster = cluster
        self._coordinators = coordinators
        self._binding = binding

    async def keep(self) -> None:
        """Keep it for ever, at once when a Coordinator comes or goes; for the leader alone."""
        written: list[Manifest] | None = None
        looked = 0.0
        while True:
            wanted = subjects(self._coordinators())
            if wanted != written or time.monotonic() - looked > _DRIFT_SECONDS:
                try:
                    await self._settle(wanted)
                    written, looked = wanted, time.monotonic()
                except ClusterError as error:
                    log.warning(
                        "coordinators can't be allowed to review tokens",
                        extra={"error": str(error)},
                    )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _settle(self, wanted: list[Manifest]) -> None:
        there = await self._cluster.get(CLUSTER_ROLE_BINDINGS, None, self._binding)
        if there is None:
            if wanted:
                log.warning("there is no binding for reviews", extra={"binding": self._binding})
            return
        if (there.get("subjects") or []) != wanted:
            patch = {"subjects": wanted}
            await self._cluster.merge(CLUSTER_ROLE_BINDINGS, None, self._binding, patch)
            log.info("allowed coordinators to review tokens", extra={"accounts": len(wanted)})


def subjects(coordinators: Iterable[Key]) -> list[Manifest]:
    """The accounts of those Coordinators, as they stand in a binding; pure."""
    return [
        {
            "kind": "ServiceAccount",
            "name": naming.coordinator_name(key.name),
            "namespace": key.namespace,
        }
        for key in sorted(coordinators)
    ]
