"""What a request may carry; every check names the field, its value and what is allowed.

Sizes that storage nodes keep to as well are those of `muster_kv.limits`.
"""

from collections.abc import Callable
from typing import ParamSpec

from muster_kv import limits
from muster_kv.limits import BATCH_BYTES, VALUE_BYTES, LimitError
from muster_kv_coordinator.core.errors import ErrorCode, KvError, invalid

__all__ = ["BATCH_BYTES", "VALUE_BYTES"]

SCAN_PAGE = 1000
LONGEST_TTL_SECONDS = 10 * 365 * 86400
NODE_ID_BYTES = 253
VIRTUAL_NODES = 4096

P = ParamSpec("P")


def _refusing(check: Callable[P, None]) -> Callable[P, None]:
    """The check, as one that raises INVALID_REQUEST."""

    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            check(*args, **kwargs)
        except LimitError as error:
            raise KvError(ErrorCode.INVALID_REQUEST, str(error)) from None

    return checked


check_tenant = _refusing(limits.check_tenant)
check_key = _refusing(limits.check_key)
check_value = _refusing(limits.check_value)
check_idempotency_key = _refusing(limits.check_idempotency_key)
check_batch = _refusing(limits.check_batch)
check_context = _refusing(limits.check_context)


def check_ttl(seconds: int) -> None:
    """Raise INVALID_REQUEST for a time to live that is negative or beyond reason."""
    if not 0 <= seconds <= LONGEST_TTL_SECONDS:
        raise invalid("ttl_seconds", seconds, f"0 for ever, or up to {LONGEST_TTL_SECONDS}")


def check_prefix(prefix: str) -> None:
    """Raise INVALID_REQUEST for a prefix that no key can have."""
    if len(prefix.encode()) > limits.KEY_BYTES:
        raise invalid("prefix", prefix, f"at most {limits.KEY_BYTES} bytes of UTF-8")


def page_size(asked: int) -> int:
    """How many keys a page of a scan has; 100 where 0 is asked for.

    Raises:
        KvError: INVALID_REQUEST.
    """
    if not 0 <= asked <= SCAN_PAGE:
        raise invalid("page_size", asked, f"1 to {SCAN_PAGE}, or 0 for 100")
    return asked or 100


def check_factor(factor: int) -> None:
    """Raise INVALID_REPLICATION_FACTOR for one that no cluster could have."""
    if factor not in limits.REPLICATION_FACTOR:
        most = limits.REPLICATION_FACTOR[-1]
        text = f"replication_factor: got {factor}; allowed: 1 to {most}"
        raise KvError(ErrorCode.INVALID_REPLICATION_FACTOR, text)


def check_node(node_id: str, host: str, port: int, virtual_nodes: int, zone: str) -> None:
    """Raise INVALID_REQUEST for what can't be a storage node."""
    check_node_id(node_id)
    if not _name(host) or "/" in host:
        raise invalid("host", host, "a host name or an address")
    if not 1 <= port <= 65535:
        raise invalid("port", port, "1 to 65535")
    if not 1 <= virtual_nodes <= VIRTUAL_NODES:
        raise invalid("virtual_nodes", virtual_nodes, f"1 to {VIRTUAL_NODES}, or 0 for 150")
    if zone and not _name(zone):
        raise invalid("zone", zone, f"at most {NODE_ID_BYTES} printable bytes")


def check_node_id(node_id: str) -> None:
    """Raise INVALID_REQUEST for what can't be the name of a storage node."""
    if not _name(node_id) or "#" in node_id:
        raise invalid("node_id", node_id, f"1 to {NODE_ID_BYTES} printable bytes without '#'")


def _name(text: str) -> bool:
    return 0 < len(text.encode()) <= NODE_ID_BYTES and text.isprintable() and " " not in text
