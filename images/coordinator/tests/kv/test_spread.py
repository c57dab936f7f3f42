"""What a client is told of a write that no replica acknowledges, without any replica there."""

import asyncio
from collections.abc import Collection
from typing import cast

import pytest

from muster_kv.consistency import write_progress
from muster_kv.errors import FailureCode
from muster_kv.merging import Intent
from muster_kv.ring import Placement
from muster_kv.slots import slot
from muster_kv.wire.connection import OnReply
from muster_kv.wire.messages import Failure, RequestBody
from muster_kv_coordinator.core.consistency import Level
from muster_kv_coordinator.core.errors import KvError
from muster_kv_coordinator.core.hints import Hints
from muster_kv_coordinator.core.patience import Patience
from muster_kv_coordinator.core.ports import Meter, Place, Replica
from muster_kv_coordinator.core.spread import Spreading, SpreadingWrite

NAMES = ("s-0", "s-1", "s-2")


class Full:
    """A replica that has no room."""

    healthy = True

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id

    def submit(
        self, body: RequestBody, ring_version: int, seconds: float, on_reply: OnReply
    ) -> None:
        refusal = Failure(FailureCode.DISK_FULL, "full")
        asyncio.get_running_loop().call_soon(on_reply, refusal)


async def _told(late: Collection[str]) -> str:
    placement = Placement(NAMES)
    spreading = Spreading(cast("Hints", None), cast("Meter", None), Patience(0.05), 0.05)
    write = SpreadingWrite(
        spreading,
        Place(placement, 1),
        tuple(cast("Replica", Full(name)) for name in NAMES),
        slot("t", "k"),
        write_progress(placement, Level.QUORUM, 3, None),
        asyncio.get_running_loop().time() + 5,
    )
    write.take(Intent(bytes(16), b"v", 1, context={}), b"", late)
    with pytest.raises(KvError) as refused:
        await write.result
    return refused.value.message


async def test_a_write_that_all_refuse_did_not_happen() -> None:
    assert "may have happened" not in await _told(())


async def test_one_that_somebody_may_have_taken_before_may_have_happened() -> None:
    assert "may have happened" in await _told({"s-0"})
