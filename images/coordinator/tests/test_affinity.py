"""Which workers a workload must have, would rather have, and must not have."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_coordinator.engine.affinity import (
    NO_AFFINITY,
    Affinity,
    Rule,
    from_json,
    to_json,
)
from muster_coordinator.engine.model import Requirement, Share, Worker
from muster_coordinator.engine.scheduling import Candidate, Waiting, open_lanes, place
from muster_coordinator.engine.scheduling.strategies import LeastLoaded
from muster_coordinator.engine.states import State, WorkerStatus

NEED = Requirement("general", "sleep")
SSD = frozenset({("disk", "ssd")})
SSD_EU = SSD | {("zone", "eu")}


def _worker(name: str, tags: dict[str, str] | None = None, **differing: Any) -> Worker:
    fields: dict[str, Any] = {
        "pool": "general",
        "status": WorkerStatus.ACTIVE,
        "capacity": 2,
        "types": frozenset({"sleep", "command"}),
        "keys": {},
        "load": 0,
        "connected": True,
        "last_heartbeat_at": datetime.now(UTC),
        "tags": tags or {},
    } | differing
    return Worker(name, **fields)


def _candidate(affinity: Affinity, **more: Any) -> Candidate:
    return Candidate(uuid4(), NEED, State.PENDING, affinity=affinity, **more)


WORKERS = [
    _worker("a", {"disk": "ssd", "zone": "eu"}),
    _worker("b", {"disk": "ssd"}, load=1, shares=(Share("default", "command", 1),)),
    _worker("c", {"disk": "hdd", "zone": "eu"}),
]


def _placed(affinity: Affinity) -> set[str]:
    """Where it may go, with everybody equally loaded but for what the workers hold."""
    chosen = set()
    for worker in WORKERS:
        if place([_candidate(affinity)], [worker], LeastLoaded(), prefetch=0):
            chosen.add(worker.id)
    return chosen


class TestHard:
    @pytest.mark.parametrize(
        ("rule", "allowed"),
        [
            (Rule("b"), {"b"}),
            (Rule("gone"), set()),
            (Rule(worker_tags=SSD), {"a", "b"}),
            (Rule(worker_tags=SSD_EU), {"a"}),
            (Rule(workload_types=frozenset({"command", "http"})), {"b"}),
            (Rule("a", SSD, frozenset({"command"})), set()),
            (Rule(), {"a", "b", "c"}),
        ],
    )
    def test_all_that_it_says_must_hold(self, rule: Rule, allowed: set[str]) -> None:
        assert _placed(Affinity(hard=rule)) == allowed


class TestAnti:
    @pytest.mark.parametrize(
        ("rule", "allowed"),
        [
            (Rule("b"), {"a", "c"}),
            (Rule(worker_tags=SSD_EU), set()),
            (Rule(worker_tags=frozenset({("zone", "eu")})), {"b"}),
            (Rule(workload_types=frozenset({"command"})), {"a", "c"}),
        ],
    )
    def test_nothing_that_it_says_may_hold(self, rule: Rule, allowed: set[str]) -> None:
        assert _placed(Affinity(anti=rule)) == allowed

    def test_two_of_a_kind_are_kept_apart_within_one_round(self) -> None:
        apart = Affinity(anti=Rule(workload_types=frozenset({"sleep"})))
        workers = [_worker("a"), _worker("b")]
        placements = place([_candidate(apart)] * 3, workers, LeastLoaded(), prefetch=0)
        assert sorted(one.worker_id for one in placements) == ["a", "b"]


class TestSoft:
    def test_a_name_is_worth_more_than_nine_tags(self) -> None:
        tags = {f"t{n}": "x" for n in range(9)}
        workers = [_worker("tagged", tags), _worker("named", load=1)]
        wish = Rule("named", frozenset(tags.items()))
        [placed] = place([_candidate(Affinity(soft=wish))], workers, LeastLoaded(), prefetch=0)
        assert placed.worker_id == "named"

    def test_ten_tags_are_worth_as_much_and_an_eleventh_more(self) -> None:
        tags = {f"t{n}": "x" for n in range(11)}
        workers = [_worker("tagged", tags), _worker("named")]
        wish = Rule("named", frozenset(tags.items()))
        [placed] = place([_candidate(Affinity(soft=wish))], workers, LeastLoaded(), prefetch=0)
        assert placed.worker_id == "tagged"

    def test_it_goes_elsewhere_where_its_wish_can_not_be_fulfilled(self) -> None:
        workers = [_worker("wanted", load=2), _worker("other")]
        wish = Affinity(soft=Rule("wanted"))
        [placed] = place([_candidate(wish)], workers, LeastLoaded(), prefetch=0)
        assert placed.worker_id == "other"


def test_only_hard_and_anti_affinities_need_more_to_choose_from() -> None:
    plain, particular = Waiting(NEED), Waiting(NEED, particular=True)
    lanes = open_lanes([plain, particular], [_worker("a")], prefetch=0, batch=100)
    assert [lane.room for lane in lanes] == [2, 200]


RULES = st.builds(
    Rule,
    st.text(max_size=3),
    st.frozensets(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3).filter(
        lambda tags: len({name for name, _ in tags}) == len(tags)
    ),
    st.frozensets(st.text(min_size=1, max_size=3), max_size=3),
)


@given(st.builds(Affinity, RULES, RULES, RULES))
def test_json_says_the_same(affinity: Affinity) -> None:
    document = to_json(affinity)
    assert from_json(document) == affinity
    assert bool(document) == bool(affinity)
    assert not to_json(NO_AFFINITY)
