"""Keys in RocksDB lie in the order of their tokens."""

from hypothesis import given
from hypothesis import strategies as st

from muster_kv.ranges import TokenRange
from muster_kv.slots import slot, token_of
from muster_storage import layout

tokens = st.integers(0, 2**64 - 1)
names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


@given(tokens, tokens, names, names)
def test_a_range_of_tokens_is_one_run_of_keys(a: int, b: int, tenant: str, key: str) -> None:
    start, stop = min(a, b), max(a, b) + 1
    first, end = TokenRange(start, stop - 1).slots()
    held = slot(tenant, key)
    inside = first <= held and (end is None or held < end)
    assert inside == (start <= token_of(held) < stop)


@given(names, names, names)
def test_a_hint_can_be_taken_apart_again(node: str, tenant: str, key: str) -> None:
    held = slot(tenant, key)
    hint = layout.hint_key(node, held)
    assert layout.hint_place(hint) == (node, held)
    prefix = layout.hint_prefix(node)
    assert prefix <= hint < layout.prefix_end(prefix)


def test_numbers_have_a_value_before_they_are_written() -> None:
    assert layout.unpack_totals(None) == (0, 0)
    assert layout.unpack_totals(layout.pack_totals(3, 2**40)) == (3, 2**40)
    assert layout.unpack_number(None) == 0
    assert layout.unpack_number(layout.pack_number(7)) == 7
