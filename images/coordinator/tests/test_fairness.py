"""Parts of the fleet in proportion to weights."""

from collections import Counter
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from muster_coordinator.engine.customers import TERMS, Customer, Tier
from muster_coordinator.engine.model import Requirement
from muster_coordinator.engine.scheduling import Candidate, fair_order
from muster_coordinator.engine.states import State

NEED = Requirement("general", "sleep")
WEIGHTS = {tier.value: terms.weight for tier, terms in TERMS.items()}


def _waiting(**counts: int) -> list[Candidate]:
    return [
        Candidate(uuid4(), NEED, State.PENDING, customer_id=customer)
        for customer, count in counts.items()
        for _ in range(count)
    ]


def _first(count: int, candidates: list[Candidate], **held: int) -> Counter[str]:
    ordered = fair_order(candidates, WEIGHTS, held)
    return Counter(one.customer_id for one in ordered[:count])


def test_tiers_get_parts_by_their_weights() -> None:
    waiting = _waiting(free=500, standard=500, premium=500, enterprise=500)
    shares = _first(161, waiting)
    assert shares == {"free": 1, "standard": 10, "premium": 50, "enterprise": 100}


def test_what_is_held_already_counts() -> None:
    shares = _first(5, _waiting(standard=9, premium=9), premium=50, standard=8)
    assert shares == {"standard": 3, "premium": 2}


def test_nobody_waits_for_customers_that_have_nothing_waiting() -> None:
    assert _first(9, _waiting(free=9)) == {"free": 9}


def test_a_flood_of_one_holds_up_no_other() -> None:
    waiting = _waiting(stranger=1000, other=1)
    assert "other" in [one.customer_id for one in fair_order(waiting, {}, {})[:2]]


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(0, 20)),
    st.dictionaries(st.sampled_from("abcde"), st.floats(0.1, 100)),
    st.dictionaries(st.sampled_from("abcde"), st.integers(0, 50)),
)
def test_everybody_is_in_it_once_and_each_in_order(
    counts: dict[str, int], weights: dict[str, float], held: dict[str, int]
) -> None:
    waiting = _waiting(**counts)
    ordered = fair_order(waiting, weights, held)
    assert len(ordered) == len(waiting)
    for customer in counts:
        own = [one for one in waiting if one.customer_id == customer]
        assert [one for one in ordered if one.customer_id == customer] == own


def test_limits_of_a_customer_go_before_those_of_its_tier() -> None:
    assert Customer("x").terms == TERMS[Tier.FREE]
    terms = Customer("x", tier=Tier.STANDARD, max_concurrent=7, max_queued=0).terms
    assert (terms.max_concurrent, terms.max_queued, terms.weight) == (7, 0, 10.0)
