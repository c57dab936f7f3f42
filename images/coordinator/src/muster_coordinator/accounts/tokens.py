"""JSON Web Tokens (RFC 7519): signed by whoever knows the customers, and judged here offline.

Claims: `sub` is the customer, `exp` the end, both must be there; `tier` may name the customer's
tier, and `admin: true` makes an administrator of the caller.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from muster_coordinator.accounts.callers import Identity
from muster_coordinator.accounts.errors import Unauthenticated
from muster_coordinator.accounts.keys import CUSTOMER_IDS, is_customer_id
from muster_coordinator.engine.customers import Tier
from muster_runtime.filemarks import mark

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")

LEEWAY_SECONDS = 10
"""How far the clocks of issuer and coordinator may differ."""

_SHORTEST_SECRET = 32
_LONGEST_SUBJECT = 253

TIERS = ", ".join(Tier)


class KeysError(ValueError):
    """A file has no keys to check tokens with; the text says what it should hold."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens count.

    Args:
        path: a PEM file with a public key, or with the secret of HS256; or a JWK set.
        algorithm: of the key in the file; empty for a JWK set.
        issuer, audience: what the claims `iss` and `aud` must say; empty where they may be
            missing. A token for an audience is refused where none is set.
    """

    path: Path
    algorithm: str
    issuer: str = ""
    audience: str = ""


class Tokens:
    """Judges tokens with the keys of a file, which is read again when it changes.

    Raises:
        KeysError: the file can't be used at the start.
    """

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._mark = mark(issuer.path)
        self._keys = read_keys(issuer.path, issuer.algorithm)

    def identity(self, token: str) -> Identity:
        """Whose token it is.

        Raises:
            Unauthenticated: it is not good, or does not say.
        """
        try:
            claims = jwt.decode(
                token,
                self._key(token),
                options={"require": ["exp", "sub"]},
                issuer=self._issuer.issuer or None,
                audience=self._issuer.audience or None,
                leeway=LEEWAY_SECONDS,
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token in authorization is not good: {error}") from None
        return _identity(claims)

    def _key(self, token: str) -> jwt.PyJWK:
        """The key that a token names; where it names none, the only one."""
        self._refresh()
        name = jwt.get_unverified_header(token).get("kid")
        if name is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        # A key of a PEM file has no name.
        found = self._keys.get(str(name), self._keys.get(""))
        if found is None:
            raise jwt.InvalidKeyError("kid names no key that is known here")
        return found

    def _refresh(self) -> None:
        """Read the file again where it was replaced; keep the keys where it can't be used."""
        now = mark(self._issuer.path)
        if now == self._mark:
            return
        try:
            self._keys = read_keys(self._issuer.path, self._issuer.algorithm)
        except KeysError:
            return
        self._mark = now


def read_keys(path: Path, algorithm: str) -> dict[str, jwt.PyJWK]:
    """The keys of a file by their names; "" stands for one without a name.

    Args:
        algorithm: of the one key in it; empty for a JWK set.

    Raises:
        KeysError: it has none, or others than `ALGORITHMS` need.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KeysError(f"a file that can be read; this one: {error.strerror}") from None
    return {"": _single(data, algorithm)} if algorithm else _set(data)


def _single(data: bytes, algorithm: str) -> jwt.PyJWK:
    if algorithm == "HS256":
        secret = data.strip()
        if len(secret) < _SHORTEST_SECRET:
            raise KeysError(f"at least {_SHORTEST_SECRET} bytes, as jwt_algorithm is HS256")
        document = {"kty": "oct", "k": jwt.utils.base64url_encode(secret).decode()}
        return jwt.PyJWK(document, algorithm)
    allowed = f"a public key in PEM, as jwt_algorithm is {algorithm}"
    if b"PRIVATE KEY" in data:
        raise KeysError(f"{allowed}; this one is private")
    try:
        made = jwt.get_algorithm_by_name(algorithm)
        document = made.to_jwk(made.prepare_key(data), as_dict=True)
        return jwt.PyJWK(document, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise KeysError(allowed) from None


def _set(data: bytes) -> dict[str, jwt.PyJWK]:
    allowed = f"a JWK set, each key with a kid, for {', '.join(ALGORITHMS)}"
    try:
        document = json.loads(data)
        keys = jwt.PyJWKSet.from_dict(document).keys
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
        raise KeysError(allowed) from None
    found = {key.key_id: key for key in keys if key.key_id and key.algorithm_name in ALGORITHMS}
    # The library leaves out what it can't use.
    if len(found) < len(document["keys"]):
        raise KeysError(allowed)
    return found


def _identity(claims: Mapping[str, Any]) -> Identity:
    """What the claims of a good token say.

    Raises:
        Unauthenticated: something that can't be right.
    """
    subject, until = str(claims["sub"]), float(claims["exp"])
    admin = claims.get("admin", False)
    if not isinstance(admin, bool):
        raise Unauthenticated("admin in the token is no boolean; allowed: true or false")
    if admin:
        return Identity(subject[:_LONGEST_SUBJECT], None, until=until)
    if not is_customer_id(subject):
        raise Unauthenticated(f"sub in the token is no customer; allowed: {CUSTOMER_IDS}")
    tier = claims.get("tier")
    if tier is not None and tier not in list(Tier):
        raise Unauthenticated(f"tier in the token is not known; allowed: {TIERS}")
    return Identity(subject, subject, None if tier is None else Tier(tier), until)
