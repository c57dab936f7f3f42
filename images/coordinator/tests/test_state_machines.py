"""Workloads and workers as models that do not know the engine, beside the real database.

Hypothesis makes up what owners, workers and the leader do, in any order and with claims from any
time; after each step the database must say what the model says.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from muster_coordinator.engine.errors import Fenced, InvalidState, NotFound
from muster_coordinator.engine.model import Claim, Registration
from muster_coordinator.engine.ports import HealthLimits, Submission
from muster_coordinator.engine.scheduling import open_lanes, place
from muster_coordinator.engine.scheduling.strategies import LeastLoaded
from muster_coordinator.engine.states import (
    HELD,
    TERMINAL,
    TRANSITIONS,
    WORKER_TRANSITIONS,
    State,
    Wish,
    WorkerStatus,
)

from .machines import BOUNDED, LOSSES, Machine, engine

pytestmark = pytest.mark.integration

RETRIES = 2
WORKERS = ("w-0", "w-1")


@dataclass
class Work:
    """What a workload should be."""

    id: UUID
    state: State = State.PENDING
    generation: int = 0
    worker: str | None = None
    retries: int = 0
    losses: int = 0
    wish: Wish = Wish.NONE
    checkpoints: int = 0
    excluded: set[str] = field(default_factory=set)
    been: list[State] = field(default_factory=lambda: [State.PENDING])
    claims: list[Claim] = field(default_factory=list)

    def held(self) -> bool:
        return self.state in HELD

    def goes(self, after: State) -> None:
        assert after in TRANSITIONS[self.state]
        self.state = after
        self.been.append(after)
        self.wish = Wish.NONE
        if after in {State.PENDING, State.REDISTRIBUTING}:
            self.worker = None

    def goes_back(self, otherwise: State = State.PENDING) -> None:
        rests = self.wish is Wish.PAUSE and self.state is State.RUNNING
        self.goes(State.PAUSED if rests else otherwise)

    def is_of(self, claim: Claim) -> bool:
        return claim.worker_id == self.worker and claim.generation in {0, self.generation}


class Workloads(Machine):
    """Owners, two workers with any claim they ever had, and a leader."""

    works = Bundle("works")
    # Mostly what is right, as little becomes of what is refused.
    claims = st.tuples(
        st.sampled_from(["new", "new", "new", "new", "old", "zero", "foreign"]), st.integers(0, 9)
    )

    def __init__(self) -> None:
        super().__init__()
        self.mine: dict[UUID, Work] = {}
        # What earlier runs left is none of this one's business.
        self.sql("DELETE FROM workloads")
        for name in WORKERS:
            worker = Registration(name, "general", 50, frozenset({"sleep"}))
            self.does(self.made.registry.register(worker))
            assert self.does(self.made.workers.open_stream(name, "c-0", uuid4()))
        self.epoch, _ = self.does(self.made.leadership.take_epoch("c-0"))

    def claim(self, work: Work, kind: tuple[str, int]) -> Claim:
        which, number = kind
        if which == "old" and work.claims:
            return work.claims[number % len(work.claims)]
        if which == "zero":
            return Claim(work.id, work.worker or "w-0", 0)
        if which == "foreign":
            return Claim(work.id, "w-9", work.generation)
        return Claim(work.id, work.worker or "w-0", work.generation)

    # Few, so that much becomes of each.
    @precondition(lambda self: len(self.mine) < 2)
    @rule(target=works)
    def submit(self) -> Work:
        work = Work(self.does(self.made.submit(max_retries=RETRIES)))
        self.mine[work.id] = work
        return work

    @rule()
    def assign(self) -> None:
        workers = self.does(self.made.workers.workers())
        lanes = open_lanes(self.does(self.made.leadership.waiting()), workers, 1, 100)
        moved = self.does(
            self.made.leadership.assign(
                self.epoch, lanes, lambda found: place(found, workers, LeastLoaded(), 1), 60
            )
        )
        waiting = {
            work.id
            for work in self.mine.values()
            if work.state in {State.PENDING, State.REDISTRIBUTING}
        }
        assert {one.id for one in moved} == waiting
        for one in moved:
            work = self.mine[one.id]
            assert one.worker_id in (set(WORKERS) - work.excluded or set(WORKERS))
            work.goes(State.SCHEDULED)
            work.worker = one.worker_id
            work.generation += 1
            work.claims.append(Claim(work.id, one.worker_id or "", work.generation))

    @rule(work=works, kind=claims)
    def start(self, work: Work, kind: tuple[str, int]) -> None:
        claim = self.claim(work, kind)
        if not (work.held() and work.is_of(claim)):
            self.fails(self.made.reports.start(claim), Fenced)
            return
        self.does(self.made.reports.start(claim))
        if work.state is State.SCHEDULED:
            work.goes(State.RUNNING)

    @rule(work=works)
    def runs(self, work: Work) -> None:
        self.assign()
        if work.state is State.SCHEDULED:
            self.start(work, ("new", 0))

    @rule(work=works)
    def should_rest(self, work: Work) -> None:
        self.runs(work)
        self.ask_to_pause(work)

    @rule(work=works, kind=claims)
    def complete(self, work: Work, kind: tuple[str, int]) -> None:
        claim = self.claim(work, kind)
        report = self.made.reports.complete(claim, Submission(1, output=b"{}"))
        if work.state is State.COMPLETED and work.is_of(claim):
            assert self.does(report).reason == "accepted before"
        elif not (work.held() and work.is_of(claim)):
            self.fails(report, Fenced)
        else:
            assert self.does(report).accepted
            if work.state is State.SCHEDULED:
                work.goes(State.RUNNING)
            work.goes(State.COMPLETED)

    @rule(work=works, kind=claims, transient=st.booleans())
    def fail(self, work: Work, kind: tuple[str, int], *, transient: bool) -> None:
        claim = self.claim(work, kind)
        report = self.made.reports.fail(claim, "no luck", transient=transient)
        if not (work.held() and work.is_of(claim)):
            self.fails(report, Fenced)
            return
        self.does(report)
        work.excluded.add(work.worker or "")
        if transient and work.retries < RETRIES:
            work.retries += 1
            work.goes_back()
        else:
            work.goes(State.FAILED)

    @rule(work=works, kind=claims)
    def release(self, work: Work, kind: tuple[str, int]) -> None:
        claim = self.claim(work, kind)
        if not (work.held() and work.is_of(claim)):
            self.fails(self.made.reports.release(claim), Fenced)
            return
        self.does(self.made.reports.release(claim))
        work.goes_back()

    @rule(work=works, kind=claims)
    def pauses(self, work: Work, kind: tuple[str, int]) -> None:
        claim = self.claim(work, kind)
        report = self.made.reports.paused(claim)
        if work.state is State.PAUSED and work.is_of(claim):
            self.does(report)
        elif not (work.held() and work.is_of(claim)):
            self.fails(report, Fenced)
        else:
            self.does(report)
            work.goes_back()

    @rule(work=works, kind=claims)
    def checkpoint(self, work: Work, kind: tuple[str, int]) -> None:
        claim = self.claim(work, kind)
        reachable = work.held() or work.state is State.PAUSED
        if not (reachable and work.is_of(claim)):
            self.fails(self.made.reports.checkpoint(claim, b"x"), Fenced)
            return
        self.does(self.made.reports.checkpoint(claim, b"x"))
        work.checkpoints += 1

    @rule(name=st.sampled_from(WORKERS))
    def lose(self, name: str) -> None:
        self.does(self.made.assignments.take_back(name, "it left", self.made.settings.policy.lost))
        for work in self.mine.values():
            if not work.held() or work.worker != name:
                continue
            if work.state is State.SCHEDULED:
                work.goes(State.PENDING)
            elif work.losses >= LOSSES:
                work.goes(State.FAILED)
            else:
                work.losses += 1
                work.goes_back(State.REDISTRIBUTING)

    @rule(work=works)
    def ask_to_pause(self, work: Work) -> None:
        if work.state is State.RUNNING:
            self.does(self.made.queue.pause(work.id))
            work.wish = Wish.PAUSE
        elif work.state is State.PAUSED:
            self.does(self.made.queue.pause(work.id))
        else:
            self.fails(self.made.queue.pause(work.id), InvalidState)

    @rule(work=works)
    def resume(self, work: Work) -> None:
        if work.wish is Wish.PAUSE:
            self.does(self.made.queue.resume(work.id))
            work.wish = Wish.NONE
        elif work.state is State.PAUSED:
            self.does(self.made.queue.resume(work.id))
            work.goes(State.PENDING)
        else:
            self.fails(self.made.queue.resume(work.id), InvalidState)

    @rule(work=works, sure=st.integers(0, 3))
    def cancel(self, work: Work, sure: int) -> None:
        if sure:
            # Rarely, so that others come to their ends.
            self.fails(self.made.queue.cancel(work.id, "a stranger"), NotFound)
        elif work.state in {State.COMPLETED, State.FAILED}:
            self.fails(self.made.queue.cancel(work.id), InvalidState)
        else:
            self.does(self.made.queue.cancel(work.id))
            if work.state is not State.CANCELLED:
                work.goes(State.CANCELLED)

    @precondition(lambda self: self.mine)
    @invariant()
    def the_database_says_the_same(self) -> None:
        for row in self.sql(
            "SELECT workloads.*, (SELECT count(*) FROM results WHERE workload_id = id) AS results, "
            "(SELECT count(*) FROM checkpoints WHERE workload_id = id) AS kept, "
            "(SELECT array_agg(after ORDER BY seq) FROM audit WHERE workload_id = id "
            "AND before IS DISTINCT FROM after AND after IS NOT NULL) AS been "
            "FROM workloads"
        ):
            work = self.mine[row["id"]]
            assert (row["state"], row["generation"]) == (work.state, work.generation)
            assert (row["worker_id"], row["wish"]) == (work.worker, work.wish)
            assert (row["retry_count"], row["redistributions"]) == (work.retries, work.losses)
            assert row["checkpoint_seq"] == work.checkpoints
            ended = work.state in TERMINAL
            assert row["kept"] == (0 if ended else min(work.checkpoints, 10))
            assert row["results"] == (work.state is State.COMPLETED)
            assert (row["input"] is None) is ended
            assert row["been"] == work.been


class Workers(Machine):
    """Workers that come, live, fall silent and leave; administrators, a liar's judge, a leader."""

    names = st.sampled_from(("a", "b"))

    def __init__(self) -> None:
        super().__init__()
        self.sql("DELETE FROM workers")
        self.known: dict[str, WorkerStatus] = {}
        self.epoch, self.since = self.does(self.made.leadership.take_epoch("c-0"))

    def becomes(self, name: str, status: WorkerStatus) -> None:
        before = self.known[name]
        assert status is before or status in WORKER_TRANSITIONS[before]
        self.known[name] = status

    def wakes(self, name: str) -> None:
        if self.known[name] in {WorkerStatus.SUSPECT, WorkerStatus.DEAD}:
            self.becomes(name, WorkerStatus.ACTIVE)

    @rule(name=names, instance=st.sampled_from(("", "1", "2")))
    def register(self, name: str, instance: str) -> None:
        worker = Registration(name, "general", 1, frozenset({"sleep"}), instance=instance)
        self.does(self.made.registry.register(worker))
        if name in self.known:
            self.wakes(name)
        else:
            self.known[name] = WorkerStatus.ACTIVE

    @rule(name=names)
    def beat(self, name: str) -> None:
        assert self.does(self.made.registry.beat(name, 0)) is (name in self.known)
        if name in self.known:
            self.wakes(name)

    @rule(name=names)
    def open_stream(self, name: str) -> None:
        opened = self.does(self.made.workers.open_stream(name, "c-0", uuid4()))
        assert opened is (name in self.known)
        if opened:
            self.wakes(name)

    @rule(name=names, seconds=st.sampled_from((0, 40, 100)))
    def falls_silent(self, name: str, seconds: int) -> None:
        # Heartbeats only ever move the other way, which no rule of this one undoes.
        self.sql(
            "UPDATE workers SET last_heartbeat_at = now() - make_interval(secs => $2) "
            "WHERE id = $1",
            name,
            float(seconds),
        )

    @rule()
    def judge(self) -> None:
        silent = {
            row["id"]: row["seconds"]
            for row in self.sql(
                "SELECT id, extract(epoch FROM now() - last_heartbeat_at)::float8 AS seconds "
                "FROM workers"
            )
        }
        # The leader has led for long: all silence counts.
        since = datetime(2000, 1, 1, tzinfo=UTC)
        self.does(self.made.leadership.judge_workers(self.epoch, HealthLimits(), since))
        for name, seconds in silent.items():
            if self.known[name] is WorkerStatus.ACTIVE and seconds > 30:
                self.becomes(name, WorkerStatus.SUSPECT)
            if self.known[name] in {WorkerStatus.SUSPECT, WorkerStatus.DRAINING} and seconds > 90:
                self.becomes(name, WorkerStatus.DEAD)

    @rule(name=names)
    def drain(self, name: str) -> None:
        status = self.known.get(name)
        if status is None:
            self.fails(self.made.registry.drain(name), NotFound)
        elif status in {WorkerStatus.DEAD, WorkerStatus.QUARANTINED}:
            self.fails(self.made.registry.drain(name), InvalidState)
        else:
            self.does(self.made.registry.drain(name))
            self.becomes(name, WorkerStatus.DRAINING)

    @rule(name=names)
    def quarantine(self, name: str) -> None:
        self.does(self.made.workers.quarantine(name, "it lied", 3600))
        if name in self.known:
            self.becomes(name, WorkerStatus.QUARANTINED)

    @rule(name=names)
    def lift(self, name: str) -> None:
        lifted = self.does(self.made.workers.lift_quarantine(name))
        assert lifted is (self.known.get(name) is WorkerStatus.QUARANTINED)
        if lifted:
            self.becomes(name, WorkerStatus.ACTIVE)

    @rule(name=names)
    def leave(self, name: str) -> None:
        if name not in self.known:
            self.fails(self.made.registry.deregister(name), NotFound)
            return
        self.does(self.made.registry.deregister(name))
        # A liar does not wash itself clean by leaving.
        if self.known[name] is not WorkerStatus.QUARANTINED:
            del self.known[name]

    @rule(name=names)
    def remove(self, name: str) -> None:
        if name not in self.known:
            self.fails(self.made.registry.remove(name), NotFound)
            return
        self.does(self.made.registry.remove(name))
        del self.known[name]

    @invariant()
    def the_database_says_the_same(self) -> None:
        found = self.does(self.made.registry.workers())
        assert {worker.id: worker.status for worker in found} == self.known


@pytest.mark.parametrize("machine", [Workloads, Workers])
def test_the_database_keeps_to_the_model(dsn: str, machine: type[Machine]) -> None:
    with engine(dsn, machine):
        run_state_machine_as_test(machine, settings=BOUNDED)
