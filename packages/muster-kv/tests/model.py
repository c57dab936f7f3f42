"""A cluster in miniature: one key, replicas, coordinators, a network that loses and reorders.

Every step is drawn from a seeded generator, so that a seed that finds a fault finds it again. The
`Rules` break one rule each; the checker must then find a fault, or it is blind.
"""

import random
from collections.abc import Generator
from dataclasses import dataclass, field

from muster_kv.clock import EMPTY, Dot, VectorClock, covers, with_dot
from muster_kv.merging import Intent, Outcome, OverclaimError, knows, lww_record, merge, take
from muster_kv.ops import fresh_op, op_of
from muster_kv.reading import siblings
from muster_kv.record import ABSENT, Record, Version, decode, encode, value_digest
from muster_kv.tombstones import purge

SLOT = b"12345678t\0k"
DAY_US = 24 * 3600 * 1_000_000
GRACE_US = 15_000


@dataclass(frozen=True)
class Rules:
    """What is done wrong on purpose."""

    coordinator_dots: bool = False  # coordinators name writes, contexts are folded
    last_write_wins: bool = False
    late_blind_takes: bool = False  # a blind take may be done after it was given up
    forget_ops: bool = False  # replaced operations are not remembered
    forget_counters: bool = False  # a purge lets counters start again
    purge_alone: bool = False  # tombstones go before all replicas have them
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
    # Each time that a replica took it: its dot, and what it replaced.
    takes: list[tuple[Dot, VectorClock]] = field(default_factory=list)

    def saw(self, other: "Write") -> list[Dot]:
        """Return the dots under which this write replaced the other."""
        return [
            dot
            for dot, context in self.takes
            if any(covers(context, replaced) for replaced, _ in other.takes)
        ]


@dataclass
class Replica:
    name: str
    incarnation: int = 0
    data: bytes = b""
    floor: int = 0

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
        message = attempt.send(taker, "take", (intent, carried))
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


class World:
    """Replicas, writes and the network between them."""

    def __init__(self, seed: int, rules: Rules | None = None, replicas: int = 3) -> None:
        self.random = random.Random(seed)
        self.rules = rules or Rules()
        self.replicas = [Replica(name) for name in "abcde"[:replicas]]
        self.quorum = replicas // 2 + 1
        self.network: list[Message] = []
        self.attempts: list[Attempt] = []
        self.writes: list[Write] = []
        self.now = DAY_US
        self.step = 0
        self.counters: dict[str, int] = {}

    def run(self, steps: int) -> None:
        """Let anything happen, `steps` times."""
        for _ in range(steps):
            self.step += 1
            self.now += self.random.choice([0, 1, 1000])
            self._do()

    def _do(self) -> None:
        chance = self.random.random()
        if chance < 0.06 and len(self.writes) < 12:
            self._begin()
        elif chance < 0.09 and self.writes:
            self._again()
        elif chance < 0.13 and self.attempts:
            self.random.choice(self.attempts).resume(None)
        elif chance < 0.175 and not self.rules.upkeep:
            return
        elif chance < 0.16:
            one, other = self.random.sample(self.replicas, 2)
            one.record = self._join(one.record, other.record)
        elif chance < 0.17:
            self._clean()
        elif chance < 0.175:
            self._replace_disk()
        elif self.network:
            self._deliver(self.random.randrange(len(self.network)))

    def _begin(self) -> None:
        number = len(self.writes)
        idempotent = self.random.random() < self.rules.keyed
        op = op_of("t", "k", str(number)) if idempotent else fresh_op(self.random.randbytes(16))
        value = None if self.random.random() < 0.25 else str(number).encode()
        reads = self.random.random() < self.rules.reading
        write = Write(number, op, value, reads, idempotent, self.step)
        self.writes.append(write)
        self.attempts.append(Attempt(self, write))

    def _again(self) -> None:
        """A client asks again, whether it was told of success or not."""
        write = self.random.choice(self.writes)
        if write.idempotent:
            self.attempts.append(Attempt(self, write))

    def _deliver(self, at: int) -> None:
        message = self.network[at]
        fate = self.random.random()
        if fate > 0.12:  # else: it will come once more
            self.network[at] = self.network[-1]
            self.network.pop()
        if fate > 0.9:  # lost
            return
        if message.answer:
            message.attempt.resume(message)
        else:
            answer = self._serve(message)
            if answer is not None:
                back = Message(
                    message.attempt, message.replica, message.kind, answer, True, asked=message.body
                )
                self.network.append(back)

    def _serve(self, message: Message) -> object | None:
        replica, body = message.replica, message.body
        if message.kind == "get":
            return replica.record
        if message.kind == "lookup":
            assert isinstance(body, Intent)
            return knows(replica.record, body), replica.record.context
        if message.kind == "merge":
            assert isinstance(body, Record)
            replica.record = self._join(replica.record, body)
            return True
        assert isinstance(body, tuple)
        intent, base = body
        blind = intent.context is None
        if message.expired and blind and not self.rules.late_blind_takes:
            return None
        if base != ABSENT:
            replica.record = self._join(replica.record, base)
        return self._take(replica, message.attempt.write, intent)

    def _take(self, replica: Replica, write: Write, intent: Intent) -> Record | None:
        before = replica.record
        try:
            taken = take(before, intent, replica.actor, floor=replica.floor)
        except OverclaimError:
            return None
        if taken.outcome is Outcome.NEW:
            context = before.context if intent.context is None else intent.context
            dot = Dot(replica.actor, taken.record.context[replica.actor])
            write.takes.append((dot, context))
            replica.record = self._forget(taken.record)
        return replica.record

    def _join(self, one: Record, other: Record) -> Record:
        return self._forget(merge(one, other))

    def _forget(self, record: Record) -> Record:
        if self.rules.forget_ops:
            return Record(record.versions, record.context)
        return record

    def _clean(self) -> None:
        """A complete anti-entropy round, and then some replicas purge."""
        if not self.rules.purge_alone:
            self.exchange()
        before = self.now - GRACE_US
        # No request, hint or retry lives as long as the grace.
        self._end_attempts(before)
        for replica in self.random.sample(
            self.replicas, self.random.randint(1, len(self.replicas))
        ):
            record = replica.record
            kept = purge(record, before, [other.actor for other in self.replicas])
            if kept is None and not self.rules.forget_counters:
                replica.floor = max(replica.floor, record.context.get(replica.actor, 0))
            replica.data = b"" if kept is None else encode(kept, SLOT)

    def _replace_disk(self) -> None:
        """A replica loses its disk, and gets what a quorum of the others has before it serves."""
        # A new member is a new ring, and no replica does what was asked under an older one.
        self._end_attempts(self.now + 1)
        replica = self.random.choice(self.replicas)
        replica.incarnation += 1
        replica.floor = 0
        replica.data = b""
        for other in self.replicas:
            replica.record = self._join(replica.record, other.record)

    def _end_attempts(self, started_before_us: int) -> None:
        for attempt in self.attempts:
            attempt.over = attempt.over or attempt.started_us < started_before_us
        self.network = [message for message in self.network if not message.attempt.over]

    def make_record(self, write: Write) -> Record:
        """Return what a coordinator sends where there is no taker."""
        intent = Intent(write.op, write.value, self.now)
        if self.rules.last_write_wins:
            # Coordinators' clocks differ.
            skewed = self.now + self.random.choice([-5000, 0, 5000])
            record = lww_record(Intent(write.op, write.value, skewed))
            write.takes.append((record.versions[0].dot, EMPTY))
            return record
        name = self.random.choice(["c1", "c2"])
        self.counters[name] = self.counters.get(name, 0) + 1
        dot = Dot(name, self.counters[name])
        context = write.context or EMPTY
        write.takes.append((dot, context))
        version = Version(dot, write.value, intent.timestamp_us, write.op)
        return Record((version,), with_dot(context, dot))

    def ack(self, write: Write) -> None:
        """Tell the client that its write is done."""
        if write.acked is None:
            write.acked = self.step

    def exchange(self) -> None:
        """Let every replica have what any has."""
        joined = ABSENT
        for replica in self.replicas:
            joined = self._join(joined, replica.record)
        for replica in self.replicas:
            replica.record = self._join(replica.record, joined)

    def faults(self) -> list[str]:
        """Return what is wrong in the end, when everything that could be exchanged has been."""
        for replica in self.replicas:
            for other in self.replicas:
                replica.record = self._join(replica.record, other.record)
        self.exchange()
        final = self.replicas[0].record
        found = [f"{replica.name} differs" for replica in self.replicas if replica.record != final]
        alive = {version.op for version in final.versions}
        shown = siblings(final, self.now)
        if len({version.op for version in shown}) != len(shown):
            found.append("an operation is shown twice")
        for write in self.writes:
            found += self._faults_of(write, alive, final.context)
        return found

    def _faults_of(self, write: Write, alive: set[bytes], known: VectorClock) -> list[str]:
        found = []
        if write.acked is not None and not self._accounted(write, alive, ()):
            found.append(f"write {write.number} was acknowledged and is lost")
        replacers = self._replacers(write)
        # Whoever asks again while a replacer is at work may come before it or after it.
        attempts = [attempt for attempt in self.attempts if attempt.write is write]
        if len(attempts) > 1:
            last = max(attempt.began for attempt in attempts)
            replacers = [each for each in replacers if each.acked is not None and each.acked < last]
        if write.op in alive and any(_stands(other, write, known) for other in replacers):
            found.append(f"write {write.number} came back after it was replaced")
        found += [
            f"write {write.number} replaced {other.number}, which replaced it"
            for other in replacers
            if len(other.takes) == 1 and write.saw(other)
        ]
        return found

    def _replacers(self, write: Write) -> list[Write]:
        return [other for other in self.writes if other is not write and other.saw(write)]

    def _accounted(self, write: Write, alive: set[bytes], before: tuple[Write, ...]) -> bool:
        """Tell whether a write is there, or one that replaced it is, or one that replaced that."""
        if write.op in alive or write.value is None:  # tombstones are purged
            return True
        return any(
            self._accounted(other, alive, (*before, write))
            for other in self._replacers(write)
            if other not in before and (other.acked is None or other.acked >= write.started)
        )


def _stands(replacer: Write, write: Write, known: VectorClock) -> bool:
    """Tell whether a replacement must hold: one that nobody was told of may go with a disk."""
    if replacer.acked is not None and len(replacer.takes) == 1:
        return True
    return any(covers(known, dot) for dot in replacer.saw(write))
