"""Asking several replicas the same, without any replica at the other end."""

import asyncio
from typing import cast

from muster_kv.errors import FailureCode
from muster_kv.wire.connection import OnReply
from muster_kv.wire.messages import Failure, Found, Get, ReplyBody, RequestBody
from muster_kv_coordinator.core.asking import ask
from muster_kv_coordinator.core.hints import Hints
from muster_kv_coordinator.core.patience import Patience
from muster_kv_coordinator.core.ports import Meter, Replica
from muster_kv_coordinator.core.spread import Spreading


class Silent:
    """A replica that answers when it is told to."""

    healthy = True

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.asked: asyncio.Future[OnReply] = asyncio.get_running_loop().create_future()

    def submit(
        self, body: RequestBody, ring_version: int, seconds: float, on_reply: OnReply
    ) -> None:
        self.asked.set_result(on_reply)

    async def says(self, reply: ReplyBody) -> None:
        """Answer, as soon as it has been asked."""
        (await self.asked)(reply)


class Counted:
    """How often somebody was asked because another was slow."""

    def __init__(self) -> None:
        self.hedges = 0

    def hedged(self) -> None:
        self.hedges += 1


async def test_where_nobody_is_left_nobody_more_is_asked_for_those_that_are_slow() -> None:
    wrong: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: wrong.append(context))
    meter, replicas = Counted(), [Silent(f"s-{number}") for number in range(3)]
    spreading = Spreading(cast("Hints", None), cast("Meter", meter), Patience(0.05), 0.02)
    asked = tuple(cast("Replica", replica) for replica in replicas)
    result = ask(asked, Get(b"k"), 1, 2, loop.time() + 10, spreading)
    first, second, third = replicas
    # One fails before any is slow: the last has been asked when the time of slow ones comes.
    await first.says(Failure(FailureCode.UNAVAILABLE, "away"))
    await third.asked
    timer = loop.create_future()
    loop.call_later(0.05, timer.set_result, None)
    await timer
    await second.says(Found(b"r"))
    await third.says(Found(b"r"))
    assert set((await result).good) == {"s-1", "s-2"}
    assert not wrong
    assert not meter.hedges
