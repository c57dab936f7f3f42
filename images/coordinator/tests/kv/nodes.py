"""A storage node in memory, on the real wire: for what real ones can't be made to do on purpose."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from muster_kv.errors import FailureCode
from muster_kv.merging import Outcome, OverclaimError, merge, take
from muster_kv.record import ABSENT, Record, decode, encode, fingerprint
from muster_kv.ring import Member
from muster_kv.slots import TOKEN_BYTES, parse
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import (
    Digest,
    Done,
    Failure,
    Found,
    Get,
    GetDigest,
    Known,
    Lookup,
    Merge,
    Merged,
    NodeState,
    Page,
    ReplyBody,
    RequestBody,
    ScanRange,
    SetRing,
    Stat,
    Status,
    StoreHint,
    Take,
    Took,
)
from muster_kv.wire.peer import Call
from muster_kv.wire.server import Limits, Server


class MemoryNode:
    """Keeps records as a storage node does, in a dict.

    `refuses` answers a kind of request with a failure, `silent` kinds are never answered, `loses`
    are done but answered as if nobody knew, `seen` is what came, `takes` are those of them,
    `unsynced` what each write said of waiting for the disk.
    """

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.records: dict[bytes, Record] = {}
        self.hints: list[tuple[str, bytes]] = []
        self.ring_version = 0
        self.data_bytes = 0
        self.refuses: dict[type, FailureCode] = {}
        self.silent: set[type] = set()
        self.loses: set[type] = set()
        self.seen: list[type] = []
        self.takes: list[Take] = []
        self.unsynced: list[bool] = []
        self.server = Server(self._handle, Identity(node_id, Role.STORAGE, "muster"), Limits())

    @property
    def member(self) -> Member:
        """As a member of a ring."""
        return Member(self.node_id, "127.0.0.1", self.server.port)

    @property
    def writes(self) -> int:
        """How many requests to write have come."""
        return sum(kind in {Take, Merge} for kind in self.seen)

    async def _handle(self, calls: list[Call]) -> list[ReplyBody]:
        if any(type(call.body) in self.silent for call in calls):
            await asyncio.Event().wait()
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call) -> ReplyBody:
        body = call.body
        self.seen.append(type(body))
        if isinstance(body, Take | Merge):
            self.unsynced.append(body.unsynced)
        if type(body) in self.refuses:
            return Failure(self.refuses[type(body)], "as the test wants", self.ring_version)
        if 0 < call.ring_version < self.ring_version:
            return Failure(FailureCode.STALE_RING, "an older ring", self.ring_version)
        try:
            done = self._do(body)
            if type(body) in self.loses:
                return Failure(FailureCode.INTERNAL, "the answer is lost")
            return done
        except OverclaimError as error:
            return Failure(FailureCode.INVALID, str(error))

    def _do(self, body: RequestBody) -> ReplyBody:
        match body:
            case Take():
                self.takes.append(body)
                before = self._held(body.slot)
                if body.base:
                    before = merge(before, decode(body.base, body.slot))
                taken = take(before, body.intent, f"{self.node_id}#00000000")
                self.records[body.slot] = taken.record
                return Took(encode(taken.record, body.slot), taken.outcome, taken.clock)
            case Merge():
                theirs = decode(body.record, body.slot)
                self.records[body.slot] = merge(self._held(body.slot), theirs)
                return Merged(1)
            case Get():
                held = self.records.get(body.slot)
                return Found(encode(held, body.slot) if held is not None else b"")
            case GetDigest():
                return Digest(fingerprint(self._held(body.slot)), 1)
        return self._keep_or_tell(body)

    def _keep_or_tell(self, body: RequestBody) -> ReplyBody:
        match body:
            case StoreHint():
                self.hints += [(body.target, slot) for slot, _ in body.items]
                return Done()
            case SetRing():
                self.ring_version = body.ring.version
                return Done()
            case Stat():
                return Status(
                    self.node_id,
                    f"{self.node_id}#00000000",
                    NodeState.NORMAL,
                    self.ring_version,
                    len(self.records),
                    self.data_bytes,
                    12.5,
                    disk_bytes=1000,
                )
            case ScanRange():
                return self._page(body)
            case Lookup():
                return self._known(body)
        raise AssertionError(f"unexpected {body}")

    def _known(self, body: Lookup) -> Known:
        held = self._held(body.slot)
        for entry in held.applied:
            if entry.op == body.op:
                same = entry.digest == body.digest
                outcome = Outcome.DUPLICATE if same else Outcome.CONFLICT
                return Known(outcome, entry.clock, held.context)
        return Known(Outcome.NEW, {}, held.context)

    def _page(self, body: ScanRange) -> Page:
        found: list[tuple[bytes, bytes]] = []
        behind = (slot for slot in sorted(self.records) if slot > body.after)
        for read, slot in enumerate(behind):
            if 0 < body.most_read <= read:
                return Page(tuple(found), more=True, last=slot[:TOKEN_BYTES])
            tenant, key = parse(slot)
            if (tenant in body.tenants.names) == body.tenants.exclude:
                continue
            if key.startswith(body.key_prefix):
                if len(found) == body.limit:
                    return Page(tuple(found), more=True)
                found.append((slot, encode(self.records[slot], slot)))
        return Page(tuple(found), more=False)

    def _held(self, slot: bytes) -> Record:
        return self.records.get(slot, ABSENT)


@asynccontextmanager
async def memory_nodes(*names: str) -> AsyncIterator[list[MemoryNode]]:
    """Nodes that listen while the context is open."""
    nodes = [MemoryNode(name) for name in names]
    for node in nodes:
        await node.server.start("127.0.0.1", 0, None)
    try:
        yield nodes
    finally:
        for node in nodes:
            await node.server.close(grace=0.1)
