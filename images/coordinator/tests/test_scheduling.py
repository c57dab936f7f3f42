"""Who gets what: lanes, placing, strategies."""

import uuid
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from muster_coordinator.engine.model import Requirement, Worker
from muster_coordinator.engine.scheduling import (
    STRATEGIES,
    Candidate,
    Waiting,
    open_lanes,
    place,
)
from muster_coordinator.engine.scheduling.aging import rank
from muster_coordinator.engine.scheduling.strategies import LeastLoaded, Priority, RoundRobin
from muster_coordinator.engine.states import State, WorkerStatus

NEED = Requirement("demo", "prove.addition", "addition-poseidon@bn254", "sha256:1")


def _worker(name: str, **differing: Any) -> Worker:
    fields: dict[str, Any] = {
        "pool": "demo",
        "status": WorkerStatus.ACTIVE,
        "capacity": 2,
        "types": frozenset({"prove.addition"}),
        "keys": {"addition-poseidon@bn254": "sha256:1"},
        "load": 0,
        "connected": True,
        "last_heartbeat_at": datetime.now(UTC),
    } | differing
    return Worker(name, **fields)


def _candidates(count: int, *excluded: str) -> list[Candidate]:
    return [Candidate(uuid.uuid4(), NEED, State.PENDING, frozenset(excluded)) for _ in range(count)]


def _given(candidates: list[Candidate], workers: list[Worker], strategy: str) -> list[str]:
    placements = place(candidates, workers, STRATEGIES[strategy](), prefetch=0)
    return [placement.worker_id for placement in placements]


class TestWorkersThatFit:
    def test_pool_type_and_key_must_fit(self) -> None:
        assert _worker("a").can_do(NEED)
        assert not _worker("a", pool="other").can_do(NEED)
        assert not _worker("a", types=frozenset({"prove.merkle"})).can_do(NEED)
        assert not _worker("a", keys={"addition-poseidon@bn254": "sha256:2"}).can_do(NEED)
        assert not _worker("a", keys={"merkle-20-poseidon@bn254": "sha256:1"}).can_do(NEED)

    def test_a_worker_that_names_no_keys_is_taken_to_have_them(self) -> None:
        assert _worker("a", keys={}).can_do(NEED)

    def test_work_without_a_key_needs_none(self) -> None:
        assert _worker("a", types=frozenset({"sleep"})).can_do(Requirement("demo", "sleep"))

    def test_only_connected_active_workers_get_anything(self) -> None:
        out = [
            _worker("suspect", status=WorkerStatus.SUSPECT),
            _worker("dead", status=WorkerStatus.DEAD),
            _worker("draining", status=WorkerStatus.DRAINING),
            _worker("quarantined", status=WorkerStatus.QUARANTINED),
            _worker("cut", connected=False),
        ]
        assert _given(_candidates(5), out, "least-loaded") == []
        assert open_lanes([Waiting(NEED)], out, prefetch=1, batch=100) == []


class TestLanes:
    def test_a_lane_has_the_room_of_its_workers(self) -> None:
        workers = [_worker("a", load=2), _worker("b", load=3), _worker("c", capacity=4)]
        [lane] = open_lanes([Waiting(NEED)], workers, prefetch=1, batch=100)
        assert (lane.room, lane.free, lane.able) == (1 + 5, ("a", "c"), ("a", "b", "c"))

    def test_a_lane_is_never_wider_than_a_batch(self) -> None:
        [lane] = open_lanes([Waiting(NEED)], [_worker("a", capacity=1000)], prefetch=1, batch=100)
        assert lane.room == 100

    def test_work_that_nobody_can_do_opens_no_lane(self) -> None:
        other = Requirement("demo", "prove.merkle")
        lanes = open_lanes([Waiting(other), Waiting(NEED)], [_worker("a")], prefetch=1, batch=100)
        assert [lane.need for lane in lanes] == [NEED]


class TestPlacing:
    def test_capacity_and_prefetch_are_kept(self) -> None:
        placements = place(_candidates(9), [_worker("a")], LeastLoaded(), prefetch=1)
        assert len(placements) == 3

    def test_nobody_gets_work_ahead_while_another_has_room(self) -> None:
        workers = [_worker("a", load=2), _worker("b", load=1)]
        placements = place(_candidates(1), workers, RoundRobin(), prefetch=1)
        assert [placement.worker_id for placement in placements] == ["b"]

    def test_another_worker_gets_what_one_failed(self) -> None:
        workers = [_worker("a"), _worker("b", load=1)]
        assert _given(_candidates(1, "a"), workers, "least-loaded") == ["b"]

    def test_it_waits_for_another_that_is_busy(self) -> None:
        workers = [_worker("a"), _worker("b", load=2)]
        assert _given(_candidates(1, "a"), workers, "least-loaded") == []

    def test_the_same_gets_it_again_where_there_is_no_other(self) -> None:
        assert _given(_candidates(1, "a"), [_worker("a")], "least-loaded") == ["a"]

    def test_what_can_not_be_placed_does_not_hold_up_the_rest(self) -> None:
        stuck = Candidate(uuid.uuid4(), Requirement("demo", "prove.merkle"), State.PENDING)
        assert _given([stuck, *_candidates(1)], [_worker("a")], "least-loaded") == ["a"]

    @given(
        st.lists(st.tuples(st.integers(1, 5), st.integers(0, 6)), max_size=8),
        st.integers(0, 40),
        st.sampled_from(sorted(STRATEGIES)),
        st.integers(0, 2),
    )
    def test_no_strategy_overloads_or_idles(
        self, sizes: list[tuple[int, int]], count: int, strategy: str, prefetch: int
    ) -> None:
        workers = [
            _worker(f"w-{i}", capacity=capacity, load=load)
            for i, (capacity, load) in enumerate(sizes)
        ]
        placements = place(_candidates(count), workers, STRATEGIES[strategy](), prefetch)
        room = {worker.id: max(0, worker.capacity + prefetch - worker.load) for worker in workers}
        assert len(placements) == min(count, sum(room.values()))
        for name, places in room.items():
            assert sum(one.worker_id == name for one in placements) <= places


class TestStrategies:
    def test_round_robin_takes_turns_whatever_the_load(self) -> None:
        workers = [_worker("a", load=1), _worker("b", capacity=9), _worker("c")]
        assert _given(_candidates(4), workers, "round-robin") == ["a", "b", "c", "b"]

    def test_least_loaded_goes_by_the_part_in_use(self) -> None:
        workers = [_worker("small", load=1), _worker("large", capacity=10, load=4)]
        assert _given(_candidates(1), workers, "least-loaded") == ["large"]

    def test_least_loaded_spreads_over_equals(self) -> None:
        workers = [_worker(name, capacity=3) for name in "abc"]
        assert sorted(_given(_candidates(6), workers, "least-loaded")) == sorted("aabbcc")

    def test_priority_goes_to_the_strongest(self) -> None:
        workers = [_worker("weak"), _worker("strong", capacity=8, load=7)]
        chosen = place(_candidates(2), workers, Priority(), prefetch=0)
        assert [one.worker_id for one in chosen] == ["strong", "weak"]


class TestAging:
    def test_first_come_first_served_among_equals(self) -> None:
        assert rank(10, submitted=100.0) > rank(10, submitted=100.001)

    def test_priority_goes_first(self) -> None:
        assert rank(11, submitted=101.0) > rank(10, submitted=100.0)

    def test_five_points_are_worth_a_minute(self) -> None:
        assert rank(15, submitted=60.0) == rank(10, submitted=0.0)

    def test_nothing_starves(self) -> None:
        old = rank(0, submitted=0.0)
        assert old > rank(1000, submitted=200 * 60 + 1)
