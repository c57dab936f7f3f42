"""What coordinators do in the miniature cluster of `model`, step by step."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from muster_kv.clock import EMPTY, Dot, VectorClock, covers
from muster_kv.merging import Intent, Outcome, knows, merge
from muster_kv.record import ABSENT, Record, decode, encode, value_digest

if TYPE_CHECKING:
    from .model import World

SLOT = b"12345678t\0k"
DAY_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True)
class Rules:
    """What is done wrong on purpose."""

    coordinator_dots: bool = False  # coordinators name writes, contexts are folded
    last_write_wins: bool = False
    forget_ops: bool = False  # replaced operations are not remembered
    forget_counters: bool = False  # a purge lets counters start again
    purge_alone: bool = False  # tombstones go by time, whether all replicas have them or not
    trust_lookup: bool = False  # a duplicate is answered without making it durable
    bare_contexts: bool = False  # contexts from several replicas go to the taker without a record
    unspread_reads: bool = False  # readers get contexts that no quorum knows
    # No rules: how many clients give an idempotency key, how many read first, and whether replicas
    # repair, purge and lose disks meanwhile.
    keyed: float = 0.4
    reading: float = 0.5
    upkeep: bool = True


@dataclass
class Write:
    """One client operation, and what became of it."""

    number: int
    op: bytes
    value: bytes | None
    reads: bool
    idempotent: bool
    started: int
    context: VectorClock | None = None
    acked: int | None = None
    # Each time that a replica took it: its dot, what it replaced, and since when its coordinator
    # knew what it knew.
    takes: list[tuple[Dot, VectorClock, int]] = field(default_factory=list)

    def saw(self, other: "Write") -> list[Dot]:
        """Return the dots under which this write replaced the other."""
        return [
            dot
            for dot, context, _ in self.takes
            if any(covers(context, replaced) for replaced, _, _ in other.takes)
        ]


@dataclass
class Replica:
    name: str
    incarnation: int = 0
    data: bytes = b""
    floor: int = 0
    horizon: int = 0

    @property
    def actor(self) -> str:
        return f"{self.name}#{self.incarnation}"

    @property
    def record(self) -> Record:
        return decode(self.data, SLOT)

    @record.setter
    def record(self, record: Record) -> None:
        self.data = encode(record, SLOT)


@dataclass
class Message:
    """A request on its way to a replica, or its answer on the way back."""

    attempt: "Attempt"
    replica: Replica
    kind: str
    body: object
    answer: bool = False
    expired: bool = False
    asked: object = None  # of an answer: the request's body


Step = Generator[None, Message | None, None]


class Attempt:
    """One coordinator at work on one write; `steps` gets each answer, or None for a timeout."""

    def __init__(self, world: "World", write: Write) -> None:
        self.world, self.write = world, write
        self.started_us, self.began = world.now, world.step
        self.basis = world.step
        self.over = False
        self.steps = _coordinate(self)
        self.resume(None)

    def resume(self, message: Message | None) -> None:
        if self.over:
            return
        try:
            self.steps.send(message)
        except StopIteration:
            self.over = True

    def send(self, replica: Replica, kind: str, body: object) -> Message:
        message = Message(self, replica, kind, body)
        self.world.network.append(message)
        return message


def _coordinate(attempt: Attempt) -> Step:
    """Do a write as a coordinator must."""
    world, write = attempt.world, attempt.write
    if world.rules.coordinator_dots or world.rules.last_write_wins:
        yield from _spread(attempt, world.make_record(write), set())
        return
    if write.reads:
        yield from _see(attempt)
    context, base = write.context, ABSENT
    if write.idempotent:
        known, seen = yield from _ask(attempt)
        if known is not Outcome.NEW:
            if world.rules.trust_lookup:
                world.ack(write)
                return
            record = yield from _read(attempt)
            # The replica that knew may not have been asked; then nothing can be promised.
            if knows(record, _intent(attempt, None)) is not Outcome.NEW:
                yield from _spread(attempt, record, set())
            return
        if context is None and all(clock == seen[0] for clock in seen):
            context = seen[0]
        elif context is None:
            base = yield from _read(attempt)
            context = base.context
            if knows(base, _intent(attempt, None)) is not Outcome.NEW:
                yield from _spread(attempt, base, set())
                return
    yield from _write(attempt, context, base)


def _write(attempt: Attempt, context: VectorClock | None, base: Record) -> Step:
    """Have one replica after the other take the write, until one has, and bring it to the rest."""
    world, write = attempt.world, attempt.write
    replicas = world.random.sample(world.replicas, len(world.replicas))
    second = False
    for taker in replicas:
        intent = _intent(attempt, context, remember=second or write.idempotent)
        carried = ABSENT if world.rules.bare_contexts else base
        message = attempt.send(taker, "take", (intent, carried, attempt.basis))
        reply = yield from _until(attempt, message)
        if reply is not None:
            assert isinstance(reply, Record)
            yield from _spread(attempt, reply, {taker.name})
            return
        message.expired = True
        second = True
        record = yield from _read(attempt)
        if knows(record, intent) is not Outcome.NEW:
            yield from _spread(attempt, record, set())
            return
        if write.context is None:
            base, context = record, record.context


def _intent(attempt: Attempt, context: VectorClock | None, *, remember: bool = True) -> Intent:
    write, now = attempt.write, attempt.started_us
    digest = value_digest(write.value) if write.idempotent else b""
    until = now + DAY_US if remember else 0
    return Intent(write.op, write.value, now, context, 0, digest, until)


def _see(attempt: Attempt) -> Step:
    """Read as a client that will replace what it has seen."""
    write = attempt.write
    record = yield from _read(attempt)
    if not attempt.world.rules.unspread_reads:
        yield from _bring(attempt, record, set())
    if write.context is None:
        write.context = record.context if attempt.world.random.random() < 0.8 else EMPTY
        write.started = attempt.world.step


def _until(attempt: Attempt, message: Message) -> Generator[None, Message | None, object]:
    while True:
        answer = yield
        if answer is None:
            return None
        if answer.replica is message.replica and answer.kind == message.kind:
            return answer.body


def _quorum(
    attempt: Attempt, kind: str, body: object
) -> Generator[None, Message | None, list[object]]:
    """Ask all, return the answers of a quorum; never returns where there is none."""
    for replica in attempt.world.replicas:
        attempt.send(replica, kind, body)
    answers: dict[str, object] = {}
    while len(answers) < attempt.world.quorum:
        answer = yield
        if answer is not None and answer.kind == kind:
            answers[answer.replica.name] = answer.body
    return list(answers.values())


def _read(attempt: Attempt) -> Generator[None, Message | None, Record]:
    joined = ABSENT
    attempt.basis = attempt.world.step
    for record in (yield from _quorum(attempt, "get", None)):
        assert isinstance(record, Record)
        joined = merge(joined, record)
    return joined


def _ask(attempt: Attempt) -> Generator[None, Message | None, tuple[Outcome, list[VectorClock]]]:
    known, seen = Outcome.NEW, []
    for answer in (yield from _quorum(attempt, "lookup", _intent(attempt, None))):
        assert isinstance(answer, tuple)
        outcome, clock = answer
        known = outcome if known is Outcome.NEW else known
        seen.append(clock)
    return known, seen


def _spread(attempt: Attempt, record: Record, done: set[str]) -> Step:
    yield from _bring(attempt, record, done)
    attempt.world.ack(attempt.write)


def _bring(attempt: Attempt, record: Record, done: set[str]) -> Step:
    for replica in attempt.world.replicas:
        if replica.name not in done:
            attempt.send(replica, "merge", record)
    while len(done) < attempt.world.quorum:
        answer = yield
        if answer is not None and answer.asked is record:
            done = done | {answer.replica.name}
