"""Many pass the gate at once; or one, when all others are outside."""

import threading
from collections.abc import Callable

import pytest

from muster_storage.gate import Gate, GateBusyError

SECONDS = 60.0


def _thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_many_are_inside_at_once() -> None:
    gate, both = Gate(), threading.Barrier(2)

    def inside() -> None:
        with gate:
            both.wait(SECONDS)

    thread = _thread(inside)
    inside()
    thread.join(SECONDS)
    assert not both.broken


def test_one_is_alone_when_those_before_have_left_and_others_wait() -> None:
    gate, said = Gate(), list[str]()
    entered, may_leave, alone, passed = (threading.Event() for _ in range(4))

    def first() -> None:
        with gate:
            entered.set()
            may_leave.wait(SECONDS)
            said.append("first has left")

    def second() -> None:
        with gate.alone(SECONDS):
            said.append("alone")
            alone.set()
            passed.wait(0.1)
            said.append("not alone any more")

    def third() -> None:
        alone.wait(SECONDS)
        with gate:
            said.append("third")
            passed.set()

    threads = [_thread(first)]
    entered.wait(SECONDS)
    threads += [_thread(second), _thread(third)]
    may_leave.set()
    for thread in threads:
        thread.join(SECONDS)
    assert said == ["first has left", "alone", "not alone any more", "third"]


def test_who_waits_in_vain_to_be_alone_lets_others_pass() -> None:
    gate = Gate()
    with gate, pytest.raises(GateBusyError), gate.alone(0.01):
        pass
    with gate:
        pass
    with gate.alone(SECONDS):
        pass


def test_an_error_leaves_the_gate_open() -> None:
    gate = Gate()
    with pytest.raises(ValueError, match="inside"), gate:
        raise ValueError("inside")
    with pytest.raises(ValueError, match="alone"), gate.alone(SECONDS):
        raise ValueError("alone")
    with gate:
        pass
