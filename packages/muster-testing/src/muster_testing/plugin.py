"""Fixtures that every package's tests have, as a pytest plugin."""

from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import pytest_asyncio

from muster_testing.apiserver import ControlPlane
from muster_testing.nats import NatsServer
from muster_testing.postgres import PostgresServer
from muster_testing.storage import StorageNodes

# How long an example takes says nothing on a machine that does other things too.
hypothesis.settings.register_profile(
    "muster", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("muster")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server, shared by the tests of a session."""
    with PostgresServer() as server:
        yield server


@pytest_asyncio.fixture
async def dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """The connection string of an empty database of the test's own."""
    yield await postgres.create_database()


@pytest.fixture(scope="session")
def apiserver() -> Iterator[ControlPlane]:
    """A running etcd and kube-apiserver without nodes, shared by the tests of a session."""
    with ControlPlane() as control_plane:
        yield control_plane


@pytest.fixture
def nats() -> Iterator[NatsServer]:
    """A running NATS server of the test's own, with JetStream."""
    with NatsServer() as server:
        yield server


@pytest.fixture
def storage_node() -> Iterator[StorageNodes]:
    """Makes storage nodes of the test's own: `node = await storage_node("s1").start()`."""
    with StorageNodes() as nodes:
        yield nodes
