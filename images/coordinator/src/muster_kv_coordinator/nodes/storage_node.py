"""One storage node: its connection, whether it answers, what it last said of itself."""

import asyncio
import logging
from collections.abc import Callable

from muster_kv.errors import FailureCode
from muster_kv.ring import Member, Ring
from muster_kv.wire.messages import (
    Failure,
    NodeState,
    ReplyBody,
    RequestBody,
    SetRing,
    Stat,
    Status,
)
from muster_kv_coordinator.core.ports import OnReply
from muster_kv_coordinator.nodes.connections import Connections

log = logging.getLogger(__name__)

_PROBE_SECONDS = 0.25
_SERVING = frozenset({NodeState.NORMAL, NodeState.DRAINING})


class StorageNode:
    """A `Replica`.

    It is asked how it is four times a second. One that does not say so within `suspect_seconds` is
    taken for sick until it does: a stopped process has connections as good as any.

    Args:
        ring: the ring in force, which a node that holds an older one is brought.
        newer: told the version of a ring that the node has and we have not.
    """

    def __init__(
        self,
        member: Member,
        connections: Connections,
        *,
        suspect_seconds: float,
        ring: Callable[[], Ring],
        newer: Callable[[int], None],
    ) -> None:
        self.member = member
        self._connections = connections
        self._suspect_seconds = suspect_seconds
        self._ring = ring
        self._newer = newer
        self._number = connections.open(member.node_id, member.host, member.port, self._changed)
        self._connected = False
        self._answers = False
        self._last_error = "not tried yet"
        self._heard = asyncio.Event()
        self._prober = asyncio.create_task(self._probe(), name=f"probe of {self.node_id}")
        self.status: Status | None = None

    @property
    def node_id(self) -> str:
        """Its name in the ring."""
        return self.member.node_id

    @property
    def healthy(self) -> bool:
        """Whether it has been answering lately."""
        return self._answers

    async def close(self) -> None:
        """End the connection; what is in flight fails."""
        self._prober.cancel()
        await asyncio.gather(self._prober, return_exceptions=True)
        self._connections.shut(self._number)

    def submit(
        self, body: RequestBody, ring_version: int, seconds: float, on_reply: OnReply
    ) -> None:
        """Ask it for something; see `Replica.submit`."""
        self._connections.submit(self._number, body, ring_version, seconds, on_reply)

    async def request(self, body: RequestBody, ring_version: int, seconds: float) -> ReplyBody:
        """As `submit`, for one that waits."""
        answered: asyncio.Future[ReplyBody] = asyncio.get_running_loop().create_future()

        def settle(reply: ReplyBody) -> None:
            if not answered.done():
                answered.set_result(reply)

        self.submit(body, ring_version, seconds, settle)
        return await answered

    def look(self) -> None:
        """Ask it how it is now."""
        self._heard.set()

    def _changed(self, up: bool, error: str) -> None:
        self._connected = up
        if up:
            log.info("storage node connected", extra={"node": self._address})
        elif error != self._last_error:
            log.warning("storage node lost", extra={"node": self._address, "error": error})
        self._last_error = error
        if not up:
            self._judge(answers=False)
        self._heard.set()

    @property
    def _address(self) -> str:
        return f"{self.member.host}:{self.member.port}"

    def _judge(self, *, answers: bool) -> None:
        self._answers = answers
        self._connections.judge(self._number, healthy=answers)

    async def _probe(self) -> None:
        while True:
            if self._connected:
                await self._look()
            self._heard.clear()
            try:
                async with asyncio.timeout(_PROBE_SECONDS):
                    await self._heard.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        reply = await self.request(Stat(), 0, self._suspect_seconds)
        before = self._answers
        if isinstance(reply, Status):
            self.status = reply
            await self._agree(reply.ring_version)
            self._judge(answers=reply.state in _SERVING)
        else:
            # Too much to do is a sign of life.
            busy = isinstance(reply, Failure) and reply.code is FailureCode.OVERLOADED
            self._judge(answers=busy)
        if before != self._answers:
            log.info(
                "storage node answers" if self._answers else "storage node does not answer",
                extra={"node_id": self.node_id, "address": self._address},
            )

    async def _agree(self, version: int) -> None:
        """Bring it our ring where its own is older, and look for a newer one where ours is."""
        ring = self._ring()
        if version > ring.version:
            self._newer(version)
        elif version < ring.version:
            reply = await self.request(SetRing(ring), 0, self._suspect_seconds)
            if isinstance(reply, Failure) and reply.code is FailureCode.STALE_RING:
                self._newer(reply.ring_version)
