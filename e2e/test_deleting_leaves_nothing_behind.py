from collections.abc import Callable

import pytest

from e2e.fleet import Fleet
from muster_testing.waiting import eventually_sync

pytestmark = pytest.mark.e2e

# What every namespace has of its own.
_OF_THE_NAMESPACE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
_UNTRACKED = {"events", "events.events.k8s.io"}


def _left(fleet: Fleet) -> set[str]:
    kinds = fleet.cluster.kubectl(
        "api-resources", "--namespaced", "--verbs=list", "-o", "name"
    ).split()
    wanted = ",".join(sorted(set(kinds) - _UNTRACKED))
    names = fleet.cluster.kubectl("get", wanted, "-n", fleet.namespace, "-o", "name").split()
    return {name for name in names if name not in _OF_THE_NAMESPACE}


def test_a_deleted_pool_takes_everything_with_it(ready: Callable[..., Fleet]) -> None:
    fleet = ready()
    assert f"deployment.apps/{fleet.pool}-worker" in _left(fleet)
    fleet.cluster.kubectl("delete", "proverpool", fleet.pool, "-n", fleet.namespace)

    def gone() -> bool:
        left = _left(fleet)
        assert not left, left
        return True

    eventually_sync(gone, deadline=400, every=1, what="nothing is left")
