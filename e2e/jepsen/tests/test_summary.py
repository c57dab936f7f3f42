"""What is told of many runs, from verdicts written by hand."""

import math

import msgspec

from e2e.jepsen.history import Addition, Outcome, Write
from e2e.jepsen.nemeses.nemesis import Span
from e2e.jepsen.plan import Kind, Plan
from e2e.jepsen.summary import summary
from e2e.jepsen.verdict import (
    COUNTERS,
    DOUBTS,
    REGISTERS,
    SETS,
    WORKLOADS,
    Event,
    Verdict,
    broken,
    counted,
    during,
)

NOTHING: frozenset[str] = frozenset()
LOST = dict.fromkeys(WORKLOADS, 1)


def verdict(*kinds: Kind, lost: dict[str, int] = LOST) -> Verdict:
    """Of a run in which each kind made one fault, that all workloads met."""
    asked = {workload: counted([addition(0, 1)]) for workload in WORKLOADS}
    return Verdict(
        Plan(1, 30, frozenset(kinds)),
        control=lost,
        asked=asked,
        checked={"reads": 2, "repeats": 1},
        broken={kind.value: {f"break {kind.value}": 1} for kind in kinds},
        meanwhile={f"break {kind.value}": asked for kind in kinds},
        seconds={"start": 1.0, "healing": 2.5},
    )


def addition(
    begun: float, left: float, outcome: Outcome = Outcome.DONE, doubts: int = 0
) -> Addition:
    return Addition("k", "a", begun, left, outcome, doubts=doubts)


def span(fault: str, begun: float, ended: float) -> Span:
    return Span(Kind.DISKS, fault, begun, ended)


class TestVerdict:
    def test_a_run_is_good_where_only_the_control_lost(self) -> None:
        assert verdict(Kind.DISKS).good
        assert verdict(Kind.DISKS).wrong() == []

    def test_a_control_that_lost_nothing_of_a_workload_is_blind_to_it(self) -> None:
        for workload in WORKLOADS:
            seeing = {other: 3 for other in WORKLOADS if other != workload}
            one = verdict(Kind.DISKS, lost=seeing)
            assert not one.good
            (blind,) = one.wrong()
            assert blind.startswith("BLIND")
            assert blind.endswith(workload)
            assert "BAD" in one.line()

    def test_a_fault_is_told_and_is_bad(self) -> None:
        one = verdict(Kind.DISKS)
        one.faults.append("k: a is lost")
        assert not one.good
        assert one.wrong() == ["FAULT k: a is lost"]

    def test_it_goes_from_process_to_process(self) -> None:
        one = verdict(Kind.DISKS, Kind.CLOCKS)
        assert msgspec.json.decode(msgspec.json.encode(one), type=Verdict) == one


class TestDuring:
    def test_what_was_under_way_while_a_fault_lasted_counts_once(self) -> None:
        made = [
            addition(0, 1),
            addition(1, 3, Outcome.UNKNOWN, doubts=1),
            addition(2.5, 2.6),
            addition(9, math.inf, Outcome.UNKNOWN, doubts=2),
        ]
        found = during([span("fill", 2, 4), span("fill", 2.5, 5)], {SETS: made})
        assert found == {"fill": {SETS: counted(made[1:3])}}
        assert found["fill"][SETS][DOUBTS] == 1

    def test_faults_are_told_apart(self) -> None:
        done = Write("k", "a", NOTHING, 0, 1, Outcome.DONE, left=1)
        made: list[Event] = [done, addition(5, 6)]
        found = during([span("one", 0, 2), span("other", 4, 7)], {REGISTERS: made})
        assert found == {
            "one": {REGISTERS: counted(made[:1])},
            "other": {REGISTERS: counted(made[1:])},
        }

    def test_a_fault_whose_turn_did_not_come_is_told(self) -> None:
        faults = {"disks": ["fill", "empty"]}
        assert broken(faults, [span("fill", 0, 1), span("fill", 2, 3)]) == {
            "disks": {"fill": 2, "empty": 0}
        }


class TestSummary:
    def test_what_met_is_told_and_what_did_not(self) -> None:
        text = summary([verdict(Kind.DISKS, Kind.CLOCKS)])
        assert "disks and topology" in text
        assert "clocks and disks" not in text
        assert "and break disks" not in text

    def test_a_workload_that_no_fault_met_is_told(self) -> None:
        one = verdict(Kind.DISKS)
        one.meanwhile["break disks"][COUNTERS] = counted([])
        assert "counters and break disks" in summary([one])
        # Another run made up for it.
        assert "and break disks" not in summary([one, verdict(Kind.DISKS)])

    def test_nothing_is_missing_where_all_met(self) -> None:
        assert "did not meet" not in summary([verdict(*Kind)])

    def test_numbers_of_all_runs_are_added(self) -> None:
        lines = [line.split() for line in summary([verdict(*Kind)] * 3).splitlines()]
        assert ["sets", "3", "0", "0", "0", "3", "3", "of", "3", "runs"] in lines
        assert ["disks", "break", "disks", "3", "3", "3", "0", "3", "0", "3", "0"] in lines
        assert ["healing", "2.5", "2.5"] in lines

    def test_no_run_came_to_its_end(self) -> None:
        assert "0 of 0 runs" in summary([])
