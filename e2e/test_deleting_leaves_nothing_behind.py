from collections.abc import Callable

import pytest

from e2e.fleet import Fleet
from muster_testing.waiting import eventually_sync

pytestmark = pytest.mark.e2e


def test_a_deleted_pool_takes_everything_with_it(ready: Callable[..., Fleet]) -> None:
    fleet = ready()
    assert f"deployment.apps/{fleet.pool}-worker" in fleet.left()
    fleet.cluster.kubectl("delete", "proverpool", fleet.pool, "-n", fleet.namespace)

    def gone() -> bool:
        left = fleet.left()
        assert not left, left
        return True

    eventually_sync(gone, deadline=400, every=1, what="nothing is left")
