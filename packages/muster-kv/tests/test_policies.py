"""Limits: numbers in, decisions out."""

import pytest

from muster_kv import limits
from muster_kv.limits import LimitError
from muster_kv.ops import fresh_op, op_of
from muster_kv.wire.backoff import Backoff


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (lambda: limits.check_tenant(""), "tenant_id: 0 bytes; allowed: 1 to 256 bytes"),
        (lambda: limits.check_tenant("é" * 129), "tenant_id: 258 bytes; allowed: 1 to 256"),
        (lambda: limits.check_tenant("a:b"), "tenant_id: 'a:b'; allowed: no ':' and no NUL"),
        (lambda: limits.check_tenant("a\0"), "no ':' and no NUL"),
        (lambda: limits.check_key(""), "key: 0 bytes; allowed: 1 to 1024 bytes"),
        (lambda: limits.check_key("k" * 1025), "key: 1025 bytes; allowed: 1 to 1024 bytes"),
        (
            lambda: limits.check_value(bytes(limits.VALUE_BYTES + 1)),
            "value: 10485761 bytes; allowed: at most 10485760 bytes",
        ),
        (lambda: limits.check_idempotency_key("i" * 257), "idempotency_key: 257 bytes"),
        (lambda: limits.check_batch(0, 0), "batch: 0 items; allowed: 1 to 1000 items"),
        (lambda: limits.check_batch(1001, 0), "batch: 1001 items"),
        (lambda: limits.check_batch(1, 2**26), "batch: 67108864 bytes; allowed: at most"),
        (lambda: limits.check_context({"a": 0}), r"context[a]: 0; allowed: 1 to"),
        (lambda: limits.check_context({"a": 2**53}), r"context[a]: 9007199254740992; allowed"),
        (
            lambda: limits.check_context({str(number): 1 for number in range(257)}),
            "context: 257 entries; allowed: at most 256 entries",
        ),
        (
            lambda: limits.check_context({"x": 1}, "ab".__contains__),
            "context actor: 'x'; allowed: those of clocks that were returned",
        ),
    ],
)
def test_what_is_out_of_limits_is_named(check: object, sentence: str) -> None:
    with pytest.raises(LimitError) as caught:
        check()  # type: ignore[operator]
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(caught.value.field)


def test_what_is_within_limits_passes() -> None:
    limits.check_tenant("t" * 256)
    limits.check_key("k" * 1024)
    limits.check_value(b"")
    limits.check_value(bytes(limits.VALUE_BYTES))
    limits.check_idempotency_key("")
    limits.check_batch(1000, limits.BATCH_BYTES)
    limits.check_context({"kv-0#1a2b3c4d": 2**53 - 1}, lambda actor: actor.startswith("kv-0"))


def test_backoff_doubles_to_its_most_and_begins_anew() -> None:
    backoff = Backoff(0.1, 0.5)
    assert [backoff.next(1.0) for _ in range(4)] == [0.1, 0.2, 0.4, 0.5]
    assert backoff.next(0.0) == 0.25
    backoff.reset()
    assert backoff.next(1.0) == 0.1


def test_operations_have_names_that_tell_whether_they_are_remembered() -> None:
    assert op_of("t", "k", "i") == op_of("t", "k", "i")
    assert len({op_of("t", "ki", ""), op_of("t", "k", "i"), op_of("tk", "", "i")}) == 3
    assert op_of("t", "k", "i")[0] & 0x80
    assert not fresh_op(b"\xff" * 16)[0] & 0x80
    assert len(fresh_op(bytes(16))) == len(op_of("t", "k", "i")) == 16
