"""One storage node: its connection, whether it answers, what it last said of itself."""

import asyncio
import logging
import ssl
from collections.abc import Callable

from muster_kv.errors import FailureCode
from muster_kv.ring import Member, Ring
from muster_kv.wire.client import NodeClient
from muster_kv.wire.hello import Identity
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

log = logging.getLogger(__name__)

_PROBE_SECONDS = 0.25
_SERVING = frozenset({NodeState.NORMAL, NodeState.DRAINING})


class StorageNode:
    """A `Replica`; `open` it first.

    It is asked how it is four times a second. One that does not say so within `suspect_seconds` is
    taken for sick until it does: a stopped process has connections as good as any.

    Args:
        ring: the ring in force, which a node that holds an older one is brought.
        newer: told the version of a ring that the node has and we have not.
    """

    def __init__(
        self,
        member: Member,
        identity: Identity,
        tls: ssl.SSLContext | None,
        *,
        suspect_seconds: float,
        ring: Callable[[], Ring],
        newer: Callable[[int], None],
    ) -> None:
        self.member = member
        self._suspect_seconds = suspect_seconds
        self._ring = ring
        self._newer = newer
        self._client = NodeClient(
            member.host, member.port, identity, tls=tls, on_change=self._changed
        )
        self._answers = False
        self._heard = asyncio.Event()
        self._prober: asyncio.Task[None] | None = None
        self.status: Status | None = None

    @property
    def node_id(self) -> str:
        """Its name in the ring."""
        return self.member.node_id

    @property
    def healthy(self) -> bool:
        """Whether it has been answering lately."""
        return self._answers

    def open(self) -> None:
        """Begin to connect."""
        self._client.start()
        self._prober = asyncio.create_task(self._probe(), name=f"probe of {self.node_id}")

    async def close(self) -> None:
        """End the connection; what is in flight fails."""
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)
        await self._client.close()

    def submit(
        self, body: RequestBody, ring_version: int, seconds: float, on_reply: OnReply
    ) -> None:
        """Ask it for something; see `Replica.submit`."""
        self._client.submit(body, seconds, on_reply, ring_version=ring_version)

    async def request(self, body: RequestBody, ring_version: int, seconds: float) -> ReplyBody:
        """As `submit`, for one that waits."""
        return await self._client.request(body, seconds, ring_version=ring_version)

    def look(self) -> None:
        """Ask it how it is now."""
        self._heard.set()

    def _changed(self, up: bool) -> None:
        if not up:
            self._answers = False
        self._heard.set()

    async def _probe(self) -> None:
        while True:
            if self._client.connected:
                await self._look()
            self._heard.clear()
            try:
                async with asyncio.timeout(_PROBE_SECONDS):
                    await self._heard.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        reply = await self._client.request(Stat(), self._suspect_seconds)
        before = self._answers
        if isinstance(reply, Status):
            self.status = reply
            await self._agree(reply.ring_version)
            self._answers = reply.state in _SERVING
        else:
            # Too much to do is a sign of life.
            self._answers = isinstance(reply, Failure) and reply.code is FailureCode.OVERLOADED
        if before != self._answers:
            log.info(
                "storage node answers" if self._answers else "storage node does not answer",
                extra={"node_id": self.node_id, "address": self._client.address},
            )

    async def _agree(self, version: int) -> None:
        """Bring it our ring where its own is older, and look for a newer one where ours is."""
        ring = self._ring()
        if version > ring.version:
            self._newer(version)
        elif version < ring.version:
            reply = await self._client.request(SetRing(ring), self._suspect_seconds)
            if isinstance(reply, Failure) and reply.code is FailureCode.STALE_RING:
                self._newer(reply.ring_version)
