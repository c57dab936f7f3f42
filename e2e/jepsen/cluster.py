"""A store of real processes: two coordinators, three storage nodes, PostgreSQL."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from images.coordinator.tests.kv.harness import Client, Coordinator, Process, settings
from muster_kv.ranges import WHOLE_RING
from muster_kv.record import decode, fingerprint
from muster_kv.wire.client import NodeClient
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import (
    Cause,
    Merged,
    MergeMany,
    Page,
    Purge,
    Purged,
    ReplyBody,
    RequestBody,
    ScanRange,
    Stat,
    Status,
)
from muster_protos import kv_pb2 as pb
from muster_testing.ports import free_port
from muster_testing.postgres import PostgresServer
from muster_testing.storage import StorageNode, StorageNodes

SIBLINGS = "siblings"
LAST_WINS = "last-wins"
_NODES, _COORDINATORS = 3, 2
# No request lives as long as the grace; no hint does, since nodes see to that.
_GRACE_SECONDS, _REQUEST_SECONDS = 4, 2
_ANSWER_SECONDS = 10.0
# On a machine that does other things too.
START_SECONDS = 90.0

R = TypeVar("R", bound=ReplyBody)


class Front:
    """A coordinator process with ports of its own, which come back with it."""

    def __init__(self, dsn: str, name: str, home: Path) -> None:
        self._ports = (free_port(), free_port())
        self._document = settings(
            dsn,
            server={"node_id": name, "port": self._ports[0], "http_port": self._ports[1]},
            consistency={
                "write_timeout": f"{_REQUEST_SECONDS}s",
                "read_timeout": f"{_REQUEST_SECONDS}s",
            },
        )
        self._home = home / name
        self._process: Process | None = None
        self.client = Client(f"127.0.0.1:{self._ports[0]}")

    async def start(self) -> Coordinator:
        """Start the process, and wait until it is ready; the caller closes what is returned."""
        self._process = Process(self._document, self._home)
        return await self._process.serving(START_SECONDS)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self._process is not None:
            self._process.close()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        if self._process is not None:
            self._process.send(number)


class Store:
    """The processes of one run, and what can be asked of them besides what clients ask."""

    def __init__(self, nodes: list[StorageNode], fronts: list[Front]) -> None:
        self.nodes = nodes
        self.fronts = fronts

    async def begin(self) -> None:
        """Start everything, and make the tenants."""
        await asyncio.gather(*(node.start(START_SECONDS) for node in self.nodes))
        first, *others = await asyncio.gather(*(front.start() for front in self.fronts))
        await first.join(*self.nodes)
        for tenant, policy in ((SIBLINGS, "Siblings"), (LAST_WINS, "LastWriteWins")):
            made = await first.grpc.call(
                "CreateTenant",
                tenant_id=tenant,
                policy=pb.TenantPolicy(
                    conflict_resolution=policy, writes_per_minute=-1, reads_per_minute=-1
                ),
            )
            assert made.success, made.error_message
        for coordinator in (first, *others):
            await coordinator.healthy(_NODES)
            await coordinator.close()

    async def restart(self, front: Front) -> None:
        """Start a coordinator that was killed."""
        coordinator = await front.start()
        await coordinator.close()

    async def anti_entropy(self) -> int | None:
        """Bring what each node has to the others, then forget what died, but for the grace.

        Returns:
            How many records were forgotten whole; None where a node did not take part.
        """
        begun_us = time.time_ns() // 1000
        async with _talking(self.nodes) as talks:
            try:
                for source in talks:
                    await source.bring_to([talk for talk in talks if talk is not source])
                actors = tuple([(await talk.ask(Stat(), Status)).actor for talk in talks])
                purge = Purge(WHOLE_RING, begun_us, actors)
                return sum([(await talk.ask(purge, Purged)).removed for talk in talks])
            except NotAnsweredError:
                return None

    async def differing(self) -> list[str]:
        """Sentences about records that nodes do not have alike."""
        async with _talking(self.nodes) as talks:
            held = [await talk.fingerprints() for talk in talks]
        slots = sorted({slot for each in held for slot in each})
        return [
            f"{slot!r}: replicas differ"
            for slot in slots
            if len({each.get(slot, b"") for each in held}) > 1
        ]


class NotAnsweredError(Exception):
    """A node does not do what it is asked."""


class _Talk:
    def __init__(self, client: NodeClient) -> None:
        self._client = client

    async def ask(self, body: RequestBody, kind: type[R]) -> R:
        answer = await self._client.request(body, _ANSWER_SECONDS)
        if not isinstance(answer, kind):
            raise NotAnsweredError(f"{self._client.address}: {answer}")
        return answer

    async def pages(self) -> AsyncIterator[Page]:
        after, more = b"", True
        while more:
            page = await self.ask(ScanRange(WHOLE_RING, after), Page)
            more = page.more
            if page.items:
                after = page.items[-1][0]
                yield page

    async def bring_to(self, others: Iterable["_Talk"]) -> None:
        async for page in self.pages():
            for other in others:
                await other.ask(MergeMany(page.items, Cause.REPAIR), Merged)

    async def fingerprints(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        async for page in self.pages():
            found |= {slot: fingerprint(decode(data, slot)) for slot, data in page.items}
        return found


@asynccontextmanager
async def _talking(nodes: list[StorageNode]) -> AsyncIterator[list[_Talk]]:
    identity = Identity("nemesis", Role.TOOL, "muster")
    clients = [NodeClient(node.host, node.port, identity) for node in nodes]
    try:
        for client in clients:
            client.start()
        # Who is not there does not answer when it is asked.
        await asyncio.gather(*(client.ready(2.0) for client in clients), return_exceptions=True)
        yield [_Talk(client) for client in clients]
    finally:
        await asyncio.gather(*(client.close() for client in clients))


@asynccontextmanager
async def store(home: Path) -> AsyncIterator[Store]:
    """A store that serves while the context is open."""
    retention = {"tombstone_grace": f"{_GRACE_SECONDS}s", "interval": "500ms"}
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        make = stack.enter_context(StorageNodes())
        dsn = await postgres.create_database()
        nodes = [
            make(f"s-{n}", retention=retention, hints={"interval": "500ms"}) for n in range(_NODES)
        ]
        fronts = [Front(dsn, f"c-{n}", home) for n in range(_COORDINATORS)]
        for front in fronts:
            stack.callback(front.kill)
        made = Store(nodes, fronts)
        await made.begin()
        try:
            yield made
        finally:
            for front in fronts:
                await front.client.close()
