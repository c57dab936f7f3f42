"""The state tables."""

import itertools

import pytest

from muster_coordinator.engine.errors import InvalidState
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import Move
from muster_coordinator.engine.states import (
    CLAIMABLE,
    HELD,
    TERMINAL,
    TRANSITIONS,
    WORKER_TRANSITIONS,
    State,
    WorkerStatus,
    check_transition,
)


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set(WORKER_TRANSITIONS) == set(WorkerStatus)


def test_a_workload_gets_from_submission_to_a_result() -> None:
    path = [State.PENDING, State.SCHEDULED, State.RUNNING, State.COMPLETED]
    for before, after in itertools.pairwise(path):
        check_transition(before, after)


def test_nothing_leads_out_of_an_end() -> None:
    for before in TERMINAL:
        assert not TRANSITIONS[before]
    assert not TERMINAL & (CLAIMABLE | HELD)


def test_an_illegal_transition_says_what_is_allowed() -> None:
    with pytest.raises(InvalidState, match=r"PENDING workload can't become COMPLETED.*SCHEDULED"):
        check_transition(State.PENDING, State.COMPLETED)
    with pytest.raises(InvalidState, match="final"):
        check_transition(State.COMPLETED, State.PENDING)


def test_a_move_is_legal_or_not_made() -> None:
    with pytest.raises(InvalidState):
        Move(new_id(), State.CANCELLED, State.RUNNING, "workload.started")


def test_two_steps_in_one_are_legal_one_after_the_other() -> None:
    Move(new_id(), State.SCHEDULED, State.COMPLETED, "workload.completed", begun=True)
    for before, after in ((State.PENDING, State.COMPLETED), (State.SCHEDULED, State.SCHEDULED)):
        with pytest.raises(InvalidState):
            Move(new_id(), before, after, "workload.completed", begun=True)


def test_nothing_but_trust_leads_out_of_quarantine() -> None:
    assert WORKER_TRANSITIONS[WorkerStatus.QUARANTINED] == {WorkerStatus.ACTIVE}
    for status in set(WorkerStatus) - {WorkerStatus.QUARANTINED}:
        assert WorkerStatus.QUARANTINED in WORKER_TRANSITIONS[status]


def test_ids_sort_by_time_and_are_of_version_7() -> None:
    ids = [new_id() for _ in range(3)]
    assert all(one.version == 7 and one.variant == "specified in RFC 4122" for one in ids)
    later = new_id().int >> 80
    assert all(one.int >> 80 <= later for one in ids)
    assert len(set(ids)) == 3
