"""The cluster, Muster installed on it, and a namespace for each test."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.cluster import Cluster
from e2e.fleet import Fleet
from e2e.installation import Installation

RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


# Seconds: no test is ended from outside while one of its own deadlines may still pass.
TEST_SECONDS = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests on a cluster longer than all other tests."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def _setting(name: str) -> Path:
    value = os.environ.get(name)
    if value is None:
        raise pytest.UsageError(f"{name} is not set; `make test` sets it, or see docs/development")
    return Path(value)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster that `make test` brought up."""
    return Cluster(_setting("MUSTER_E2E_KUBECONFIG"), _setting("MUSTER_E2E_BIN"))


@pytest.fixture(scope="session")
def values() -> Path:
    """Values for the chart: the images that were built and loaded."""
    return _setting("MUSTER_E2E_VALUES")


@pytest.fixture(scope="session")
def installation(cluster: Cluster, values: Path) -> Iterator[Installation]:
    """Muster on the cluster, for tests that install and remove it themselves."""
    made = Installation(cluster, values)
    yield made
    if "PYTEST_XDIST_WORKER" not in os.environ:
        made.remove()
    # Else another process may still use it, and the tests that follow do.


@pytest.fixture
def muster(installation: Installation) -> str:
    """Muster, installed from the chart; its namespace."""
    return installation.ensure()


@pytest.fixture
def fleet(cluster: Cluster, muster: str, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """A namespace that enforces restricted pods, for a pool `demo`; gone after the test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:50].strip("-")
    namespace = f"e2e-{name}"
    # One may be left of a run that was killed.
    cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=5m")
    cluster.kubectl("create", "namespace", namespace)
    cluster.kubectl("label", "namespace", namespace, RESTRICTED)
    made = Fleet(cluster, namespace, "demo")
    yield made
    # Its pods end in their own time, beside the next test.
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def ready(fleet: Fleet) -> Callable[..., Fleet]:
    """Apply the pool with the given spec and wait until it is Ready."""

    def apply(**spec: object) -> Fleet:
        fleet.cluster.apply(fleet.manifest(**spec), fleet.namespace)
        fleet.cluster.kubectl(
            *("wait", f"proverpool/{fleet.pool}", "-n", fleet.namespace),
            *("--for=condition=Ready", "--timeout=6m"),
        )
        return fleet

    return apply
