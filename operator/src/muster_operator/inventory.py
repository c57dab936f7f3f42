"""The custom objects that are known, and which of them a change concerns.

Both replicas keep it: the leader to know what is dirty, both to know which coordinators to ask.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from muster_operator.metrics import Condition
from muster_operator.reconcile.reconciler import is_serving, ready_message
from muster_operator.resources import COORDINATORS, PROVER_POOLS, Key, Manifest


def key_of(body: Manifest) -> Key:
    """The key of a custom object."""
    metadata = body["metadata"]
    return Key(body["kind"], metadata["namespace"], metadata["name"])


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a custom object: all by which a change of it matters to us.

    Args:
        coordinator: for a pool, the name of its Coordinator.
        version: changes with the spec, labels, annotations or deletion, not with the status.
        standing: whether it hands out work, and what it says about being ready.
        reviews: for a Coordinator, whether its workers show tokens.
        worker_pools: for a Coordinator, the names of its own pools.
        certificates: for a Coordinator, the revision of its managed certificates.
        conditions: those of its status, which are told and matter to no other object.
    """

    uid: str
    version: tuple[Any, ...]
    standing: tuple[bool, str]
    coordinator: str = ""
    reviews: bool = False
    worker_pools: tuple[str, ...] = ()
    certificates: int | None = None
    conditions: tuple[Condition, ...] = field(default=(), compare=False)


class Inventory:
    """Custom objects by key."""

    def __init__(self) -> None:
        self._known: dict[Key, Known] = {}

    def put(self, body: Manifest) -> set[Key]:
        """Take note of an object; returns the keys that are dirty for it."""
        key, known = key_of(body), _known(body)
        before = self._known.get(key)
        self._known[key] = known
        dirty: set[Key] = set()
        if before is None or before.version != known.version:
            dirty.add(key)
        if before != known:
            dirty |= self._concerned(key, known)
            if before and before.coordinator != known.coordinator:
                dirty |= self._concerned(key, before)
        return dirty

    def drop(self, body: Manifest) -> set[Key]:
        """Forget a deleted object; returns the keys that are dirty for it."""
        key = key_of(body)
        before = self._known.get(key)
        if before is None or before.uid != body["metadata"]["uid"]:
            return set()
        del self._known[key]
        return self._concerned(key, before)

    def replace(self, kind: str, bodies: Iterable[Manifest]) -> set[Key]:
        """Take a complete list of a kind; returns all its keys, those that are gone included."""
        fresh = {key_of(body): _known(body) for body in bodies}
        gone = {key for key in self._known if key.kind == kind} - fresh.keys()
        dirty = set(fresh)
        for key in gone:
            dirty |= self._concerned(key, self._known.pop(key))
        self._known.update(fresh)
        return dirty

    def of_kind(self, kind: str) -> list[Key]:
        """All known objects of a kind."""
        return [key for key in self._known if key.kind == kind]

    def conditions(self) -> Iterator[tuple[Key, Condition]]:
        """Every condition of every known object."""
        for key, known in self._known.items():
            for condition in known.conditions:
                yield key, condition

    def pools(self, coordinator: Key) -> list[Key]:
        """The pools of a Coordinator."""
        return [
            key
            for key, known in self._known.items()
            if key.kind == PROVER_POOLS.kind
            and (key.namespace, known.coordinator) == (coordinator.namespace, coordinator.name)
        ]

    def worker_pools(self, coordinator: Key) -> tuple[str, ...]:
        """The names of a Coordinator's own worker pools."""
        known = self._known.get(coordinator)
        return known.worker_pools if known else ()

    def reviewing(self) -> list[Key]:
        """The Coordinators whose workers show tokens."""
        return [key for key, known in self._known.items() if known.reviews]

    def coordinator_of(self, pool: Key) -> Key | None:
        """The Coordinator of a pool; None where the pool is not known."""
        known = self._known.get(pool)
        return Key(COORDINATORS.kind, pool.namespace, known.coordinator) if known else None

    def _concerned(self, key: Key, known: Known) -> set[Key]:
        if key.kind == PROVER_POOLS.kind:
            return {Key(COORDINATORS.kind, key.namespace, known.coordinator)}
        return set(self.pools(key)) if key.kind == COORDINATORS.kind else set()


def _known(body: Manifest) -> Known:
    metadata = body["metadata"]
    coordinator = ""
    if body["kind"] == PROVER_POOLS.kind:
        reference = (body.get("spec") or {}).get("coordinatorRef") or {}
        coordinator = reference.get("name", metadata["name"])
    version = (
        metadata["uid"],
        metadata.get("generation"),
        "deletionTimestamp" in metadata,
        tuple(sorted((metadata.get("labels") or {}).items())),
        tuple(sorted((metadata.get("annotations") or {}).items())),
        tuple(reference["uid"] for reference in metadata.get("ownerReferences", [])),
    )
    mode = ((body.get("spec") or {}).get("authentication") or {}).get("mode")
    reviews = body["kind"] == COORDINATORS.kind and mode == "TokenReview"
    standing = (is_serving(body), ready_message(body))
    own = tuple(pool["name"] for pool in (body.get("spec") or {}).get("workerPools") or [])
    status = body.get("status", {})
    revision = status.get("certificateRevision")
    conditions = tuple(
        Condition(each["type"], each["status"], each["reason"])
        for each in status.get("conditions", [])
    )
    return Known(
        metadata["uid"], version, standing, coordinator, reviews, own, revision, conditions
    )
