"""Records, and what a replica does with them, in Rust.

Clocks, records and intents are packed: the MessagePack of `muster_kv`'s structs of these names.
What is not that raises ValueError.
"""

from collections.abc import Sequence

CLOCK_LIMIT: int
DEAD_LIMIT: int
LWW: str

class CorruptRecordError(Exception):
    """A record's bytes are damaged, or another key's. Names the key by hash, never its value."""

class OverclaimError(ValueError):
    """A writer's context names writes of this replica that it has never made."""

def compare(one: bytes, other: bytes) -> int | None:
    """How a clock stands to another: -1 before, 0 equal, 1 after, None neither."""

def join(one: bytes, other: bytes) -> bytes:
    """The least clock that knows what either knows."""

def increment(clock: bytes, actor: str, floor: int) -> int:
    """The next counter of an actor: above the clock's and above `floor`."""

def value_digest(value: bytes | None) -> bytes:
    """16 bytes that tell values apart; a tombstone's differ from every value's."""

def seal(packed: bytes, slot: bytes) -> bytes:
    """The bytes of a record: format, array, checksum seeded with the slot."""

def check(data: bytes, slot: bytes) -> None:
    """Raise CorruptRecordError unless a record's bytes are whole and belong to `slot`."""

def merge(ours: bytes, theirs: bytes) -> bytes:
    """The least record that knows what either knows; the same object where it is one of them."""

def take(record: bytes, intent: bytes, actor: str, floor: int) -> tuple[bytes | None, int, bytes]:
    """The record after a write (None: as before), the outcome's number, the writer's clock.

    Raises OverclaimError.
    """

def knows(record: bytes, intent: bytes) -> int:
    """The number of the outcome that the intent would have, were it taken."""

def clock_of(record: bytes, name: bytes) -> bytes:
    """The clock that the writer of an operation was told, or the most that it may be told now."""

def is_dead(record: bytes, before_us: int) -> bool:
    """Whether all of the record died before."""

def purge(record: bytes, before_us: int, actors: Sequence[str]) -> bytes | None:
    """The record without what died before; None where nothing is left."""

class Frame:
    """The body of a REQUESTS frame, taken apart; ValueError where it is none.

    Takes, merges, reads and look-ups of operations, each of one record, are plain, and stay inside.
    """

    def __init__(self, body: bytes) -> None: ...
    @property
    def sent_us(self) -> int:
        """The sender's clock when the frame was closed."""
    @property
    def plain(self) -> tuple[int, int]:
        """How many plain writes and reads it has."""
    def others(self) -> list[tuple[int, int, int, bytes]]:
        """Number, deadline on the sender's clock, version of the ring and packed body of others."""
    def put_writes(
        self, connection: int, offset_us: int, batch: Batch, room: tuple[int, int] = ...
    ) -> int:
        """Move its writes to a batch; returns how many stay.

        The sender's clock is `offset_us` behind ours. With `room` only the first so many go, and
        none behind one that goes beyond so many bytes.
        """
    def put_reads(
        self, connection: int, offset_us: int, batch: Batch, room: tuple[int, int] = ...
    ) -> int:
        """The same with its reads."""

class Rules:
    """What a node does not do at the moment, each with the sentence that says why.

    Args:
        not_ready: anything.
        ring_version: what comes with an older ring.
        unfilled: what only a node can do that has all that it should.
        full: any write.
        large: writes of so many bytes or more, and what others could bring later.
    """

    def __init__(
        self,
        *,
        not_ready: str | None = None,
        ring_version: int = 0,
        unfilled: str | None = None,
        full: str | None = None,
        large: tuple[int, str] | None = None,
    ) -> None: ...
    def refusal(
        self,
        ring_version: int,
        *,
        always: bool = False,
        of_whole: bool = False,
        write: tuple[int, bool] | None = None,
    ) -> bytes | None:
        """The packed answer to a request that is not even begun with, where the rules say so.

        Args:
            ring_version: of its sender's ring; 0 where it does not depend on that.
            always: it is what it takes to see to a node that does not serve.
            of_whole: only a node can do it that has all that it should.
            write: how many bytes the largest record of a write has, and whether others could
                bring it later.
        """

class Batch:
    """Plain requests of one lane, of all connections, and their answers; for one thread at a time.

    What is answered stays answered, but by `fail`.
    """

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    @property
    def weight(self) -> int:
        """About how many bytes the requests have on the wire."""
    @property
    def open(self) -> int:
        """How many requests are not answered yet."""
    def connections(self) -> set[int]:
        """Where the requests came from."""
    @property
    def synced(self) -> bool:
        """Whether any answer has to wait for the disk."""
    @property
    def kinds(self) -> tuple[int, int, int, int]:
        """How many takes, merges, reads and look-ups of operations there are."""
    @property
    def failures(self) -> list[tuple[int, int]]:
        """Codes, and how many were answered with them."""
    def first(self, most: int) -> Batch:
        """Take off the first so many; all where there are fewer."""
    def leave(self, over: Sequence[int]) -> None:
        """Drop the requests of connections that are over."""
    def judge(self, rules: Rules, now_us: int) -> None:
        """Answer what is late, or against the rules."""
    def slots(self) -> list[bytes]:
        """Where the records are that are still asked about, each once."""
    def apply(self, replica: Replica, now_us: int) -> None:
        """Do the writes, without the interpreter's lock; all their records are loaded."""
    def find(self, slots: Sequence[bytes], values: Sequence[bytes | None]) -> int:
        """Answer reads and look-ups from what is held; how many records are damaged."""
    def fail(self, code: int, why: str) -> None:
        """Answer all that was not refused with a failure."""
    def frames(self) -> list[tuple[int, bytes]]:
        """REPLIES frames with all answers, each with its connection; leaves the batch empty."""

class Recent:
    """Records that were written last, of about so many bytes of memory; 0 keeps none."""

    def __init__(self, most: int) -> None: ...
    def clear(self) -> None:
        """Let go of all, as nobody knows what was written."""

class Replica:
    """The records that a batch may touch, as they become; for one thread at a time.

    KeyError where a record was not loaded.

    Args:
        actor: who makes dots.
        spare: who makes them once they may have been lost.
        floor: the greatest counter of own dots in records that were forgotten.
        horizon: tokens from which on what died before a moment (µs) may be forgotten.
    """

    def __init__(
        self, actor: str, spare: str, floor: int, horizon: Sequence[tuple[int, int]]
    ) -> None: ...
    def recall(self, batch: Batch, recent: Recent) -> list[bytes]:
        """Load what a batch asks about as far as it was written lately; the slots of the rest."""
    def missing(self, slots: Sequence[bytes]) -> list[bytes]:
        """Those of the slots that are not loaded."""
    def load(self, slot: bytes, data: bytes | None) -> None:
        """Take in what is held; what is loaded already stays."""
    def data(self, slot: bytes) -> bytes | None:
        """The bytes of a record as they are now, whole or not; None where there is none."""
    def join(self, slot: bytes, data: bytes) -> bool:
        """Join a record into the one that is held; whether that was news.

        Raises CorruptRecordError where `data` is damaged.
        """
    def replace(self, slot: bytes, data: bytes) -> None:
        """Put other bytes in the place of a record."""
    def forget(self, slot: bytes) -> None:
        """Remove a record whose deletion everybody knows, or that is no longer this node's."""
    def forget_before(self, horizon: Sequence[tuple[int, int]]) -> None:
        """Let what died before other moments be forgotten, from now on."""
    def renew(self) -> None:
        """Become the spare actor, as dots that were made may be lost."""
    @property
    def renewed(self) -> bool:
        """Whether it has become the spare actor."""
    @property
    def floor(self) -> int:
        """The greatest counter of own dots in records that were forgotten, by now."""
    @property
    def corrupted(self) -> int:
        """How many damaged records were met."""
    def changes(self) -> list[tuple[bytes, bytes | None]]:
        """Slots and bytes of the records that have changed; None where they are removed."""
    def tokens(self) -> list[int]:
        """Where records have changed."""
    def totals(self) -> tuple[int, int]:
        """By how much the number of records and their bytes have changed."""
    def remember(self, recent: Recent) -> None:
        """Once the changes are durable, keep them for the batches that follow."""
