"""API keys: `nyt_<customer>_<32 characters>`, and `nyt_admin_<32 characters>` of administrators.

The secret part has 190 bits of randomness, so that one round of SHA-256 is all that its digest
needs: nobody finds such a key by trying, and it is found in the database by its digest.
"""

import hashlib
import re
import secrets
import string
from dataclasses import dataclass, field
from pathlib import Path

from muster_coordinator.engine.model import DEFAULT_CUSTOMER

_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 32
_SHOWN = 8
_ADMIN = "admin"
_TAKEN = frozenset({_ADMIN, DEFAULT_CUSTOMER})
_CUSTOMER = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(rf"nyt_{_CUSTOMER.pattern}_[A-Za-z0-9]{{{_SECRET_LENGTH}}}")

CUSTOMER_IDS = (
    "1 to 63 lower-case letters, digits and hyphens, neither first nor last a hyphen, "
    "and not admin or default"
)
"""What a customer may be called; `admin` and `default` are taken."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it is made; its text is shown once and kept nowhere.

    Attributes:
        prefix: its beginning, by which it is named in lists, logs and the audit.
        digest: SHA-256 of its text.
    """

    text: str = field(repr=False)
    prefix: str
    digest: bytes


def is_customer_id(text: str) -> bool:
    """Whether a customer may be called so."""
    return _CUSTOMER.fullmatch(text) is not None and text not in _TAKEN


def new_key(customer_id: str | None) -> NewKey:
    """A key of a customer, or of an administrator where that is None.

    Raises:
        ValueError: no customer may be called so.
    """
    if customer_id is not None and not is_customer_id(customer_id):
        raise ValueError(f"customer is {customer_id[:64]!r}; allowed: {CUSTOMER_IDS}")
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    owner = f"nyt_{customer_id or _ADMIN}_"
    text = owner + secret
    return NewKey(text, owner + secret[:_SHOWN], digest(text))


def digest(text: str) -> bytes:
    """What stands for a key in the database."""
    return hashlib.sha256(text.encode()).digest()


def looks_like_key(text: str) -> bool:
    """Whether a bearer token has the form of a key."""
    return _KEY.fullmatch(text) is not None


def shown(text: str) -> str:
    """The beginning of a key, by which it is named in lists, logs and the audit."""
    return text[: -_SECRET_LENGTH + _SHOWN]


def read_digests(path: Path) -> frozenset[bytes]:
    """The digests in a file that lists those of administrators' keys, in hexadecimal, one a line.

    Raises:
        ValueError: it can't be read, or there is something else in it.
    """
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no ASCII text"
        raise ValueError(f"{DIGESTS}; this one: {reason}") from None
    if not lines or not all(map(_DIGEST.fullmatch, lines)):
        raise ValueError(DIGESTS)
    return frozenset(map(bytes.fromhex, lines))


DIGESTS = "a file with the SHA-256 of one or more keys, one a line, each 64 lower-case hex digits"
"""What says which keys are administrators' without the database."""
