"""What requests may carry, and what is said of those that carry more."""

from typing import Any

import pytest

from muster_kv.errors import ErrorCode
from muster_kv_coordinator.core import limits
from muster_kv_coordinator.core.errors import KvError

NODE: dict[str, Any] = {
    "node_id": "n-1",
    "host": "n-1.example",
    "port": 50052,
    "virtual_nodes": 150,
    "zone": "",
}


def test_a_node_as_it_should_be() -> None:
    limits.check_node(**NODE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("node_id", ""),
        ("node_id", "a b"),
        ("node_id", "a#b"),
        ("node_id", "n" * 254),
        ("host", ""),
        ("host", "a/b"),
        ("port", 0),
        ("port", 65536),
        ("virtual_nodes", 0),
        ("virtual_nodes", 4097),
        ("zone", "a b"),
    ],
)
def test_what_can_not_be_a_node(field: str, value: object) -> None:
    with pytest.raises(KvError, match=f"^INVALID_REQUEST: {field}: got .*; allowed: ") as refused:
        limits.check_node(**NODE | {field: value})
    assert refused.value.code is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize(
    ("check", "good", "bad", "field"),
    [
        (limits.check_tenant, ["t", "ü" * 128], ["", "a:b", "t" * 257, "ü" * 129], "tenant_id"),
        (limits.check_key, ["k", "k" * 1024, "a:b"], ["", "k" * 1025, "ü" * 513], "key"),
        (limits.check_value, [b"", bytes(10 << 20)], [bytes((10 << 20) + 1)], "value"),
        (limits.check_idempotency_key, ["", "k" * 256], ["k" * 257], "idempotency_key"),
        (limits.check_ttl, [0, 1, 315_360_000], [-1, 315_360_001], "ttl_seconds"),
        (limits.check_prefix, ["", "p" * 1024], ["p" * 1025], "prefix"),
        (limits.page_size, [0, 1, 1000], [-1, 1001], "page_size"),
    ],
)
def test_sizes(check: Any, good: list[Any], bad: list[Any], field: str) -> None:
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(KvError, match=f"^INVALID_REQUEST: {field}: .*; allowed: ") as refused:
            check(value)
        assert refused.value.code is ErrorCode.INVALID_REQUEST
        assert len(str(refused.value)) < 300


def test_batches() -> None:
    limits.check_batch(1000, limits.BATCH_BYTES)
    for items, size in ((0, 0), (1001, 0), (1, limits.BATCH_BYTES + 1)):
        with pytest.raises(KvError, match=r"^INVALID_REQUEST: batch: .*; allowed: "):
            limits.check_batch(items, size)
