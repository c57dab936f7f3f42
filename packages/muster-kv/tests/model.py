"""A cluster in miniature: one key, replicas, coordinators, a network that loses and reorders.

Every step is drawn from a seeded generator, so that a seed that finds a fault finds it again. The
`Rules` break one rule each; the checker must then find a fault, or it is blind.
"""

import random

from muster_kv.clock import EMPTY, Dot, VectorClock, covers, with_dot
from muster_kv.merging import Intent, Outcome, OverclaimError, knows, lww_record, merge, take
from muster_kv.ops import fresh_op, op_of
from muster_kv.reading import siblings
from muster_kv.record import ABSENT, Record, Version, encode
from muster_kv.tombstones import is_dead, purge

from .attempts import DAY_US, SLOT, Attempt, Message, Replica, Rules, Write

GRACE_US = 15_000


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
            self._receive(one, other.record)
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
            self._receive(replica, body)
            return True
        assert isinstance(body, tuple)
        intent, base, basis = body
        if message.expired and intent.context is None:
            return None
        if base != ABSENT:
            replica.record = self._join(replica.record, base)
        return self._take(replica, message.attempt.write, intent, basis)

    def _take(self, replica: Replica, write: Write, intent: Intent, basis: int) -> Record | None:
        before = replica.record
        try:
            taken = take(before, intent, replica.actor, floor=replica.floor)
        except OverclaimError:
            return None
        if taken.outcome is Outcome.NEW:
            context = before.context if intent.context is None else intent.context
            dot = Dot(replica.actor, taken.record.context[replica.actor])
            write.takes.append((dot, context, basis))
            replica.record = self._forget(taken.record)
        return replica.record

    def _receive(self, replica: Replica, record: Record) -> None:
        """Join a record into a replica's; what all had before its horizon is not taken in again."""
        if replica.record != ABSENT or not is_dead(record, replica.horizon):
            replica.record = self._join(replica.record, record)

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
            replica.horizon = max(replica.horizon, before)
            kept = purge(record, replica.horizon, [other.actor for other in self.replicas])
            if kept is None and not self.rules.forget_counters:
                replica.floor = max(replica.floor, record.context.get(replica.actor, 0))
            replica.data = b"" if kept is None else encode(kept, SLOT)

    def _replace_disk(self) -> None:
        """A replica loses its disk, and gets what a quorum of the others has before it serves."""
        # A new member is a new ring, and no replica does what was asked under an older one.
        self._end_attempts(self.now + 1)
        replica = self.random.choice(self.replicas)
        replica.incarnation += 1
        replica.floor = replica.horizon = 0
        replica.data = b""
        for other in self.replicas:
            self._receive(replica, other.record)

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
            write.takes.append((record.versions[0].dot, EMPTY, 0))
            return record
        name = self.random.choice(["c1", "c2"])
        self.counters[name] = self.counters.get(name, 0) + 1
        dot = Dot(name, self.counters[name])
        context = write.context or EMPTY
        write.takes.append((dot, context, 0))
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
            self._receive(replica, joined)

    def faults(self) -> list[str]:
        """Return what is wrong in the end, when everything that could be exchanged has been."""
        for replica in self.replicas:
            for other in self.replicas:
                self._receive(replica, other.record)
        self.exchange()
        # Some have been told to forget, and others not yet.
        horizon = max(replica.horizon for replica in self.replicas)
        ends = [purge(replica.record, horizon, replica.record.context) for replica in self.replicas]
        found = [
            f"{replica.name} differs"
            for replica, end in zip(self.replicas, ends, strict=True)
            if end != ends[0]
        ]
        final = ends[0] or ABSENT
        alive = {version.dot: version.op for version in final.versions}
        shown = siblings(final, self.now)
        if len({version.op for version in shown}) != len(shown):
            found.append("an operation is shown twice")
        for write in self.writes:
            found += self._faults_of(write, alive, final.context)
        return found

    def _faults_of(self, write: Write, alive: dict[Dot, bytes], known: VectorClock) -> list[str]:
        found = []
        if write.acked is not None and not self._accounted(write, set(alive.values()), ()):
            found.append(f"write {write.number} was acknowledged and is lost")
        for dot, context, basis in write.takes:
            if dot not in alive:
                continue
            for other in self._replacers(write):
                stands = _stands(other, write, known)
                # What was acknowledged before its coordinator looked must have been seen; but of
                # two that were both taken twice, and replaced each other's copies, one stays.
                seen = other.acked is not None and other.acked < basis
                if seen and stands and (len(other.takes) == 1 or not write.saw(other)):
                    found.append(f"write {write.number} came back after it was replaced")
                if len(other.takes) == 1 and stands and covers(other.takes[0][1], dot):
                    found.append(f"write {write.number} lives beside what replaced it")
                # Whoever replaces amounts by their sum would have counted it twice.
                if write.idempotent and stands and not context:
                    found.append(f"write {write.number} happened twice")
        found += [
            f"write {write.number} replaced {other.number}, which replaced it"
            for other in self._replacers(write)
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
