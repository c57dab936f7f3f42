"""Reads: what enough replicas hold, joined; those that are behind are repaired."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

from muster_kv.clock import EMPTY
from muster_kv.consistency import Level, required
from muster_kv.merging import merge
from muster_kv.reading import shown, siblings
from muster_kv.record import ABSENT, Record, Version, decode, encode, fingerprint
from muster_kv.slots import slot, token_of
from muster_kv.tenants import ConflictResolution
from muster_kv.wire.messages import Cause, Digest, Found, Get, GetDigest, Merge
from muster_kv_coordinator.core import failures, model
from muster_kv_coordinator.core.asking import Answers, BegunQuestion
from muster_kv_coordinator.core.errors import KeyNotFoundError
from muster_kv_coordinator.core.failures import StaleRingError
from muster_kv_coordinator.core.model import Tenant
from muster_kv_coordinator.core.ports import Cluster, Meter, Place, Together
from muster_kv_coordinator.core.quorums import counted
from muster_kv_coordinator.core.refreshing import newer_ring
from muster_kv_coordinator.core.repairs import Repairs

# Above this size one replica is asked for the value, and the others for its fingerprint.
_LARGE_BYTES = 16 * 1024
_LARGE_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """How reads are done.

    Args:
        seconds: for a read whose client gives it more.
        repair_async: whether answers go out before replicas are repaired.
    """

    seconds: float
    repair_async: bool = True


@dataclass(frozen=True, slots=True)
class _Reading:
    """One read, in one version of the ring."""

    where: bytes
    place: Place
    least: int
    end: float
    last_wins: bool


class Reads:
    """Reads single keys."""

    def __init__(
        self,
        cluster: Cluster,
        together: Together,
        meter: Meter,
        repairs: Repairs,
        settings: ReadSettings,
    ) -> None:
        self._cluster = cluster
        self._together = together
        self._meter = meter
        self._repairs = repairs
        self._settings = settings
        # Keys whose values were large when they were read last.
        self._large: OrderedDict[bytes, None] = OrderedDict()

    async def read(
        self,
        tenant: Tenant,
        key: str,
        asked: Level,
        seconds: float | None,
        begun: BegunQuestion | None = None,
    ) -> model.Found:
        """The values of a key.

        Args:
            begun: what replicas have answered already, where they were asked.

        Raises:
            KvError: KEY_NOT_FOUND, QUORUM_NOT_REACHED.
        """
        with counted(self._meter, "read"):
            return await self._read(tenant, key, asked, seconds, begun)

    async def _read(
        self,
        tenant: Tenant,
        key: str,
        asked: Level,
        seconds: float | None,
        begun: BegunQuestion | None,
    ) -> model.Found:
        limit = self._settings.seconds if seconds is None else min(seconds, self._settings.seconds)
        end = asyncio.get_running_loop().time() + limit
        where = slot(tenant.tenant_id, key)
        while True:
            reading = self._reading(tenant, where, asked, end)
            answers = None if begun is None else begun.still(reading.place.ring_version)
            begun = None
            try:
                record = await self._record(reading, answers)
            except StaleRingError as stale:
                await newer_ring(self._cluster, self._meter, stale, end)
                continue
            return self._found(tenant, key, record)

    def _reading(self, tenant: Tenant, where: bytes, asked: Level, end: float) -> _Reading:
        factor = tenant.replication_factor
        place = self._cluster.place(tenant, token_of(where))
        last_wins = tenant.policy.conflict_resolution is ConflictResolution.LAST_WRITE_WINS
        return _Reading(where, place, required(asked, factor), end, last_wins)

    async def _record(self, reading: _Reading, answers: Answers | None) -> Record:
        if answers is None and reading.least > 1 and reading.where in self._large:
            record = await self._by_digest(reading)
            if record is not None:
                return record
        if answers is None:
            answers = await self._asked(reading)
        self._check(reading, answers)
        records = {
            node: answer.record
            for node, answer in answers.good.items()
            if isinstance(answer, Found)
        }
        kinds = set(records.values())
        self._note_size(reading.where, max(map(len, kinds)))
        if len(kinds) == 1:
            return decode(kinds.pop(), reading.where)
        return await self._joined(reading, records)

    async def _asked(self, reading: _Reading) -> Answers:
        place, body = reading.place, Get(reading.where)
        return await self._together.ask(
            place.placement.natural, body, place.ring_version, reading.least, reading.end
        )

    def _check(self, reading: _Reading, answers: Answers) -> None:
        if answers.stale is not None:
            raise answers.stale
        if len(answers.good) < reading.least:
            short = f"{len(answers.good)} of {reading.least} needed replicas answered"
            raise failures.not_reached(short, answers.bad, unsure=False)

    async def _by_digest(self, reading: _Reading) -> Record | None:
        """The record, if those that are asked for fingerprints have it too."""
        replicas = map(self._cluster.replica, reading.place.placement.natural)
        first, *others = sorted(replicas, key=lambda replica: not replica.healthy)
        left = max(0.001, reading.end - asyncio.get_running_loop().time())
        version = reading.place.ring_version
        # Both are on their way at once.
        answered = self._together.ask(
            [replica.node_id for replica in others],
            GetDigest(reading.where),
            version,
            reading.least - 1,
            reading.end,
        )
        found = await first.request(Get(reading.where), version, left)
        answers = await answered
        if not isinstance(found, Found) or len(answers.good) < reading.least - 1:
            return None
        record = decode(found.record, reading.where)
        own = fingerprint(record)
        for answer in answers.good.values():
            if not isinstance(answer, Digest) or answer.fingerprint != own:
                return None
        self._note_size(reading.where, len(found.record))
        return record

    def _note_size(self, where: bytes, size: int) -> None:
        if size < _LARGE_BYTES:
            if self._large:
                self._large.pop(where, None)
            return
        self._large[where] = None
        self._large.move_to_end(where)
        if len(self._large) > _LARGE_KEYS:
            self._large.popitem(last=False)

    async def _joined(self, reading: _Reading, records: dict[str, bytes]) -> Record:
        held = {node: decode(data, reading.where) for node, data in records.items()}
        joined = ABSENT
        for record in held.values():
            joined = merge(joined, record)
        whole = fingerprint(joined)
        knowing = {node for node, record in held.items() if fingerprint(record) == whole}
        behind = [node for node in held if node not in knowing]
        if behind and not await self._repair(reading, joined, knowing, behind):
            # A context that no quorum knows is none to write with: an empty one makes siblings.
            return Record(joined.versions, EMPTY)
        return joined

    async def _repair(
        self, reading: _Reading, joined: Record, knowing: set[str], behind: list[str]
    ) -> bool:
        """Bring the joined record to replicas; whether a quorum has it, or need not.

        A reader at a quorum gets a context to write with, so it waits until a quorum knows what
        that names. All that goes beyond is done in the background, if it may be.
        """
        natural, version = reading.place.placement.natural, reading.place.ring_version
        quorum, agree = len(natural) // 2 + 1, len(knowing)
        if not self._settings.repair_async:
            wanted = max(quorum, reading.least)
        elif reading.least < quorum or reading.last_wins:
            wanted = 0
        else:
            wanted = quorum
        body = Merge(reading.where, encode(joined, reading.where), Cause.REPAIR)
        self._meter.repair_triggered()
        later = behind[max(0, wanted - agree) :]
        self._repairs.start(body, version, [self._cluster.replica(node) for node in later])
        if agree >= wanted:
            return True
        # Those that were not read may know it, or learn it sooner than one that is slow.
        others = [node for node in natural if node not in knowing and node not in behind]
        answers = await self._together.ask(
            [*behind, *others], body, version, wanted - agree, reading.end
        )
        self._meter.repaired("done", len(answers.good))
        self._meter.repaired("failed", len(answers.bad))
        agree += len(answers.good)
        if not self._settings.repair_async and agree < reading.least:
            short = f"{agree} of {reading.least} needed replicas agree"
            raise failures.not_reached(short, (), unsure=False)
        return agree >= quorum

    def _found(self, tenant: Tenant, key: str, record: Record) -> model.Found:
        now_us = time.time_ns() // 1000
        if tenant.policy.conflict_resolution is ConflictResolution.LAST_WRITE_WINS:
            latest = shown(record, now_us, last_write_wins=True)
            versions: tuple[Version, ...] = () if latest is None else (latest,)
        else:
            versions = siblings(record, now_us)
        if not versions:
            raise KeyNotFoundError(key, record.context)
        if len(versions) > 1:
            self._meter.conflict()
        return model.Found(versions, record.context)
