"""The certificate of the metrics API and its authority."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from muster_operator.certificates import (
    Authority,
    Pair,
    Subject,
    Usage,
    issue,
    kept_authority,
    kept_pair,
    new_authority,
)

_AUTHORITY = "muster-metrics-ca"


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM texts: the authorities that are trusted, the newest first, its key, and the server's."""

    authorities: bytes
    authority_key: bytes
    server: bytes
    server_key: bytes


def first(names: Sequence[str], now: datetime) -> Certificates:
    """A new authority, and a certificate for the DNS `names`."""
    authority = new_authority(_AUTHORITY, now)
    return _joined(authority, issue(authority, _subject(names), now))


def renewed(held: Certificates, names: Sequence[str], now: datetime) -> Certificates:
    """`held` with whatever is due made anew; the same object where nothing is.

    Raises:
        ValueError: `held` can't be read.
    """
    authority = kept_authority(Authority(held.authorities, held.authority_key), _AUTHORITY, now)
    pair = kept_pair(Pair(held.server, held.server_key), authority, _subject(names), now)
    fresh = _joined(authority, pair)
    return held if fresh == held else fresh


def _subject(names: Sequence[str]) -> Subject:
    return Subject(tuple(names), Usage.SERVER)


def _joined(authority: Authority, pair: Pair) -> Certificates:
    return Certificates(authority.certificates, authority.key, pair.certificate, pair.key)
