"""How long a replica may take over a write."""

from muster_kv_coordinator.core.patience import Patience


def test_an_unknown_replica_gets_a_quarter_of_a_second() -> None:
    assert Patience(0.05).seconds("n") == 0.25


def test_a_fast_one_gets_little_and_never_less_than_the_least() -> None:
    patience = Patience(0.05)
    for _ in range(50):
        patience.answered("n", 0.001)
    assert patience.seconds("n") == 0.05


def test_one_that_is_late_gets_more_up_to_a_second() -> None:
    patience = Patience(0.05)
    given = []
    for _ in range(8):
        given.append(patience.seconds("n"))
        patience.late("n", given[-1], now=0.0)
    assert given[1] > given[0]
    assert patience.seconds("n") == 1.0


def test_one_that_is_late_comes_after_the_others_for_a_while() -> None:
    patience = Patience(0.05)
    patience.late("n", 0.1, now=10.0)
    assert patience.suspects("n", 10.05)
    assert not patience.suspects("m", 10.05)
    assert not patience.suspects("n", 10.2)
    patience.late("n", 0.1, now=10.2)
    assert patience.suspects("n", 10.35)
    patience.answered("n", 0.1)
    assert not patience.suspects("n", 10.35)
