"""The checker on histories written by hand: it accepts the good, and finds what is wrong."""

import json
import math
from dataclasses import replace
from pathlib import Path

from e2e.jepsen.checks import lost_or_back, missing_elements, not_recognised, wrong_totals
from e2e.jepsen.history import Addition, Again, Outcome, Read, Write
from e2e.jepsen.logs import complaints

NOTHING: frozenset[str] = frozenset()


def write(name: str, seen: str | None, begun: float, ended: float = math.inf) -> Write:
    """Of the key `k`; without an end nobody knows whether it happened."""
    outcome = Outcome.UNKNOWN if ended == math.inf else Outcome.DONE
    names = None if seen is None else frozenset(seen.split())
    return Write("k", name, names, begun, ended, outcome)


def delete(name: str, seen: str | None, begun: float, ended: float = math.inf) -> Write:
    return replace(write(name, seen, begun, ended), deletes=True)


def read(found: str, begun: float, ended: float | None = None) -> Read:
    return Read("k", frozenset(found.split()), begun, begun if ended is None else ended)


class TestRegisters:
    def test_what_was_written_last_is_read(self) -> None:
        writes = [write("a", "", 0, 1), write("b", "a", 2, 3)]
        assert lost_or_back(writes, [read("", 0), read("a", 1.5), read("b", 4)]) == []

    def test_siblings_are_all_there(self) -> None:
        writes = [write("a", "", 0, 1), write("b", "", 0, 1), write("c", "a b", 2, 3)]
        assert lost_or_back(writes, [read("a b", 1.5), read("c", 4)]) == []
        (fault,) = lost_or_back(writes, [read("b", 1.5)])
        assert "a was acknowledged and is lost" in fault

    def test_a_write_that_is_not_there_is_lost(self) -> None:
        writes = [write("a", "", 0, 1), write("b", "a", 2, 3)]
        faults = lost_or_back(writes, [read("", 4)])
        assert len(faults) == 2
        assert all("is lost" in fault for fault in faults)

    def test_a_write_under_way_may_be_seen_or_not(self) -> None:
        writes = [write("a", "", 0, 1), write("b", "a", 2)]
        assert lost_or_back(writes, [read("a", 3), read("b", 3), read("a", 9)]) == []
        assert lost_or_back(writes, [read("", 3)]) != []

    def test_what_a_lost_replacement_has_replaced_is_lost(self) -> None:
        writes = [write("a", "", 0, 1), write("b", "a", 2), write("c", "", 2, 3)]
        (fault,) = lost_or_back(writes, [read("c", 4)])
        assert "a was acknowledged and is lost" in fault

    def test_a_write_that_failed_for_certain_excuses_nothing(self) -> None:
        failed = replace(write("b", "a", 2), outcome=Outcome.NOT_DONE)
        assert lost_or_back([write("a", "", 0, 1), failed], [read("", 4)]) != []
        (fault,) = lost_or_back([write("a", "", 0, 1), failed], [read("a b", 4)])
        assert "nobody wrote it" in fault

    def test_a_later_write_stands_for_all_that_it_follows(self) -> None:
        writes = [
            write("a", "", 0, 1),
            write("b", "a", 2),
            write("c", "b", 3),
            write("d", "c", 4, 5),
        ]
        assert lost_or_back(writes, [read("d", 6)]) == []

    def test_what_was_deleted_is_gone(self) -> None:
        writes = [write("a", "", 0, 1), delete("x", "a", 2, 3)]
        assert lost_or_back(writes, [read("", 4)]) == []

    def test_what_was_deleted_and_is_shown_has_come_back(self) -> None:
        writes = [write("a", "", 0, 1), delete("x", "a", 2, 3)]
        (fault,) = lost_or_back(writes, [read("a", 4)])
        assert "a was shown, after x had replaced it" in fault
        # While it is under way, nobody can say.
        assert lost_or_back(writes, [read("a", 2.5)]) == []

    def test_what_was_replaced_and_is_shown_has_come_back(self) -> None:
        writes = [write("a", "", 0, 1), write("b", "a", 2, 3)]
        (fault,) = lost_or_back(writes, [read("a b", 4)])
        assert "a was shown, after b had replaced it" in fault

    def test_what_was_under_way_when_it_was_replaced_may_be_done_once_more(self) -> None:
        writes = [write("a", "", 0, 2.5), write("b", "a", 2, 3)]
        assert lost_or_back(writes, [read("a b", 4)]) == []

    def test_a_write_that_did_not_know_of_the_delete_survives_it(self) -> None:
        writes = [write("a", "", 0, 1), delete("x", "a", 2, 3), write("b", "a", 2, 3)]
        assert lost_or_back(writes, [read("b", 4)]) == []
        assert lost_or_back(writes, [read("", 4)]) != []

    def test_a_blind_write_replaces_what_is_there(self) -> None:
        writes = [write("a", "", 0, 1), write("b", None, 2, 3)]
        assert lost_or_back(writes, [read("b", 4), read("a b", 4)]) == []
        # But not what came after it.
        (fault,) = lost_or_back([*writes, write("c", "", 4, 5)], [read("b", 6)])
        assert "c was acknowledged and is lost" in fault

    def test_what_a_quorum_has_shown_is_not_gone_later(self) -> None:
        # Nobody knows whether it was done, until it is read.
        writes = [write("a", "", 0, 1), write("b", "a", 2)]
        shown = replace(read("b", 4, 5), known=frozenset("b"))
        (fault,) = lost_or_back(writes, [shown, read("a", 6)])
        assert "b was shown before and is lost" in fault
        # A read at the same time may have been sooner, and what no quorum has may be gone.
        assert lost_or_back(writes, [shown, read("a", 4.5)]) == []
        assert lost_or_back(writes, [read("b", 4, 5), read("a", 6)]) == []

    def test_what_was_shown_and_then_replaced_is_not_lost(self) -> None:
        writes = [write("a", "", 0), write("b", "a", 2, 3)]
        shown = replace(read("a", 1), known=frozenset("a"))
        assert lost_or_back(writes, [shown, read("b", 4)]) == []

    def test_an_acknowledged_write_must_be_read_by_who_comes_after_it(self) -> None:
        writes = [write("a", "", 0, 1), write("b", "a", 2, 3)]
        faults = lost_or_back(writes, [read("a", 4)])
        assert any("b was acknowledged and is lost" in fault for fault in faults)
        assert any("a was shown, after b had replaced it" in fault for fault in faults)

    def test_what_comes_from_nowhere_is_told(self) -> None:
        (fault,) = lost_or_back([], [read("z", 1)])
        assert "nobody wrote it" in fault
        (fault,) = lost_or_back([write("a", "", 5, 6)], [read("a", 1)])
        assert "nobody wrote it" in fault

    def test_keys_are_judged_apart(self) -> None:
        other = Read("other", NOTHING, 4, 4)
        assert lost_or_back([write("a", "", 0, 1)], [other, read("a", 4)]) == []


def test_retries_of_what_was_acknowledged_are_recognised() -> None:
    assert not_recognised([Again("k", "a", duplicate=True)]) == []
    (fault,) = not_recognised([Again("k", "a", duplicate=True), Again("k", "b", duplicate=False)])
    assert "k: b" in fault


def addition(name: str, outcome: Outcome = Outcome.DONE, amount: int = 1) -> Addition:
    return Addition("s", name, 0, 1, outcome, amount)


class TestSets:
    def test_all_that_was_acknowledged_is_there(self) -> None:
        additions = [addition("a"), addition("b", Outcome.UNKNOWN)]
        for held in ("a", "a b"):
            assert missing_elements(additions, {"s": frozenset(held.split())}) == []

    def test_what_is_not_there_is_lost(self) -> None:
        (fault,) = missing_elements([addition("a"), addition("b")], {"s": frozenset("b")})
        assert "s: a was acknowledged and is lost" in fault
        assert missing_elements([addition("a")], {}) != []

    def test_what_nobody_added_is_told(self) -> None:
        failed = addition("c", Outcome.NOT_DONE)
        (fault,) = missing_elements([addition("a"), failed], {"s": frozenset("ac")})
        assert "s: c is there" in fault


class TestCounters:
    def test_each_amount_counts_once(self) -> None:
        additions = [addition("a", amount=2), addition("b", Outcome.UNKNOWN, amount=3)]
        additions.append(addition("c", Outcome.NOT_DONE, amount=10))
        assert wrong_totals(additions, {"s": 2}) == []
        assert wrong_totals(additions, {"s": 5}) == []

    def test_what_is_missing_or_counted_twice_is_told(self) -> None:
        additions = [addition("a"), addition("b")]
        assert wrong_totals(additions, {"s": 1}) == ["s: 1; acknowledged are 2, asked for 2"]
        assert wrong_totals(additions, {"s": 3}) != []


def test_errors_in_logs_are_counted_and_what_was_expected_is_not(tmp_path: Path) -> None:
    def line(level: str, **fields: str) -> str:
        said = {"level": level, "component": "storage", "message": "m <x at 0x1>", **fields}
        return json.dumps(said) + "\n"

    error = line("error", exc_info="Traceback:\n  there\nValueError: v")
    (tmp_path / "s-0.log").write_text(line("warning") + error + error)
    (tmp_path / "c-0").mkdir()
    (tmp_path / "c-0" / "log").write_text("Segmentation fault\n")
    assert complaints(tmp_path) == {
        "storage: m: ValueError: v": 2,
        "no JSON: Segmentation fault": 1,
    }
