"""Who asks: a tenant, an administrator, or, where nobody is asked, anybody.

Tokens are JWTs with the claim `tenant`, or `admin: true`. PyJWT checks them.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from muster_kv_coordinator.core.errors import ErrorCode, KvError, shown
from muster_kv_coordinator.security import AuthSection

_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
_LEAST_SECRET_BYTES = 32
_LEEWAY_SECONDS = 30
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Args:
        tenant: whose data may be read and written; None for none.
        admin: whether tenants and topology may be changed, and any data reached.
    """

    tenant: str | None
    admin: bool = False

    def check_tenant(self, tenant: str) -> None:
        """Raise FORBIDDEN where this may not reach the data of a tenant."""
        if not self.admin and self.tenant != tenant:
            raise KvError(ErrorCode.FORBIDDEN, f"this token is not for tenant {shown(tenant)}")

    def check_admin(self) -> None:
        """Raise FORBIDDEN where this may not administrate."""
        if not self.admin:
            raise KvError(ErrorCode.FORBIDDEN, "this takes a token with the claim admin: true")


@dataclass(frozen=True, slots=True)
class _Key:
    """A key, and what tokens that are signed with it have to say."""

    key: Any
    algorithms: list[str]
    issuer: str | None = None
    audience: str | None = None


ANYBODY = Identity(None, admin=True)
"""Where no tokens are asked for."""


class Tokens:
    """Judges what a request shows.

    Raises:
        ValueError: the key files can't be used; the text shows nothing of them.
    """

    def __init__(self, section: AuthSection) -> None:
        self._open = section.mode == "disabled"
        self._names = frozenset(section.admin_common_names)
        self._keys = [] if self._open else _keys(section)
        # By token, until it expires: checking a signature costs more than all else in a read.
        self._known: OrderedDict[str, tuple[Identity, float]] = OrderedDict()

    def judge(self, header: str, common_name: str = "") -> Identity:
        """Who shows `header`, the value of `authorization`.

        Args:
            common_name: of a client's certificate that an authority of ours has signed.

        Raises:
            KvError: UNAUTHORIZED.
        """
        if self._open:
            return ANYBODY
        kind, _, token = header.partition(" ")
        token = token.strip()
        if not token and common_name in self._names:
            return Identity(None, admin=True)
        if kind.lower() != "bearer" or not token:
            raise _unauthorized("a bearer token is missing")
        known = self._known.get(token)
        if known is not None and known[1] > time.time():
            return known[0]
        identity, expires = self._check(token)
        self._known[token] = (identity, expires)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return identity

    def _check(self, token: str) -> tuple[Identity, float]:
        claims = self._claims(token)
        tenant, admin = claims.get("tenant"), claims.get("admin", False)
        if not isinstance(admin, bool) or not (tenant is None or isinstance(tenant, str)):
            raise _unauthorized("the claims tenant (text) and admin (boolean) are of another type")
        if not tenant and not admin:
            raise _unauthorized("the token has no claim tenant")
        return Identity(tenant or None, admin), float(claims["exp"]) + _LEEWAY_SECONDS

    def _claims(self, token: str) -> Mapping[str, Any]:
        reason = "it is signed with no key of ours"
        for each in self._keys:
            try:
                claims: Mapping[str, Any] = jwt.decode(
                    token,
                    each.key,
                    algorithms=each.algorithms,
                    issuer=each.issuer,
                    audience=each.audience,
                    leeway=_LEEWAY_SECONDS,
                    options={"require": ["exp"], "verify_aud": each.audience is not None},
                )
            except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
                continue
            except jwt.PyJWTError as error:
                reason = str(error)[:100]
                continue
            return claims
        raise _unauthorized(f"the token is refused: {reason}")


def _unauthorized(message: str) -> KvError:
    return KvError(ErrorCode.UNAUTHORIZED, message)


def _keys(section: AuthSection) -> list[_Key]:
    who = (section.issuer or None, section.audience or None)
    if section.secret_file is not None:
        found = [_Key(_secret("auth.secret_file", section.secret_file), ["HS256"], *who)]
    else:
        found = [_Key(key, algorithms, *who) for key, algorithms in _public_keys(section)]
    if section.admin_secret_file is not None:
        secret = _secret("auth.admin_secret_file", section.admin_secret_file)
        found.append(_Key(secret, ["HS256"]))
    return found


def _secret(key: str, path: Path) -> bytes:
    secret = _read(key, path).strip()
    if len(secret) < _LEAST_SECRET_BYTES:
        raise ValueError(f"{key}: got {len(secret)} bytes; allowed: at least {_LEAST_SECRET_BYTES}")
    return secret


def _public_keys(section: AuthSection) -> list[tuple[Any, list[str]]]:
    path = section.public_keys_file
    if path is None:
        raise ValueError("auth.public_keys_file: missing")
    allowed = "PEM public keys: RSA, P-256, P-384 or Ed25519"
    found = []
    for pem in _PEM.findall(_read("auth.public_keys_file", path)):
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError(f"auth.public_keys_file: got {path}; allowed: {allowed}") from None
        found.append((key, _algorithms(key)))
    if not found or not all(algorithms for _, algorithms in found):
        raise ValueError(f"auth.public_keys_file: got {path}; allowed: {allowed}")
    return found


def _algorithms(key: object) -> list[str]:
    """Those of a key: a token's own word on its algorithm is never taken."""
    if isinstance(key, rsa.RSAPublicKey):
        return ["RS256", "RS384", "RS512", "PS256"]
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": ["ES256"], "secp384r1": ["ES384"]}.get(key.curve.name, [])
    return ["EdDSA"] if isinstance(key, ed25519.Ed25519PublicKey) else []


def _read(key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{key}: got {str(path)!r} ({error.strerror}); allowed: a file that can be read"
        ) from None
