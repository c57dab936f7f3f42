"""Coordinators for the tests that only ask and never break anything; a log for each test."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from muster_coordinator import app
from muster_coordinator.http_face import api, frame, requests
from muster_testing.postgres import PostgresServer

from .harness import ADDITION, SMALL_TREE, Replica, serving, settings
from .tenants import make_key, workloads


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Commands take over the log of their process, which here goes on after them.

    What they wrote to is closed with the test that captured it, and any line that another test logs
    would be an error on standard error there.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture
def long_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker without a stream and heartbeats runs stays its own for minutes.

    That is so where `heartbeat_timeout` is an hour; otherwise a slow machine decides.
    """
    monkeypatch.setattr(app, "_LONGEST_HEARTBEAT_SECONDS", 600.0)


@pytest.fixture
def long_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long poll of proofs may last longer than clients wait: it is woken, or not answered."""
    for module in (frame, requests):
        monkeypatch.setattr(module, "TIMEOUT_SECONDS", 600.0)
    monkeypatch.setattr(api, "_LONGEST_WAIT", 600.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replica(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Replica]:
    """A ready coordinator, shared by the tests of a module."""
    home: Path = tmp_path_factory.mktemp("coordinator")
    async with serving(await postgres.create_database(), settings(), home) as shared:
        yield shared


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wide(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Replica]:
    """A coordinator that offers all circuits, and other work."""
    circuits = [SMALL_TREE, {"name": "range", "size": 8}, ADDITION]
    pool = {"name": "demo", "insecure_setup": True, "circuits": circuits}
    document = workloads() | {"proving": {"pools": [pool]}}
    home: Path = tmp_path_factory.mktemp("wide")
    async with serving(await postgres.create_database(), document, home) as shared:
        yield shared


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def key(wide: Replica) -> str:
    """The key of a customer of `wide`."""
    return await make_key(wide.dsn, "acme")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin_key(wide: Replica) -> str:
    """The key of an administrator of `wide`."""
    return await make_key(wide.dsn, None)
