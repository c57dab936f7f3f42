"""Who asks: tokens of tenants and administrators."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from muster_kv.errors import ErrorCode
from muster_kv_coordinator.core.errors import KvError
from muster_kv_coordinator.security import AuthSection
from muster_kv_coordinator.tokens import Tokens

SECRET = "s" * 32


def _token(key: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    claims = {"exp": time.time() + 60} | claims
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, key, algorithm)


def _by_secret(tmp_path: Path, **more: Any) -> Tokens:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    return Tokens(AuthSection(mode="jwt", secret_file=path, **more))


def _refused(tokens: Tokens, token: str) -> str:
    with pytest.raises(KvError) as refused:
        tokens.judge(f"Bearer {token}")
    assert refused.value.code is ErrorCode.UNAUTHORIZED
    return str(refused.value)


def test_a_tenant_reaches_its_own_data_only(tmp_path: Path) -> None:
    identity = _by_secret(tmp_path).judge(f"Bearer {_token(tenant='t')}")
    identity.check_tenant("t")
    with pytest.raises(KvError) as other:
        identity.check_tenant("u")
    with pytest.raises(KvError) as admin:
        identity.check_admin()
    assert other.value.code is admin.value.code is ErrorCode.FORBIDDEN


def test_an_administrator_reaches_all(tmp_path: Path) -> None:
    identity = _by_secret(tmp_path).judge(f"bearer {_token(admin=True)}")
    identity.check_admin()
    identity.check_tenant("anybody")


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"tenant": ""},
        {"tenant": 1},
        {"tenant": "t", "admin": "true"},
        {"tenant": "t", "exp": None},
        {"tenant": "t", "exp": 1},
        {"tenant": "t", "nbf": 2**33},
    ],
)
def test_claims_that_are_refused(tmp_path: Path, claims: Mapping[str, Any]) -> None:
    _refused(_by_secret(tmp_path), _token(**claims))


def test_tokens_that_are_refused(tmp_path: Path) -> None:
    tokens = _by_secret(tmp_path)
    _refused(tokens, "")
    _refused(tokens, "nonsense")
    _refused(tokens, _token("x" * 32, tenant="t"))
    _refused(tokens, _token("", "none", tenant="t"))
    with pytest.raises(KvError):
        tokens.judge("Basic dDp0")


def test_issuer_and_audience(tmp_path: Path) -> None:
    tokens = _by_secret(tmp_path, issuer="i", audience="a")
    tokens.judge(f"Bearer {_token(tenant='t', iss='i', aud='a')}")
    _refused(tokens, _token(tenant="t", iss="j", aud="a"))
    _refused(tokens, _token(tenant="t", iss="i", aud="b"))
    _refused(tokens, _token(tenant="t"))


def test_what_maintains_the_cluster_has_a_secret_of_its_own(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("o" * 32)
    tokens = _by_secret(tmp_path, issuer="i", audience="a", admin_secret_file=own)
    tokens.judge(f"Bearer {_token('o' * 32, admin=True)}").check_admin()
    tokens.judge(f"Bearer {_token(tenant='t', iss='i', aud='a')}").check_tenant("t")
    _refused(tokens, _token(admin=True))
    _refused(tokens, _token("x" * 32, admin=True))


def test_a_token_is_known_until_it_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = _by_secret(tmp_path)
    token = _token(tenant="t")
    known = tokens.judge(f"Bearer {token}")

    def expired(*_: object, **__: object) -> None:
        raise jwt.ExpiredSignatureError("it is over")

    monkeypatch.setattr(jwt, "decode", expired)
    assert tokens.judge(f"Bearer {token}") is known
    later = time.time() + 120
    monkeypatch.setattr(time, "time", lambda: later)
    assert "it is over" in _refused(tokens, token)


def test_public_keys_of_every_kind_in_one_file(tmp_path: Path) -> None:
    keys: list[tuple[Any, str]] = [
        (rsa.generate_private_key(65537, 2048), "RS256"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ]
    pems = [
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for key, _ in keys
    ]
    path = tmp_path / "keys.pem"
    path.write_bytes(b"".join(pems))
    tokens = Tokens(AuthSection(mode="jwt", public_keys_file=path))
    for key, algorithm in keys:
        assert tokens.judge(f"Bearer {_token(key, algorithm, tenant='t')}").tenant == "t"
    # A public key is no secret: nobody may sign with its text.
    _refused(tokens, _token("p" * 64, "HS256", tenant="t"))


BROKEN = "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"


@pytest.mark.parametrize("text", ["", "nonsense", BROKEN])
def test_files_without_a_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.pem"
    path.write_text(text)
    with pytest.raises(ValueError, match="allowed: PEM public keys"):
        Tokens(AuthSection(mode="jwt", public_keys_file=path))


def test_a_secret_that_is_too_short(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("s" * 31)
    with pytest.raises(ValueError, match="got 31 bytes; allowed: at least 32"):
        Tokens(AuthSection(mode="jwt", secret_file=path))


def test_nobody_is_asked_where_it_is_disabled() -> None:
    Tokens(AuthSection()).judge("").check_admin()
