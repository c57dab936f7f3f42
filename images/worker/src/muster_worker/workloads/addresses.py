"""Which network addresses a task may speak to."""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from muster_sdk import Failed, InvalidInput

_Network = IPv4Network | IPv6Network

_METADATA = tuple(map(ip_network, ("169.254.0.0/16", "fd00:ec2::/32", "100.100.100.200/32")))
"""Where clouds tell a machine its secrets, beside what is link-local."""

_TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("2002::/16"))
"""IPv6 addresses that hold an IPv4 address: in the last 32 bits, and behind the first 16."""


def networks(name: str, listed: Iterable[str]) -> tuple[_Network, ...]:
    """Networks as they are configured.

    Raises:
        InvalidInput: one is none.
    """
    found = []
    for place, text in enumerate(listed):
        try:
            found.append(ip_network(text))
        except ValueError:
            raise InvalidInput(
                f"{name}[{place}]", f"{text[:64]!r}", "a network such as 10.0.0.0/8"
            ) from None
    return tuple(found)


class Addresses:
    """Looks up names, and refuses addresses that are the machine's own affair.

    Args:
        allowed: networks that are not refused.
    """

    def __init__(self, allowed: Iterable[_Network]) -> None:
        self._allowed = tuple(allowed)

    def resolve(self, host: str, port: int) -> str:
        """An address of `host`.

        Raises:
            InvalidInput: one of its addresses is refused.
            Failed: it has none now.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise Failed(f"{host}: no address: {error}") from None
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if self.refused(address):
                raise InvalidInput(
                    "url",
                    f"at {address}",
                    "hosts with no link-local, loopback or metadata address, but for the networks "
                    "in the worker's options.http.allow",
                )
        return addresses[0]

    def refused(self, text: str) -> bool:
        """Whether nobody may speak to this address."""
        address = _plain(ip_address(text.partition("%")[0]))
        if any(address in network for network in self._allowed):
            return False
        return (
            address.is_link_local
            or address.is_loopback
            or address.is_multicast
            or address.is_unspecified
            or address.is_reserved
            or any(address in network for network in _METADATA)
        )


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for; any other one as it is."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    nat64, sixtofour = _TRANSLATED
    if address in nat64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in sixtofour:
        return IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return address
