"""What each reading request finds: points in batches, ranges in pages."""

from collections.abc import Callable, Iterator, Sequence

from muster_kv.errors import FailureCode
from muster_kv.ranges import TokenRange
from muster_kv.record import CorruptRecordError, check, decode, fingerprint
from muster_kv.slots import tenant_of
from muster_kv.wire.messages import (
    Digest,
    Failure,
    GetDigest,
    Item,
    Page,
    ReplyBody,
    ScanRange,
    Tenants,
)
from muster_records import Batch
from muster_storage.engine import Engine, Family
from muster_storage.layout import after, token_alone
from muster_storage.metrics import Metrics
from muster_storage.writer import read_many


class Reads:
    """Answers requests from the store; may be called in any thread."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    def batch(
        self, jobs: Sequence[Batch | Sequence[GetDigest]]
    ) -> list[list[ReplyBody] | Exception]:
        """Answer all requests of all `jobs` with one look into the store; plain ones in place."""
        asked = [
            job.slots() if isinstance(job, Batch) else [body.slot for body in job] for job in jobs
        ]
        slots = list(dict.fromkeys(slot for each in asked for slot in each))
        held = dict(zip(slots, read_many(self._engine, Family.DATA, slots), strict=True))
        answers: list[list[ReplyBody] | Exception] = []
        for job, each in zip(jobs, asked, strict=True):
            if isinstance(job, Batch):
                self._metrics.corrupted(job.find(each, [held[slot] for slot in each]))
                answers.append([])
            else:
                answers.append([self._answer(body, held[body.slot] or b"") for body in job])
        return answers

    def _answer(self, body: GetDigest, data: bytes) -> ReplyBody:
        try:
            record = decode(data, body.slot)
        except CorruptRecordError as error:
            self._metrics.corrupted()
            return Failure(FailureCode.CORRUPT, str(error))
        return Digest(fingerprint(record), len(data))

    def page(self, body: ScanRange) -> Page:
        """Read the next records of a range, as they are at this moment.

        Damaged ones are left out and counted: they are not what anybody should copy, and the hash
        trees show that they are missing.
        """
        items: list[Item] = []
        size = 0
        wanted = self._wanted(body.tenants, body.key_prefix)
        for read, (slot, data) in enumerate(self._run(body.range, body.after)):
            if 0 < body.most_read <= read:
                # Its token alone, as it may be a key that nobody asked for.
                return Page(tuple(items), more=True, last=token_alone(slot))
            if not wanted(slot):
                continue
            if items and (len(items) >= body.limit or size + len(data) > body.max_bytes):
                return Page(tuple(items), more=True, last=items[-1][0])
            if self.whole(slot, data):
                items.append((slot, data))
                size += len(slot) + len(data)
        return Page(tuple(items), more=False)

    def records(
        self, tokens: TokenRange, behind: bytes, tenants: Tenants
    ) -> Iterator[tuple[bytes, bytes]]:
        """Slots and bytes of a range's records behind a slot (empty: from the start)."""
        wanted = self._wanted(tenants)
        return (item for item in self._run(tokens, behind) if wanted(item[0]))

    def _run(self, tokens: TokenRange, behind: bytes) -> Iterator[tuple[bytes, bytes]]:
        start, stop = tokens.slots()
        if behind:
            start = max(start, after(behind))
        return self._engine.scan(Family.DATA, start, stop, cached=False)

    @staticmethod
    def _wanted(tenants: Tenants, key_prefix: str = "") -> Callable[[bytes], bool]:
        """Tells of a slot whether it is one of these tenants', with such a key."""
        names = {name.encode() for name in tenants.names}
        prefix = key_prefix.encode()

        def wanted(slot: bytes) -> bool:
            tenant = tenant_of(slot)
            if (tenant in names) is tenants.exclude:
                return False
            return slot.startswith(prefix, 9 + len(tenant))

        return wanted

    def whole(self, slot: bytes, data: bytes) -> bool:
        """Whether a record is what was written; counts it where it is not."""
        try:
            check(data, slot)
        except CorruptRecordError:
            self._metrics.corrupted()
            return False
        return True
