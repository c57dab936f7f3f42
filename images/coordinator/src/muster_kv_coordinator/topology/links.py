"""The leader's own connections to storage nodes: what it moves does not delay clients' requests."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from muster_kv.ring import Member, MemberState, Ring
from muster_kv.wire.client import NodeClient
from muster_kv.wire.messages import (
    Done,
    Failure,
    NodeState,
    ReplyBody,
    RequestBody,
    SetRing,
    SetState,
    Stat,
    Status,
)
from muster_kv_coordinator.nodes.cluster import NodeSettings

_CONNECT_SECONDS = 2.0
_RING_SECONDS = 5.0
_STAT_SECONDS = 2.0
_SECONDS = 60.0

_SERVING = frozenset({NodeState.NORMAL, NodeState.DRAINING})

R = TypeVar("R")


class NodeError(Exception):
    """A node did not do what it was asked; the text names it and says why."""


async def together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at once; the first failure ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed


class Links:
    """Connections to the members of a ring, and to a node that is to be one."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._clients: dict[str, NodeClient] = {}

    async def use(self, members: Iterable[Member]) -> None:
        """Connect to these nodes, and to no others."""
        wanted = {member.node_id: member for member in members}
        for node_id, client in list(self._clients.items()):
            member = wanted.get(node_id)
            if member is None or (client.host, client.port) != (member.host, member.port):
                await self._clients.pop(node_id).close()
        fresh = [node_id for node_id in wanted if node_id not in self._clients]
        for node_id in fresh:
            member = wanted[node_id]
            client = NodeClient(
                member.host, member.port, self._settings.identity, tls=self._settings.tls
            )
            client.start()
            self._clients[node_id] = client
        ready = (self._clients[node_id].ready(_CONNECT_SECONDS) for node_id in fresh)
        await asyncio.gather(*ready, return_exceptions=True)

    async def close(self) -> None:
        """End all connections."""
        await self.use(())

    async def holding(self, ring: Ring, nodes: Iterable[str]) -> frozenset[str]:
        """Bring nodes a ring; those that hold it then."""
        asked = tuple(nodes)
        replies = await asyncio.gather(
            *(self._request(node, SetRing(ring), 0, _RING_SECONDS) for node in asked)
        )
        return frozenset(
            node for node, reply in zip(asked, replies, strict=True) if isinstance(reply, Done)
        )

    async def statuses(self, nodes: Iterable[str]) -> dict[str, Status]:
        """What nodes say of themselves, of those that answer and are who they should be."""
        asked = tuple(nodes)
        replies = await asyncio.gather(
            *(self._request(node, Stat(), 0, _STAT_SECONDS) for node in asked)
        )
        return {
            node: reply
            for node, reply in zip(asked, replies, strict=True)
            if isinstance(reply, Status) and reply.node_id == node
        }

    async def leaving(self, ring: Ring, statuses: Mapping[str, Status]) -> None:
        """Have members say of themselves whether they are about to leave, as the ring has it.

        One that does not answer is told another time.
        """
        for member in ring.members:
            status = statuses.get(member.node_id)
            leaves = member.state is MemberState.LEAVING
            told = NodeState.DRAINING if leaves else NodeState.NORMAL
            if status is not None and status.state in _SERVING and status.state is not told:
                with contextlib.suppress(NodeError):
                    await self.ask(member.node_id, SetState(told), Done, ring, _STAT_SECONDS)

    async def ask(
        self, node: str, body: RequestBody, kind: type[R], ring: Ring, seconds: float = _SECONDS
    ) -> R:
        """What a node answers to a request that is made under a ring.

        Raises:
            NodeError: it does not answer, or refuses.
        """
        reply = await self._request(node, body, ring.version, seconds)
        if isinstance(reply, kind):
            return reply
        reason = reply.detail if isinstance(reply, Failure) else f"unexpected {type(reply)}"
        raise NodeError(f"{node}: {reason}")

    async def _request(
        self, node: str, body: RequestBody, ring_version: int, seconds: float
    ) -> ReplyBody:
        client = self._clients.get(node)
        if client is None:
            raise NodeError(f"{node}: not a member")
        return await client.request(body, seconds, ring_version=ring_version)
