"""RocksDB is stuck when it refuses writes without need for longer than it should take."""

from muster_storage.refusing import PATIENCE, Refusing


class Watch:
    """Seconds that somebody else says."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_it_is_given_time_to_see_that_it_can_go_on() -> None:
    watch = Watch()
    refusing = Refusing(watch)
    assert (refusing.some, refusing.stuck) == (False, False)
    refusing.refused(needless=True)
    watch.seconds = PATIENCE - 1
    refusing.refused(needless=True)
    assert (refusing.some, refusing.stuck) == (True, False)
    watch.seconds = PATIENCE
    assert refusing.stuck


def test_while_there_is_need_no_time_passes() -> None:
    watch = Watch()
    refusing = Refusing(watch)
    refusing.refused(needless=True)
    watch.seconds = 2 * PATIENCE
    refusing.refused(needless=False)
    assert (refusing.some, refusing.stuck) == (True, False)
    refusing.refused(needless=True)
    assert not refusing.stuck
    watch.seconds = 3 * PATIENCE
    assert refusing.stuck


def test_a_write_that_is_taken_ends_it() -> None:
    watch = Watch()
    refusing = Refusing(watch)
    refusing.refused(needless=True)
    watch.seconds = PATIENCE
    refusing.over()
    assert (refusing.some, refusing.stuck) == (False, False)
