"""The keys of the circuits on offer: made or imported by the leader, loaded by every replica.

A replica holds the verifying sides only, also of keys that are replaced: their proofs are shown for
ever. Proving keys stay in the database, from where workers fetch them, until the leader finds that
no work needs them any more.
"""

import asyncio
import hashlib
import logging
from dataclasses import dataclass

from muster_coordinator.engine.errors import Unavailable
from muster_coordinator.engine.model import KeyRecord
from muster_coordinator.engine.ports import KeyStore
from muster_coordinator.proving.imports import Imports, KeyFile, KeyFileRefused
from muster_coordinator.proving.offers import Offers, Pool
from muster_proving import (
    CircuitSpec,
    InvalidInput,
    KeyMaterial,
    KeyMismatch,
    Verifier,
    generate_insecure_key,
    load_verifying_key,
)

log = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
_TEND_SECONDS = 30.0

GRACE_SECONDS = 600.0
"""How long a replaced key is kept at least: replicas with the configuration before may queue on."""


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """A key whose verifying side is in memory."""

    record: KeyRecord
    verifier: Verifier


class KeyRing:
    """Loads keys as they appear in the store."""

    def __init__(self, store: KeyStore, offers: Offers, grace: float = GRACE_SECONDS) -> None:
        self._store = store
        self._offers = offers
        self._grace = grace
        self._imports = Imports()
        self._problems: dict[tuple[str, str], str] = {}
        self._loaded: dict[tuple[str, str], LoadedKey] = {}
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """A key may have been added."""
        self._changed.set()

    def current(self, pool: Pool, spec: CircuitSpec) -> LoadedKey | None:
        """The key that new proofs of a pool are made with; None while it is not there."""
        fitting = [
            key
            for key in self._loaded.values()
            if key.record.key_id == spec.key_id and _serves(key.record, pool, spec)
        ]
        return fitting[-1] if fitting else None

    async def provable(self, pool: Pool) -> list[KeyRecord]:
        """The keys that workers of a pool should hold: current ones, then those of queued work.

        Raises:
            Unavailable: a circuit of the pool has no key yet, or the database is away.
        """
        records = {}
        for spec in pool.circuits:
            key = self.current(pool, spec)
            if key is None:
                raise Unavailable(f"key {spec.key_id} of pool {pool.name} is not there yet")
            records[key.record.key_id, key.record.version] = key.record
        for place in sorted(await self._store.needed(pool.name) - records.keys()):
            older = self._loaded.get(place)
            if older is not None and not older.record.retired:
                records[place] = older.record
        return list(records.values())

    def in_use(self) -> list[tuple[str, KeyRecord]]:
        """The key of every circuit on offer that has one, beside the name of its pool."""
        return [
            (pool.name, key.record)
            for pool in self._offers.pools.values()
            for spec in pool.circuits
            if (key := self.current(pool, spec)) is not None
        ]

    def verifier(self, key_id: str, version: str) -> Verifier | None:
        """The verifying key of exactly this version, or None."""
        key = self._loaded.get((key_id, version))
        return key.verifier if key else None

    def missing(self) -> list[str]:
        """What readiness waits for: `pool/key id` without a loaded key."""
        return [
            f"{pool.name}/{spec.key_id}"
            for pool in self._offers.pools.values()
            for spec in pool.circuits
            if self.current(pool, spec) is None
        ]

    def problems(self) -> list[str]:
        """Why keys are missing, as `pool/key id: sentence`, as far as this replica knows."""
        missing = self.missing()
        return [
            f"{pool}/{key_id}: {problem}"
            for (pool, key_id), problem in self._problems.items()
            if f"{pool}/{key_id}" in missing
        ]

    async def run(self) -> None:
        """Load keys for ever, at once when one is added."""
        while True:
            self._changed.clear()
            try:
                await self._load()
                await self._examine()
            except Unavailable as error:
                log.warning("keys wait for the database", extra={"error": str(error)})
            try:
                async with asyncio.timeout(_POLL_SECONDS if self.missing() else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def tend(self, epoch: int) -> None:
        """The leader's duty, for ever: make and import what is missing, retire what is replaced.

        Raises:
            StaleEpoch: another replica leads by now.
        """
        while True:
            try:
                await self.make_missing(epoch)
                await self.import_missing(epoch)
                await self.retire(epoch)
            except Unavailable as error:
                log.warning("keys wait for the database", extra={"error": str(error)})
            await asyncio.sleep(_POLL_SECONDS if self.missing() else _TEND_SECONDS)

    async def import_missing(self, epoch: int) -> None:
        """Store the keys of configured files that are not stored yet.

        Raises:
            StaleEpoch: another replica leads by now.
        """
        there = {
            (record.key_id, record.source_sha256)
            for record in await self._store.keys()
            if not record.retired
        }
        for pool, spec, file in self._files():
            if (spec.key_id, file.sha256) in there:
                continue
            try:
                key = await self._imports.key(spec, file)
            except KeyFileRefused as error:
                self._note(pool, spec, str(error))
                continue
            await self._keep(epoch, key, source_sha256=file.sha256)
            log.info("key imported", extra={"key_id": spec.key_id, "version": key.version})

    async def retire(self, epoch: int) -> None:
        """Drop proving keys that no pool uses and no work needs; see `KeyStore.retire`.

        Raises:
            StaleEpoch: another replica leads by now.
        """
        if self.missing():
            return
        current = {(record.key_id, record.version) for _, record in self.in_use()}
        await self._store.retire(epoch, current, self._grace)

    async def make_missing(self, epoch: int) -> None:
        """Make the keys that no one has made yet, where insecure setup is allowed.

        Raises:
            StaleEpoch: another replica leads by now.
        """
        there = {
            record.key_id
            for record in await self._store.keys()
            if record.insecure and not record.retired
        }
        for spec, insecure in self._offers.specs().items():
            if insecure and spec.key_id not in there:
                made = await asyncio.to_thread(generate_insecure_key, spec)
                await self._keep(epoch, made)
                log.warning(
                    "insecure key made; for development only",
                    extra={"key_id": spec.key_id, "version": made.version},
                )

    async def _keep(self, epoch: int, key: KeyMaterial, source_sha256: str = "") -> None:
        """Store a key; one that comes from no file was made here, insecurely."""
        record = KeyRecord(
            key.spec.key_id,
            key.version,
            hashlib.sha256(key.proving_key).hexdigest(),
            len(key.proving_key),
            insecure=not source_sha256,
            source_sha256=source_sha256,
        )
        await self._store.add(epoch, record, key.proving_key, key.verifying_key)

    def _files(self) -> list[tuple[Pool, CircuitSpec, KeyFile]]:
        return [
            (pool, spec, file)
            for pool in self._offers.pools.values()
            for spec, file in pool.imports.items()
        ]

    async def _examine(self) -> None:
        """Find out why keys from files are missing; only the leader may store them."""
        for pool in self._offers.pools.values():
            if not pool.insecure_setup:
                for spec in pool.circuits:
                    if spec not in pool.imports and self.current(pool, spec) is None:
                        self._note(pool, spec, "no import is configured, nor insecure_setup")
        for pool, spec, file in self._files():
            if self.current(pool, spec) is not None:
                self._imports.forget(spec, file)
                continue
            try:
                await self._imports.key(spec, file)
            except KeyFileRefused as error:
                self._note(pool, spec, str(error))
            else:
                self._note(pool, spec, "read, and not stored by the leader yet")

    def _note(self, pool: Pool, spec: CircuitSpec, problem: str) -> None:
        place = (pool.name, spec.key_id)
        if self._problems.get(place) != problem:
            about = {"pool": pool.name, "key_id": spec.key_id, "error": problem}
            log.warning("key missing", extra=about)
        self._problems[place] = problem

    async def _load(self) -> None:
        for record in await self._store.keys():
            place = (record.key_id, record.version)
            held = self._loaded.get(place)
            if held is not None:
                # The order is the store's, where one that became whole again is the newest.
                del self._loaded[place]
                self._loaded[place] = LoadedKey(record, held.verifier)
                continue
            data = await self._store.verifying_key(*place)
            if data is None:
                continue
            try:
                spec = CircuitSpec.from_key_id(record.key_id)
                verifier = await asyncio.to_thread(load_verifying_key, spec, data, record.version)
            except (InvalidInput, KeyMismatch) as error:
                log.error("key refused", extra={"key_id": record.key_id, "error": str(error)})  # noqa: TRY400 - the text says it all
                continue
            self._loaded[place] = LoadedKey(record, verifier)
            log.info("key loaded", extra={"key_id": record.key_id, "version": record.version})


def _serves(record: KeyRecord, pool: Pool, spec: CircuitSpec) -> bool:
    """Whether new proofs of a pool may be made with a key."""
    if record.retired or record.insecure != pool.insecure_setup:
        return False
    file = pool.imports.get(spec)
    return file is None or file.sha256 == record.source_sha256
