"""The keys of the circuits on offer: made where allowed, loaded by every replica.

A replica holds the verifying sides only. Proving keys stay in the database, from where workers
fetch them.
"""

import asyncio
import hashlib
import logging
from dataclasses import dataclass

from muster_coordinator.engine.errors import Unavailable
from muster_coordinator.engine.model import KeyRecord
from muster_coordinator.engine.ports import KeyStore
from muster_coordinator.proving.offers import Offers, Pool
from muster_proving import (
    CircuitSpec,
    InvalidInput,
    KeyMismatch,
    Verifier,
    generate_insecure_key,
    load_verifying_key,
)

log = logging.getLogger(__name__)

_POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """A key whose verifying side is in memory."""

    record: KeyRecord
    verifier: Verifier


class KeyRing:
    """Loads keys as they appear in the store."""

    def __init__(self, store: KeyStore, offers: Offers) -> None:
        self._store = store
        self._offers = offers
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
            if key.record.key_id == spec.key_id and key.record.insecure == pool.insecure_setup
        ]
        return fitting[-1] if fitting else None

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

    async def run(self) -> None:
        """Load keys for ever, at once when one is added."""
        while True:
            self._changed.clear()
            try:
                await self._load()
            except Unavailable as error:
                log.warning("keys wait for the database", extra={"error": str(error)})
            try:
                async with asyncio.timeout(_POLL_SECONDS if self.missing() else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def make_missing(self, epoch: int) -> None:
        """Make the keys that no one has made yet, where insecure setup is allowed.

        Raises:
            StaleEpoch: another replica leads by now.
        """
        there = {record.key_id for record in await self._store.keys() if record.insecure}
        for spec, insecure in self._offers.specs().items():
            if insecure and spec.key_id not in there:
                made = await asyncio.to_thread(generate_insecure_key, spec)
                record = KeyRecord(
                    spec.key_id,
                    made.version,
                    hashlib.sha256(made.proving_key).hexdigest(),
                    len(made.proving_key),
                    insecure=True,
                )
                await self._store.add(epoch, record, made.proving_key, made.verifying_key)
                log.warning(
                    "insecure key made; for development only",
                    extra={"key_id": spec.key_id, "version": made.version},
                )

    async def _load(self) -> None:
        for record in await self._store.keys():
            place = (record.key_id, record.version)
            if place in self._loaded:
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
