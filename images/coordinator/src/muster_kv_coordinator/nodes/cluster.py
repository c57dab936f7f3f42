"""The ring in use, and a connection to each of its members."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from muster_kv.errors import FailureCode
from muster_kv.ring import Member, Placement, Ring, arcs
from muster_kv.wire.hello import Identity
from muster_kv.wire.messages import Failure, ReplyBody, RequestBody
from muster_kv_coordinator.core.errors import ErrorCode, KvError, UnavailableError
from muster_kv_coordinator.core.model import NodeView, StoredNode, Tenant
from muster_kv_coordinator.core.ports import OnReply, Place, Replica
from muster_kv_coordinator.nodes.connections import Connections
from muster_kv_coordinator.nodes.storage_node import StorageNode

log = logging.getLogger(__name__)

# A node may say for a moment that it holds a ring which the store has not committed here yet.
_REFRESH_SECONDS = 2.0
_REFRESH_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """How storage nodes are spoken to."""

    identity: Identity
    tls: ssl.SSLContext | None
    suspect_seconds: float


class StorageCluster:
    """A `Cluster` whose ring is looked up with `fetch`.

    Args:
        fetch: the ring in force; raises `UnavailableError`.
        changed: told of each new ring.
    """

    def __init__(
        self,
        settings: NodeSettings,
        connections: Connections,
        fetch: Callable[[], Awaitable[Ring]],
        changed: Callable[[Ring], None],
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._fetch = fetch
        self._changed = changed
        self._ring = Ring(0)
        self._nodes: dict[str, StorageNode] = {}
        self._members: tuple[Replica, ...] = ()
        self._placements: dict[int, tuple[Placement, ...]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._wanted = asyncio.Event()
        self._fetching: asyncio.Task[None] | None = None

    @property
    def version(self) -> int:
        """Of the ring in use."""
        return self._ring.version

    @property
    def ring(self) -> Ring:
        """The ring in use."""
        return self._ring

    @property
    def nodes(self) -> tuple[StorageNode, ...]:
        """All members."""
        return tuple(self._nodes.values())

    @property
    def factors_version(self) -> int:
        """The ring version before which nothing that is known of tenants places them rightly."""
        return self._ring.factors_version

    def place(self, tenant: Tenant, token: int) -> Place:
        """Where a token of a tenant lives.

        Raises:
            KvError: QUORUM_NOT_REACHED where there is no node at all, or where the tenant's
                replication factor may be another by now.
        """
        ring = self._ring
        if tenant.known_at < ring.factors_version:
            text = "0 replicas answered: replication factors have changed meanwhile; try again"
            raise KvError(ErrorCode.QUORUM_NOT_REACHED, text, retry_after=0.1)
        placement = ring.placement(token, tenant.replication_factor, tenant.moving_to)
        if not placement.natural:
            raise _no_nodes()
        return Place(placement, ring.version)

    def replica(self, node_id: str) -> Replica:
        """A member of the ring; one that has just left it answers that it is away."""
        return self._nodes.get(node_id) or _Gone(node_id)

    def members(self) -> tuple[Replica, ...]:
        """All members of the ring that hold data."""
        return self._members

    def placements(self, factor: int) -> tuple[Placement, ...]:
        """Every set of nodes that some key has."""
        found = self._placements.get(factor)
        if found is None:
            ring = self._ring
            tokens = (token for _, token in arcs(ring.before, ring.after))
            found = tuple({ring.placement(token, factor): None for token in tokens})
            if not found:
                raise _no_nodes()
            self._placements[factor] = found
        return found

    async def refresh(self, least: int) -> None:
        """Get a ring of at least that version, if it comes soon.

        Raises:
            UnavailableError: it can't be looked for.
        """
        end = time.monotonic() + _REFRESH_SECONDS
        while self._ring.version < least and time.monotonic() < end:
            if self._fetching is None:
                self._fetching = asyncio.create_task(self._take_newer())
            # Many requests may wait for it; one that gives up must not take it from the others.
            await asyncio.shield(self._fetching)
            if self._ring.version < least:
                await asyncio.sleep(_REFRESH_PAUSE_SECONDS)

    async def reload(self) -> None:
        """Use the ring in force now.

        Raises:
            UnavailableError: it can't be looked for.
        """
        await self._take_newer()

    async def _take_newer(self) -> None:
        try:
            ring = await self._fetch()
            if ring.version > self._ring.version:
                self._use(ring)
        finally:
            self._fetching = None

    def wake(self, _: object = None) -> None:
        """There may be a newer ring."""
        self._wanted.set()

    async def run(self, every: float) -> None:
        """Follow the ring for ever: when told, and every so many seconds unasked."""
        while True:
            try:
                async with asyncio.timeout(every):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            try:
                await self.reload()
            except UnavailableError as error:
                log.warning("the ring can't be looked at", extra={"error": str(error)})
                await asyncio.sleep(min(1.0, every))
                self._wanted.set()

    def _use(self, ring: Ring) -> None:
        self._ring = ring
        self._placements.clear()
        wanted = {member.node_id: member for member in ring.members}
        for node_id in list(self._nodes):
            if not _same(wanted.get(node_id), self._nodes[node_id].member):
                self._close(self._nodes.pop(node_id))
        for node_id, member in wanted.items():
            if node_id not in self._nodes:
                self._nodes[node_id] = self._open(member)
        self._members = tuple(self._nodes.values())
        for node in self._nodes.values():
            # They learn of it at once, and not with the next look.
            node.look()
        self._changed(ring)
        log.info("ring in use", extra={"version": ring.version, "members": sorted(wanted)})

    def _open(self, member: Member) -> StorageNode:
        return StorageNode(
            member,
            self._connections,
            suspect_seconds=self._settings.suspect_seconds,
            ring=lambda: self._ring,
            newer=self._newer,
        )

    def _newer(self, version: int) -> None:
        if version > self._ring.version:
            self.wake()

    def _close(self, node: StorageNode) -> None:
        task = asyncio.create_task(node.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections."""
        for node in self._nodes.values():
            self._close(node)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def view(self, node: StoredNode) -> NodeView:
        """What a node said of itself lately."""
        held = self._nodes.get(node.spec.node_id)
        if held is None or held.status is None:
            return NodeView(node, reachable=False)
        status = held.status
        return NodeView(
            node,
            held.healthy,
            status.keys,
            status.disk_used_percent,
            status.data_bytes,
            status.disk_bytes,
        )


def _no_nodes() -> KvError:
    text = "0 replicas answered: the cluster has no storage nodes yet"
    return KvError(ErrorCode.QUORUM_NOT_REACHED, text, retry_after=1.0)


def _same(wanted: Member | None, held: Member) -> bool:
    return wanted is not None and (wanted.host, wanted.port) == (held.host, held.port)


class _Gone:
    """A node that was a member a moment ago."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.healthy = False

    def submit(self, _: RequestBody, __: int, ___: float, on_reply: OnReply) -> None:
        """Answer that it is away."""
        asyncio.get_running_loop().call_soon(on_reply, self._away)

    async def request(self, _: RequestBody, __: int, ___: float) -> ReplyBody:
        """Answer that it is away."""
        return self._away

    @property
    def _away(self) -> Failure:
        return Failure(FailureCode.UNAVAILABLE, f"{self.node_id} has left the ring")
