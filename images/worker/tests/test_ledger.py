from dataclasses import replace

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from muster_worker.ledger import (
    Decision,
    Ledger,
    Phase,
    abandon,
    clear,
    close,
    forget,
    offer,
    restore,
    settle,
    take,
)
from muster_worker.tasks import Assignment, Ticket


def task(name: str, generation: int = 1, payload: bytes = b"{}") -> Assignment:
    return Assignment(Ticket(name, generation), "prove.merkle", payload)


def offered(*assignments: Assignment, limit: int = 4) -> Ledger:
    ledger = Ledger(limit)
    for assignment in assignments:
        ledger, _ = offer(ledger, assignment)
    return ledger


def running(*assignments: Assignment) -> Ledger:
    ledger = offered(*assignments)
    for _ in assignments:
        ledger, _ = take(ledger)
    return ledger


def test_tasks_are_taken_in_order_of_arrival() -> None:
    ledger = offered(task("a"), task("b"))
    ledger, first = take(ledger)
    ledger, second = take(ledger)
    ledger, third = take(ledger)
    assert first is not None
    assert second is not None
    assert (first.ticket.task_id, second.ticket.task_id, third) == ("a", "b", None)


def test_a_full_queue_refuses() -> None:
    ledger, decision = offer(offered(task("a"), task("b"), limit=2), task("c"))
    assert decision is Decision.REFUSE
    assert ledger.count(Phase.QUEUED) == 2


def test_what_runs_takes_no_room_in_the_queue() -> None:
    ledger, _ = take(offered(task("a"), limit=1))
    assert offer(ledger, task("b"))[1] is Decision.QUEUE


def test_the_same_assignment_is_taken_once() -> None:
    for ledger in (offered(task("a")), running(task("a"))):
        assert offer(ledger, task("a")) == (ledger, Decision.IGNORE)


def test_an_older_assignment_is_ignored() -> None:
    ledger = offered(task("a", 5))
    assert offer(ledger, task("a", 4)) == (ledger, Decision.IGNORE)


def test_a_later_assignment_of_a_waiting_task_takes_its_place() -> None:
    ledger, decision = offer(offered(task("a"), task("b")), task("a", 2))
    assert decision is Decision.QUEUE
    _, first = take(ledger)
    assert first is not None
    assert first.ticket == Ticket("a", 2)


def test_a_later_assignment_of_the_same_running_work_adopts_it() -> None:
    ledger, decision = offer(running(task("a")), task("a", 2))
    assert decision is Decision.ADOPT
    assert ledger.running(1) is not None
    ledger, ticket = settle(ledger, 1)
    assert ticket == Ticket("a", 2)


def test_a_later_assignment_of_other_work_stops_what_runs() -> None:
    ledger, decision = offer(running(task("a")), task("a", 2, b"other"))
    assert decision is Decision.RESTART
    assert ledger.running(1) is None
    assert settle(ledger, 1)[1] is None
    _, next_run = take(ledger)
    assert next_run is not None
    assert (next_run.attempt, next_run.ticket) == (2, Ticket("a", 2))


def test_another_key_version_is_other_work() -> None:
    new = replace(task("a", 2), key_version="sha256:2")
    assert offer(running(task("a")), new)[1] is Decision.RESTART


def test_an_assignment_that_is_being_reported_is_not_run_again() -> None:
    ledger, _ = settle(running(task("a")), 1)
    assert offer(ledger, task("a"))[1] is Decision.IGNORE


def test_a_later_assignment_of_a_reported_task_runs_beside_the_report() -> None:
    ledger, reported = settle(running(task("a")), 1)
    assert reported is not None
    ledger, decision = offer(ledger, task("a", 2))
    assert decision is Decision.QUEUE
    assert forget(ledger, reported) == ledger


def test_a_restored_report_keeps_its_task_from_running_again() -> None:
    ledger = restore(Ledger(4), Ticket("a", 3))
    assert ledger.count(Phase.REPORTING) == 1
    assert offer(ledger, task("a", 3))[1] is Decision.IGNORE


def test_an_answered_task_may_come_again() -> None:
    ledger, ticket = settle(running(task("a")), 1)
    assert ticket is not None
    assert offer(forget(ledger, ticket), task("a"))[1] is Decision.QUEUE


def test_clearing_releases_what_waits_and_keeps_what_runs() -> None:
    ledger, _ = take(offered(task("a"), task("b"), task("c")))
    ledger, released = clear(ledger)
    assert released == (Ticket("b", 1), Ticket("c", 1))
    assert ledger.count(Phase.RUNNING) == 1
    assert offer(ledger, task("d"))[1] is Decision.QUEUE


def test_a_closed_ledger_refuses_everything_new() -> None:
    ledger, released = close(offered(task("a")))
    assert released == (Ticket("a", 1),)
    assert offer(ledger, task("b"))[1] is Decision.REFUSE


def test_abandoning_releases_what_runs() -> None:
    ledger, released = abandon(running(task("a"), task("b")))
    assert released == (Ticket("a", 1), Ticket("b", 1))
    assert settle(ledger, 1)[1] is None


def test_a_witness_shows_in_no_text() -> None:
    assert "secret" not in repr(offered(task("a", payload=b"secret")))


class LedgerMachine(RuleBasedStateMachine):
    """Two lanes and a queue of two, used in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(queue_limit=2)
        self.newest: dict[str, int] = {}
        self.restarts = 0

    @rule(name=st.sampled_from("abcd"), generation=st.integers(0, 3), payload=st.binary(max_size=1))
    def offer(self, name: str, generation: int, payload: bytes) -> None:
        self.ledger, decision = offer(self.ledger, task(name, generation, payload))
        if decision not in {Decision.IGNORE, Decision.REFUSE}:
            self.newest[name] = generation
        self.restarts += decision is Decision.RESTART

    @precondition(lambda self: self.ledger.count(Phase.RUNNING) < 2)
    @rule()
    def take(self) -> None:
        self.ledger, _ = take(self.ledger)

    @rule(back=st.integers(0, 2))
    def settle(self, back: int) -> None:
        self.ledger, _ = settle(self.ledger, self.ledger.attempts - back)

    @rule()
    def answer_reports(self) -> None:
        for held in self.ledger.held:
            if held.phase is Phase.REPORTING:
                self.ledger = forget(self.ledger, held.ticket)

    @rule()
    def clear(self) -> None:
        self.ledger, _ = clear(self.ledger)

    @invariant()
    def a_task_is_held_once_under_its_newest_assignment(self) -> None:
        held = {one.ticket.task_id: one.ticket.generation for one in self.ledger.held}
        assert len(held) == len(self.ledger.held)
        assert all(self.newest[name] == generation for name, generation in held.items())

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert self.ledger.count(Phase.RUNNING) <= 2
        assert self.ledger.count(Phase.QUEUED) <= 2 + self.restarts


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = hypothesis.settings(max_examples=50, stateful_step_count=30)
