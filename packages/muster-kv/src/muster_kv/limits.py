"""Sizes that requests keep to; each error names field, value and what is allowed."""

from collections.abc import Callable

from muster_kv.clock import VectorClock

KEY_BYTES = 1024
VALUE_BYTES = 10 * 1024 * 1024
TENANT_BYTES = 256
IDEMPOTENCY_KEY_BYTES = 256
REPLICATION_FACTOR = range(1, 11)
BATCH_ITEMS = 1000
BATCH_BYTES = 32 * 1024 * 1024
CONTEXT_ENTRIES = 256
ACTOR_BYTES = 300
# Counters fit a JSON number; room for microseconds since 1970 until the year 2255.
COUNTER = 2**53 - 1
SIBLINGS = 100
SIBLING_BYTES = 2 * VALUE_BYTES


class LimitError(ValueError):
    """A field is out of its limits."""

    def __init__(self, field: str, got: str, allowed: str) -> None:
        super().__init__(f"{field}: {got}; allowed: {allowed}")
        self.field = field


def check_tenant(tenant: str) -> None:
    """Raise LimitError unless this can be a tenant's id."""
    _check_length("tenant_id", tenant, TENANT_BYTES)
    if ":" in tenant or "\0" in tenant:
        raise LimitError("tenant_id", repr(tenant), "no ':' and no NUL")


def check_key(key: str) -> None:
    """Raise LimitError unless this can be a key."""
    _check_length("key", key, KEY_BYTES)


def check_value(value: bytes) -> None:
    """Raise LimitError where a value is too large; an empty one is a value."""
    if len(value) > VALUE_BYTES:
        raise LimitError("value", f"{len(value)} bytes", f"at most {VALUE_BYTES} bytes")


def check_idempotency_key(key: str) -> None:
    """Raise LimitError where an idempotency key is too long; an empty one is none."""
    if key:
        _check_length("idempotency_key", key, IDEMPOTENCY_KEY_BYTES)


def check_batch(items: int, size: int) -> None:
    """Raise LimitError unless so many items of `size` bytes in all may come at once."""
    if not 1 <= items <= BATCH_ITEMS:
        raise LimitError("batch", f"{items} items", f"1 to {BATCH_ITEMS} items")
    if size > BATCH_BYTES:
        raise LimitError("batch", f"{size} bytes", f"at most {BATCH_BYTES} bytes")


def check_context(clock: VectorClock, known: Callable[[str], bool] | None = None) -> None:
    """Raise LimitError unless a client can have been given this context.

    `known` tells whether an actor's name belongs to a storage node that was ever a member.
    """
    if len(clock) > CONTEXT_ENTRIES:
        raise LimitError("context", f"{len(clock)} entries", f"at most {CONTEXT_ENTRIES} entries")
    for actor, counter in clock.items():
        _check_length("context actor", actor, ACTOR_BYTES)
        if not 1 <= counter <= COUNTER:
            raise LimitError(f"context[{actor}]", str(counter), f"1 to {COUNTER}")
        if known is not None and not known(actor):
            raise LimitError("context actor", repr(actor), "those of clocks that were returned")


def _check_length(field: str, text: str, most: int) -> None:
    size = len(text.encode())
    if not 1 <= size <= most:
        raise LimitError(field, f"{size} bytes", f"1 to {most} bytes")
