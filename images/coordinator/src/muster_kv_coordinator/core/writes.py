"""Writes: recognised if they happened before, spread to their replicas, tried with newer rings."""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from muster_kv.consistency import required, write_progress
from muster_kv.merging import Intent, Outcome, clock_of, knows, lww_record, merge
from muster_kv.ops import OP_BYTES, fresh_op, op_of
from muster_kv.record import ABSENT, Record, decode, encode, value_digest
from muster_kv.slots import slot, token_of
from muster_kv.tenants import ConflictResolution, Durability, Idempotency
from muster_kv.wire.messages import Found, Get, Known, Lookup
from muster_kv_coordinator.core import failures
from muster_kv_coordinator.core.asking import Answers, BegunQuestion
from muster_kv_coordinator.core.consistency import Level, overlapping
from muster_kv_coordinator.core.errors import UnavailableError
from muster_kv_coordinator.core.failures import StaleRingError
from muster_kv_coordinator.core.model import Tenant, Write, Written
from muster_kv_coordinator.core.ports import (
    Cluster,
    Memory,
    Meter,
    Place,
    Remembered,
    Replica,
    Together,
)
from muster_kv_coordinator.core.quorums import counted
from muster_kv_coordinator.core.refreshing import newer_ring
from muster_kv_coordinator.core.spread import (
    BegunWrite,
    Ending,
    HalfSpreadError,
    Merging,
    Spread,
    Start,
    Taking,
    UnsureError,
    Way,
    conflict,
    judged,
)

_REMEMBERED_US = 24 * 3600 * 1_000_000
# How long an operation that two replicas may have taken is remembered as one.
_TWICE_US = 600 * 1_000_000


class Writes:
    """Takes writes.

    Args:
        memory: where tenants with `idempotency: Redis` are recognised; None where there is none.
        seconds: for a write whose client gives it more.
    """

    def __init__(
        self,
        cluster: Cluster,
        together: Together,
        meter: Meter,
        memory: Memory | None,
        seconds: float,
    ) -> None:
        self._cluster = cluster
        self._together = together
        self._meter = meter
        self._memory = memory
        self._seconds = seconds

    async def write(
        self,
        tenant: Tenant,
        write: Write,
        seconds: float | None,
        begun: BegunQuestion | BegunWrite | None = None,
    ) -> Written:
        """Take one write.

        Args:
            begun: the end of its first attempt, or what is known of its operation, where it was
                begun elsewhere.

        Raises:
            KvError: QUORUM_NOT_REACHED within the time, where the write may have happened;
                IDEMPOTENCY_KEY_CONFLICT; INVALID_REQUEST for a context that claims what never was.
        """
        with counted(self._meter, "write"):
            return await self._write(tenant, write, seconds, begun)

    async def _write(
        self,
        tenant: Tenant,
        write: Write,
        seconds: float | None,
        begun: BegunQuestion | BegunWrite | None,
    ) -> Written:
        limit = self._seconds if seconds is None else min(seconds, self._seconds)
        end = asyncio.get_running_loop().time() + limit
        asked = _Asked(tenant, write, slot(write.tenant, write.key), end)
        intent, base = _intent(write), b""
        ending: Ending | None = None
        if isinstance(begun, BegunWrite):
            intent, ending = begun.intent, begun.ending
        elif write.idempotency_key:
            recognised = await self._recognise(asked, intent, begun)
            if isinstance(recognised, Written):
                self._meter.duplicate()
                return recognised
            intent, base = recognised.intent, recognised.base
        start = _start(asked, intent, base)
        spread = await self._fresh(asked, intent, start, ending)
        written = Written(
            spread.clock,
            spread.replicas,
            # Without a key it is this very write, which two replicas took.
            bool(write.idempotency_key) and spread.outcome is Outcome.DUPLICATE,
            spread.siblings,
        )
        if written.duplicate:
            self._meter.duplicate()
        elif write.idempotency_key and self._remembers(tenant):
            await self._remember(intent, written)
        return written

    async def _fresh(
        self, asked: "_Asked", intent: Intent, start: Start, ending: Ending | None = None
    ) -> Spread:
        """Spread a write: again with a newer ring, and again where nobody knows who took it.

        Args:
            ending: of the first attempt, where there was one.
        """
        tenant, write, end = asked.tenant, asked.write, asked.end
        late: set[str] = set()
        # Whether a replica has taken it, or may have.
        taken = False
        while True:
            with failures.perhaps_done(taken):
                place = self._place(asked)
            progress = write_progress(
                place.placement, write.level, tenant.replication_factor, tenant.moving_to
            )
            way = Way(
                place.ring_version,
                place.placement.writers,
                len(place.placement.natural),
                asked.where,
                progress,
                end,
                tenant.policy.durability is Durability.ASYNC,
            )
            if ending is None:
                ending = await self._together.spread(start, way)
            ended, ending = ending, None
            try:
                return judged(ended, progress)
            except StaleRingError as stale:
                if isinstance(stale, HalfSpreadError):
                    start, taken = stale.made, True
                await self._newer(stale, end, unsure=taken)
            except UnsureError as unsure:
                if asyncio.get_running_loop().time() >= end:
                    raise unsure.error from None
                late.add(unsure.late)
                taken = True
                with failures.perhaps_done():
                    start = await self._knowing(asked, intent, late)

    async def _knowing(self, asked: "_Asked", intent: Intent, late: set[str]) -> Start:
        """How to go on with a write that a replica may have taken: with what a quorum knows.

        The next taker is told what it replaces, and brought the record which that was seen in.
        """
        self._meter.hedged()
        joined = await self._joined(asked, unsure=True)
        outcome = knows(joined, intent)
        if outcome is Outcome.CONFLICT:
            raise conflict()
        record = encode(joined, asked.where) if joined != ABSENT else b""
        if outcome is Outcome.DUPLICATE:
            clock = clock_of(joined, intent.op)
            return Merging(record, Outcome.NEW, clock)
        context = joined.context if intent.context is None else intent.context
        until = intent.remember_until_us or intent.timestamp_us + _TWICE_US
        told = replace(intent, context=context, remember_until_us=until)
        return Taking(told, record, frozenset(late))

    async def _joined(self, asked: "_Asked", *, unsure: bool) -> Record:
        """What a quorum knows of a key."""
        majority = required(Level.QUORUM, asked.tenant.replication_factor)
        question = _Question(asked, Get(asked.where), majority, unsure=unsure)
        answers = await self._answers(question)
        joined = ABSENT
        for answer in answers.good.values():
            if isinstance(answer, Found):
                joined = merge(joined, decode(answer.record, asked.where))
        return joined

    async def _answers(self, question: "_Question", begun: BegunQuestion | None = None) -> Answers:
        """What so many replicas answer, or have answered, in the ring in force."""
        end, unsure = question.asked.end, question.unsure
        while True:
            place = self._place(question.asked)
            replicas, version = place.placement.natural, place.ring_version
            enough = min(question.least, len(replicas))
            answers = None if begun is None else begun.still(version)
            begun = None
            if answers is None:
                answers = await self._together.ask(replicas, question.body, version, enough, end)
            if answers.stale is not None:
                await self._newer(answers.stale, end, unsure=unsure)
                continue
            if len(answers.good) < enough:
                short = f"{len(answers.good)} of {enough} needed replicas answered"
                raise failures.not_reached(short, answers.bad, unsure=unsure)
            return answers

    def _place(self, asked: "_Asked") -> Place:
        return self._cluster.place(asked.tenant, token_of(asked.where))

    async def _newer(self, stale: StaleRingError, end: float, *, unsure: bool) -> None:
        with failures.perhaps_done(unsure):
            await newer_ring(self._cluster, self._meter, stale, end)

    async def _recognise(
        self, asked: "_Asked", intent: Intent, begun: BegunQuestion | None
    ) -> "Written | _Informed":
        """How an operation ended that has happened before, or how a new one is to be taken."""
        if self._remembers(asked.tenant) and self._memory is not None:
            # Where it does not know or answer, replicas do.
            with contextlib.suppress(UnavailableError):
                remembered = await self._memory.recall(intent.op)
                if remembered is not None and remembered.digest != intent.digest:
                    raise conflict()
                enough = required(asked.write.level, asked.tenant.replication_factor)
                # Where fewer have it than this level needs, it is brought to more of them.
                if remembered is not None and remembered.replicas >= enough:
                    return Written(remembered.clock, remembered.replicas, duplicate=True)
        return await self._look_up(asked, intent, begun)

    async def _look_up(
        self, asked: "_Asked", intent: Intent, begun: BegunQuestion | None
    ) -> "Written | _Informed":
        factor = asked.tenant.replication_factor
        body = Lookup(asked.where, intent.op, intent.digest, intent.timestamp_us)
        # The first attempt may have had another level than this one.
        least = overlapping(required(Level.QUORUM, factor), factor)
        answers = await self._answers(_Question(asked, body, least), begun)
        known = {node: one for node, one in answers.good.items() if isinstance(one, Known)}
        if any(one.outcome is Outcome.CONFLICT for one in known.values()):
            raise conflict()
        holders = [node for node, one in known.items() if one.outcome is Outcome.DUPLICATE]
        for node in holders:
            record = await self._held(asked, self._cluster.replica(node))
            if record is not None:
                clock = known[node].clock
                start = Merging(record, Outcome.DUPLICATE, clock, (node,))
                return await self._again(asked, intent, start)
        if holders:
            # Another take could cover the write without knowing of its operation.
            text = "the replica that knows of this operation does not answer any more"
            raise failures.not_reached(text, answers.bad, unsure=True)
        return await self._informed(asked, intent, known.values())

    async def _informed(
        self, asked: "_Asked", intent: Intent, known: Iterable[Known]
    ) -> "Written | _Informed":
        """Say what a new write replaces, where its client did not.

        A blind take must not be done after another one, and this client may try again through a
        coordinator that does not know when this one's is over.
        """
        last_wins = asked.tenant.policy.conflict_resolution is ConflictResolution.LAST_WRITE_WINS
        if last_wins or intent.context is not None:
            return _Informed(intent)
        contexts = [one.context for one in known]
        if contexts and all(context == contexts[0] for context in contexts):
            return _Informed(replace(intent, context=contexts[0]))
        joined = await self._joined(asked, unsure=False)
        outcome = knows(joined, intent)
        if outcome is Outcome.CONFLICT:
            raise conflict()
        record = encode(joined, asked.where)
        if outcome is Outcome.DUPLICATE:
            start = Merging(record, Outcome.DUPLICATE, clock_of(joined, intent.op))
            return await self._again(asked, intent, start)
        return _Informed(replace(intent, context=joined.context), record)

    async def _again(self, asked: "_Asked", intent: Intent, start: Merging) -> Written:
        """Answer a write that has happened before.

        It may have been cut off on its way the first time: what is answered must be durable.

        Args:
            start: with a record that knows of it.
        """
        with failures.perhaps_done():
            spread = await self._fresh(asked, intent, start)
        return Written(spread.clock, spread.replicas, duplicate=True, siblings=spread.siblings)

    async def _held(self, asked: "_Asked", holder: Replica) -> bytes | None:
        """A replica's record; None where it has gone away meanwhile."""
        left = max(0.001, asked.end - asyncio.get_running_loop().time())
        version = self._place(asked).ring_version
        reply = await holder.request(Get(asked.where), version, left)
        return reply.record if isinstance(reply, Found) and reply.record else None

    def _remembers(self, tenant: Tenant) -> bool:
        return self._memory is not None and tenant.policy.idempotency is Idempotency.REDIS

    async def _remember(self, intent: Intent, written: Written) -> None:
        if self._memory is not None:
            await self._memory.remember(
                intent.op, Remembered(intent.digest, written.clock, written.replicas)
            )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A write that its client waits for.

    Args:
        where: the slot of its key.
        end: when it must be answered, by the loop's clock.
    """

    tenant: Tenant
    write: Write
    where: bytes
    end: float


@dataclass(frozen=True, slots=True)
class _Question:
    """What replicas of a key are asked on behalf of a write.

    Args:
        least: how many must answer, or all where they are fewer.
        unsure: whether the write may have happened by now.
    """

    asked: _Asked
    body: Get | Lookup
    least: int
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class _Informed:
    """A new write, and the record that its context was seen in (empty: one that replicas have)."""

    intent: Intent
    base: bytes = b""


def _intent(write: Write) -> Intent:
    now_us = time.time_ns() // 1000
    if write.idempotency_key:
        return Intent(
            op_of(write.tenant, write.key, write.idempotency_key),
            write.value,
            now_us,
            write.context,
            write.expires_at_us,
            value_digest(write.value),
            now_us + _REMEMBERED_US,
        )
    op = fresh_op(os.urandom(OP_BYTES))
    return Intent(op, write.value, now_us, write.context, write.expires_at_us)


def _start(asked: _Asked, intent: Intent, base: bytes) -> Start:
    if asked.tenant.policy.conflict_resolution is ConflictResolution.LAST_WRITE_WINS:
        record = lww_record(intent)
        return Merging(encode(record, asked.where), Outcome.NEW, record.context)
    return Taking(intent, base)
