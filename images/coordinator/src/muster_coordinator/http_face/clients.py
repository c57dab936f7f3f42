"""Whose request it is: an address, and never a port, as each connection has another one."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import Scope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# What one subscriber is usually given.
_IPV6_PREFIX = 64


def client(scope: Scope, trusted: Sequence[Network]) -> str:
    """The client that a request counts for: an IPv4 address or an IPv6 network of /64.

    `X-Forwarded-For` is read from its end, where the nearest proxy wrote, and only as long as the
    one who wrote it is trusted.

    Args:
        trusted: networks of proxies.
    """
    peer = scope.get("client")
    nearest = _address(peer[0]) if peer else None
    if nearest is None:
        return "unknown"
    forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for"))
    for entry in reversed(forwarded.split(",")):
        if not any(nearest in network for network in trusted):
            break
        further = _address(entry)
        if further is None:
            break
        nearest = further
    return _counted(nearest)


def of_peer(peer: str) -> str:
    """The client that a gRPC call counts for, as `client`.

    Args:
        peer: as gRPC says it: `ipv4:192.0.2.1:4000` or `ipv6:%5B2001:db8::1%5D:4000`.
    """
    address = _address(unquote(peer.partition(":")[2]))
    return "unknown" if address is None else _counted(address)


def _counted(address: Address) -> str:
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)


def _address(text: str) -> Address | None:
    """An address, with or without a port; IPv4 where it is mapped into IPv6."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
