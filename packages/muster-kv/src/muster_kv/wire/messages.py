"""What coordinators and storage nodes say to each other.

Each body is an array whose first element is its number, so that fields can be added at the end.
Records travel as the bytes of `muster_kv.record.encode`; a slot is `muster_kv.slots.slot`.
"""

from enum import Enum, IntEnum

import msgspec

from muster_kv.clock import VectorClock
from muster_kv.errors import FailureCode
from muster_kv.merging import Intent, Outcome
from muster_kv.ranges import TokenRange
from muster_kv.ring import Ring

Item = tuple[bytes, bytes]  # slot, encoded record


class NodeState(Enum):
    """What a storage node is doing. Only NORMAL and DRAINING nodes serve."""

    STARTING = "starting"
    NORMAL = "normal"
    DRAINING = "draining"
    DECOMMISSIONED = "decommissioned"


class Cause(IntEnum):
    """Why records are merged: client writes come before the others where there is little room."""

    WRITE = 0
    HINT = 1
    REPAIR = 2
    STREAM = 3


class _Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    def weight(self) -> int:
        """Return about how many bytes it has on the wire."""
        return 64


# Requests


class Take(_Body, frozen=True, tag=1):
    """Take a write: make its dot, keep it, answer the record. -> Took

    `base` is a record to join first (empty: none): the source of a context that the sender made up
    from several replicas. `unsynced`: the answer need not wait for the disk.
    """

    slot: bytes
    intent: Intent
    base: bytes = b""
    unsynced: bool = False

    def weight(self) -> int:
        """Return about how many bytes it has on the wire."""
        return 64 + len(self.slot) + len(self.intent.value or b"") + len(self.base)


class Merge(_Body, frozen=True, tag=2):
    """Join a record into the replica's own; `unsynced` as in Take. -> Merged"""

    slot: bytes
    record: bytes
    cause: Cause = Cause.WRITE
    unsynced: bool = False

    def weight(self) -> int:
        """Return about how many bytes it has on the wire."""
        return 64 + len(self.slot) + len(self.record)


class MergeMany(_Body, frozen=True, tag=3):
    """Join many records, in one durable batch. -> Merged"""

    items: tuple[Item, ...]
    cause: Cause

    def weight(self) -> int:
        """Return about how many bytes it has on the wire."""
        return 64 + sum(len(slot) + len(record) for slot, record in self.items)


class Get(_Body, frozen=True, tag=4):
    """Read a record. -> Found"""

    slot: bytes


class GetDigest(_Body, frozen=True, tag=5):
    """Read a record's fingerprint and size. -> Digest"""

    slot: bytes


class Lookup(_Body, frozen=True, tag=6):
    """Ask what is known of an operation, and for the record's context. -> Known"""

    slot: bytes
    op: bytes
    digest: bytes
    timestamp_us: int


class Tenants(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Which tenants a scan is about: those named, or all but those named."""

    names: tuple[str, ...] = ()
    exclude: bool = True


ALL_TENANTS = Tenants()


class ScanRange(_Body, frozen=True, tag=7):
    """Read records in the order of their slots, a page at a time. -> Page

    `after` is where the page before ended; empty for the first. The asker sets the pace: a page is
    read when it is asked for. `most_read` records are looked at for it at most (0: as many as it
    takes), those that it leaves out among them.
    """

    range: TokenRange
    after: bytes = b""
    limit: int = 1000
    max_bytes: int = 1 << 20
    tenants: Tenants = ALL_TENANTS
    key_prefix: str = ""
    most_read: int = 0


class MerkleNodes(_Body, frozen=True, tag=8):
    """Ask for hashes of a range's hash tree. -> Hashes

    `positions` are numbers of nodes as in `muster_kv.merkle` (the root is 1).
    """

    range: TokenRange
    depth: int
    positions: tuple[int, ...]
    tenants: Tenants = ALL_TENANTS


class StoreHint(_Body, frozen=True, tag=9):
    """Keep records for a node that could not be reached, and bring them when it can. -> Done"""

    target: str
    items: tuple[Item, ...]

    def weight(self) -> int:
        """Return about how many bytes it has on the wire."""
        return 64 + sum(len(slot) + len(record) for slot, record in self.items)


class HintsWaiting(_Body, frozen=True, tag=10):
    """Ask how many hints wait for whom. -> Hints"""


class Stat(_Body, frozen=True, tag=11):
    """Ask how a node is. -> Status"""


class SetRing(_Body, frozen=True, tag=12):
    """Bring a ring; an older one than the node's is answered with Failure STALE_RING. -> Done"""

    ring: Ring


class SetState(_Body, frozen=True, tag=13):
    """Bring a node into another state. -> Done"""

    state: NodeState


class Purge(_Body, frozen=True, tag=14):
    """Forget what died before `before_us` (`muster_kv.tombstones`). -> Purged"""

    range: TokenRange
    before_us: int
    actors: tuple[str, ...]


class DropRange(_Body, frozen=True, tag=15):
    """Delete records that the node no longer holds. -> Purged"""

    range: TokenRange
    tenants: Tenants = ALL_TENANTS


class Backup(_Body, frozen=True, tag=16):
    """Make a checkpoint of that name in the node's backup folder. -> Done"""

    name: str


class Restore(_Body, frozen=True, tag=17):
    """Take the data of a checkpoint of that name in the backup folder. -> Done"""

    name: str


RequestBody = (
    Take
    | Merge
    | MergeMany
    | Get
    | GetDigest
    | Lookup
    | ScanRange
    | MerkleNodes
    | StoreHint
    | HintsWaiting
    | Stat
    | SetRing
    | SetState
    | Purge
    | DropRange
    | Backup
    | Restore
)


# Replies


class Failure(_Body, frozen=True, tag=101):
    """The request was not done, or nobody knows; `detail` is one sentence.

    `ring_version` is the node's, with STALE_RING.
    """

    code: FailureCode
    detail: str
    ring_version: int = 0

    @property
    def unknown(self) -> bool:
        """Whether the request may have been done."""
        return self.code in {FailureCode.BROKEN, FailureCode.TIMEOUT, FailureCode.INTERNAL}


class Took(_Body, frozen=True, tag=102):
    """The record after the write, and the clock for its writer."""

    record: bytes
    outcome: Outcome
    clock: VectorClock

    def weight(self) -> int:
        """Return about how many bytes it has on the wire."""
        return 64 + len(self.record)


class Merged(_Body, frozen=True, tag=103):
    """The records are joined and durable; `changed` of them were news."""

    changed: int


class Found(_Body, frozen=True, tag=104):
    """A record; empty where there is none."""

    record: bytes

    def weight(self) -> int:
        """Return about how many bytes it has on the wire."""
        return 64 + len(self.record)


class Digest(_Body, frozen=True, tag=105):
    """A record's fingerprint (`muster_kv.record.fingerprint`) and how many bytes it has."""

    fingerprint: bytes
    size: int


class Known(_Body, frozen=True, tag=106):
    """What is known of an operation: NEW is nothing; `context` is the record's."""

    outcome: Outcome
    clock: VectorClock
    context: VectorClock


class Page(_Body, frozen=True, tag=107):
    """A page of a scan; `more` tells whether there may be another.

    It is behind `last`: a slot, or where a record that was not asked for is next, its token alone.
    """

    items: tuple[Item, ...]
    more: bool
    last: bytes = b""

    def weight(self) -> int:
        """Return about how many bytes it has on the wire."""
        return 64 + sum(len(slot) + len(record) for slot, record in self.items)


class Hashes(_Body, frozen=True, tag=108):
    """16 bytes for each position asked for."""

    hashes: tuple[bytes, ...]


class Hints(_Body, frozen=True, tag=109):
    """Hints waiting, by the node that they are for; and the age of the oldest in seconds."""

    waiting: dict[str, int]
    oldest_seconds: float = 0.0


class Status(_Body, frozen=True, tag=110):
    """How a storage node is.

    `folder` names its data folder (see `muster_kv.ring.Member`); `disk_bytes` is what the file
    system has in all.
    """

    node_id: str
    actor: str
    state: NodeState
    ring_version: int
    keys: int
    data_bytes: int
    disk_used_percent: float
    version: str = ""
    counter_floor: int = 0
    folder: str = ""
    disk_bytes: int = 0
    hints_waiting: int = 0


class Purged(_Body, frozen=True, tag=111):
    """How many records were changed and how many went whole."""

    changed: int
    removed: int


class Done(_Body, frozen=True, tag=112):
    """It is done."""


ReplyBody = (
    Failure
    | Took
    | Merged
    | Found
    | Digest
    | Known
    | Page
    | Hashes
    | Hints
    | Status
    | Purged
    | Done
)


# What frames hold


class Request(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A numbered request.

    `deadline_us` is on the sender's monotonic clock, whose offset the frames show; `ring_version`
    is the sender's, 0 where the request does not depend on the ring.
    """

    id: int
    deadline_us: int
    ring_version: int
    body: RequestBody


class Reply(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """The answer to the request of that number."""

    id: int
    body: ReplyBody
