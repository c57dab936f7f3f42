"""Bringing hints where the node's own disk does not take that they were brought."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from muster_kv.ring import Ring
from muster_kv.wire.hello import Identity, Role
from muster_storage.hints import Courier
from muster_storage.metrics import Metrics
from muster_storage.store import Store
from muster_storage.writer import DiskFullError


async def test_a_full_disk_is_no_failure_of_who_brings_hints(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    tried = asyncio.Event()

    async def full(*_: Any) -> None:
        tried.set()
        raise DiskFullError("the disk is full")

    writer = SimpleNamespace(hints={"gone": 1})
    store = SimpleNamespace(writer=writer, engine=None, background=full)
    courier = Courier(
        cast("Store", store),
        Identity("holder", Role.STORAGE, "muster"),
        lambda: Ring(1, ()),
        cast("Metrics", None),
        interval=0.01,
        ttl_us=1,
        tls=None,
    )
    running = asyncio.create_task(courier.run())
    await asyncio.wait_for(tried.wait(), 60)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    (said,) = {(record.levelno, record.message) for record in caplog.records}
    assert said == (logging.INFO, "hints stay")
