"""Changed parts of the token space are never taken for unchanged."""

from hypothesis import given
from hypothesis import strategies as st

from muster_storage.marks import Marks

tokens = st.integers(0, 2**64 - 1)


@given(tokens, tokens, tokens)
def test_a_change_is_seen_in_every_range_that_holds_it(token: int, a: int, b: int) -> None:
    marks = Marks()
    seen = marks.now
    marks.committed([token])
    first, last = min(a, token), max(b, token)
    assert marks.changed_since(seen, first, last)
    assert not marks.changed_since(marks.now, first, last)


def test_other_parts_stay_unchanged() -> None:
    marks = Marks()
    seen = marks.now
    marks.committed([2**63])
    assert not marks.changed_since(seen, 0, 2**63 - 1)
    assert marks.changed_since(seen, 2**63, 2**63)
