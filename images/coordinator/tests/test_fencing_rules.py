"""Whose report counts."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from muster_coordinator.engine.errors import Fenced, NotFound
from muster_coordinator.engine.fencing import finished_by, judge
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import Claim, Held, Requirement
from muster_coordinator.engine.states import State

ID = new_id()
HELD = Held(ID, Requirement("demo", "x"), State.RUNNING, "w-0", 7, 0, 3, 0, datetime.now(UTC))


@pytest.mark.parametrize("generation", [7, 0])
@pytest.mark.parametrize("state", [State.SCHEDULED, State.RUNNING])
def test_the_holder_may_report(generation: int, state: State) -> None:
    assert judge(Claim(ID, "w-0", generation), replace(HELD, state=state)) is None


@pytest.mark.parametrize(
    ("claim", "held"),
    [
        (Claim(ID, "w-0", 6), HELD),
        (Claim(ID, "w-0", 8), HELD),
        (Claim(ID, "w-1", 7), HELD),
        (Claim(ID, "w-1", 0), HELD),
        (Claim(ID, "w-0", 7), replace(HELD, state=State.PENDING, worker_id=None)),
        (Claim(ID, "w-0", 0), replace(HELD, state=State.REDISTRIBUTING, worker_id=None)),
        (Claim(ID, "w-0", 7), replace(HELD, state=State.CANCELLED)),
        (Claim(ID, "w-0", 7), replace(HELD, state=State.COMPLETED)),
    ],
)
def test_nobody_else_may(claim: Claim, held: Held) -> None:
    error = judge(claim, held)
    assert isinstance(error, Fenced)
    assert str(ID) in str(error)


def test_an_unknown_workload_is_not_found() -> None:
    assert isinstance(judge(Claim(ID, "w-0", 1), None), NotFound)


def test_a_repetition_is_told_from_a_strangers_report() -> None:
    done = replace(HELD, state=State.COMPLETED)
    assert finished_by(Claim(ID, "w-0", 7), done)
    assert finished_by(Claim(ID, "w-0", 0), done)
    assert not finished_by(Claim(ID, "w-0", 6), done)
    assert not finished_by(Claim(ID, "w-1", 7), done)
    assert not finished_by(Claim(ID, "w-0", 7), HELD)
    assert not finished_by(Claim(ID, "w-0", 7), None)
