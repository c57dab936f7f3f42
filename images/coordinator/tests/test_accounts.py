"""Keys, tokens and certificates: what they must look like, and whose they are."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from muster_coordinator.accounts import tokens
from muster_coordinator.accounts.authentication import Accounts, Credential, bearer
from muster_coordinator.accounts.callers import Caller, Identity
from muster_coordinator.accounts.certificates import Subjects, read_subject
from muster_coordinator.accounts.errors import Forbidden, Unauthenticated
from muster_coordinator.accounts.keys import (
    DIGESTS,
    digest,
    is_customer_id,
    looks_like_key,
    new_key,
    read_digests,
)
from muster_coordinator.accounts.section import AccountsSection
from muster_coordinator.accounts.tokens import Issuer, KeysError, Tokens
from muster_coordinator.engine.customers import Customer, Tier
from muster_testing.authority import Authority

SECRET = "x" * 32
END = 4_000_000_000
CLAIMS = {"sub": "acme", "exp": END}

MADE: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def _public(private: Any) -> bytes:
    pem: bytes = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def _private(private: Any) -> bytes:
    pem: bytes = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem


def _shared(tmp_path: Path, **issuer: str) -> Tokens:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return Tokens(Issuer(path, "HS256", **issuer))


def _signed(claims: Mapping[str, Any], key: Any = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(dict(claims), key, algorithm)


def _set(**named: Any) -> str:
    return json.dumps({"keys": [_jwk(one) | {"kid": name} for name, one in named.items()]})


def _jwk(private: Any) -> dict[str, Any]:
    for name in ("RS256", "ES256", "EdDSA"):
        try:
            found: dict[str, Any] = jwt.get_algorithm_by_name(name).to_jwk(
                private.public_key(), as_dict=True
            )
        except (TypeError, AttributeError, jwt.InvalidKeyError):
            continue
        return found
    raise TypeError(type(private))


class TestKeys:
    def test_a_key_names_its_customer(self) -> None:
        key = new_key("acme-2")
        assert key.text.startswith("nyt_acme-2_")
        assert len(key.text) == len("nyt_acme-2_") + 32
        assert looks_like_key(key.text)

    def test_a_key_of_an_administrator_names_nobody(self) -> None:
        assert new_key(None).text.startswith("nyt_admin_")

    def test_two_keys_differ(self) -> None:
        assert new_key("acme").text != new_key("acme").text

    def test_the_prefix_tells_little_of_the_secret(self) -> None:
        key = new_key("acme")
        assert key.text.startswith(key.prefix)
        assert len(key.text) - len(key.prefix) == 24

    def test_only_a_digest_is_kept(self) -> None:
        key = new_key("acme")
        assert key.digest == digest(key.text)
        assert len(key.digest) == 32
        assert key.text not in repr(key)

    @pytest.mark.parametrize(
        "name", ["", "Acme", "a_b", "-a", "a-", "a" * 64, "admin", "default", "a b", "ä"]
    )
    def test_no_customer_is_called_so(self, name: str) -> None:
        assert not is_customer_id(name)
        with pytest.raises(ValueError, match="allowed: 1 to 63 lower-case letters"):
            new_key(name)

    @pytest.mark.parametrize("name", ["a", "acme", "a-b-c", "7", "a" * 63])
    def test_customers_are_called_so(self, name: str) -> None:
        assert is_customer_id(name)

    @pytest.mark.parametrize(
        "text",
        ["", "nyt_acme_short", "nyt_acme_" + "-" * 32, "acme_" + "a" * 32, "nyt__" + "a" * 32],
    )
    def test_other_text_is_no_key(self, text: str) -> None:
        assert not looks_like_key(text)


class TestBearer:
    @pytest.mark.parametrize("header", ["Bearer abc", "bearer  abc ", "BEARER abc"])
    def test_the_token_is_found(self, header: str) -> None:
        assert bearer(header) == "abc"

    @pytest.mark.parametrize(
        "header",
        ["", "abc", "Bearer", "Bearer ", "Basic abc", "Bearer " + "a" * 20_000, "Bearer ä"],
    )
    def test_anything_else_is_refused(self, header: str) -> None:
        with pytest.raises(Unauthenticated, match="allowed: Bearer <key or token>"):
            bearer(header)


class TestTokens:
    @pytest.mark.parametrize("algorithm", list(MADE))
    def test_a_token_of_each_algorithm_counts(self, tmp_path: Path, algorithm: str) -> None:
        private = MADE[algorithm]()
        path = tmp_path / "key.pem"
        path.write_bytes(_public(private))
        found = Tokens(Issuer(path, algorithm)).identity(_signed(CLAIMS, private, algorithm))
        assert found == Identity("acme", "acme", None, END)

    def test_a_shared_secret_counts(self, tmp_path: Path) -> None:
        assert _shared(tmp_path).identity(_signed(CLAIMS)).customer_id == "acme"

    def test_a_token_may_name_a_tier(self, tmp_path: Path) -> None:
        token = _signed(CLAIMS | {"tier": "premium"})
        assert _shared(tmp_path).identity(token).tier is Tier.PREMIUM

    def test_a_token_may_make_an_administrator(self, tmp_path: Path) -> None:
        found = _shared(tmp_path).identity(_signed(CLAIMS | {"admin": True, "sub": "Jo@example"}))
        assert (found.name, found.customer_id) == ("Jo@example", None)

    @pytest.mark.parametrize(
        ("differing", "said"),
        [
            ({"exp": 1}, "expired"),
            ({"exp": None}, "exp"),
            ({"exp": "soon"}, "[Ee]xp"),
            ({"nbf": 4_000_000_000}, "nbf"),
            ({"sub": None}, "sub"),
            ({"sub": 5}, "[Ss]ub"),
            ({"sub": "Acme Inc"}, "sub in the token is no customer; allowed: 1 to 63"),
            ({"sub": "default"}, "sub in the token is no customer"),
            ({"tier": "gold"}, "tier in the token is not known; allowed: free, standard"),
            ({"tier": ["free"]}, "tier in the token is not known"),
            ({"admin": "yes"}, "admin in the token is no boolean; allowed: true or false"),
            ({"admin": 1}, "admin in the token is no boolean"),
            ({"aud": "else"}, "[Aa]udience"),
        ],
    )
    def test_a_token_that_says_something_else_is_refused(
        self, tmp_path: Path, differing: dict[str, Any], said: str
    ) -> None:
        claims = {name: value for name, value in (CLAIMS | differing).items() if value is not None}
        payload = json.dumps(claims).encode()
        token = jwt.PyJWS().encode(payload, SECRET, "HS256")
        with pytest.raises(Unauthenticated, match=said):
            _shared(tmp_path).identity(token)

    def test_issuer_and_audience_must_be_those_that_are_configured(self, tmp_path: Path) -> None:
        judge = _shared(tmp_path, issuer="https://issuer.example", audience="muster")
        good = CLAIMS | {"iss": "https://issuer.example", "aud": ["muster", "else"]}
        assert judge.identity(_signed(good)).customer_id == "acme"
        for wrong in ({"iss": "x"}, {"aud": "x"}):
            with pytest.raises(Unauthenticated):
                judge.identity(_signed(good | wrong))
        for missing in ("iss", "aud"):
            with pytest.raises(Unauthenticated):
                judge.identity(_signed({k: v for k, v in good.items() if k != missing}))

    def test_another_signature_is_refused(self, tmp_path: Path) -> None:
        judge = _shared(tmp_path)
        for token in (
            _signed(CLAIMS, "y" * 32),
            _signed(CLAIMS, SECRET * 2, "HS512"),
            jwt.encode(CLAIMS, "", "none"),
            "a.b.c",
            "",
        ):
            with pytest.raises(Unauthenticated, match="the token in authorization is not good"):
                judge.identity(token)

    def test_a_public_key_is_no_shared_secret(self, tmp_path: Path) -> None:
        private = MADE["RS256"]()
        path = tmp_path / "key.pem"
        path.write_bytes(_public(private))
        header = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT"}')
        signing = header + b"." + jwt.utils.base64url_encode(json.dumps(CLAIMS).encode())
        made = jwt.get_algorithm_by_name("HS256").sign(signing, path.read_bytes())
        token = (signing + b"." + jwt.utils.base64url_encode(made)).decode()
        with pytest.raises(Unauthenticated):
            Tokens(Issuer(path, "RS256")).identity(token)

    def test_a_set_of_keys_is_searched_by_name(self, tmp_path: Path) -> None:
        path = tmp_path / "jwks.json"
        first, second = MADE["RS256"](), MADE["EdDSA"]()
        path.write_text(_set(first=first, second=second))
        judge = Tokens(Issuer(path, ""))
        token = jwt.encode(CLAIMS, second, "EdDSA", headers={"kid": "second"})
        assert judge.identity(token).customer_id == "acme"
        for headers in ({"kid": "first"}, {"kid": "third"}, {}):
            with pytest.raises(Unauthenticated):
                judge.identity(jwt.encode(CLAIMS, second, "EdDSA", headers=headers))

    def test_new_keys_are_used_and_a_broken_file_is_not(self, tmp_path: Path) -> None:
        path = tmp_path / "jwks.json"
        old, new = MADE["ES256"](), MADE["ES256"]()
        path.write_text(_set(one=old))
        judge = Tokens(Issuer(path, ""))
        (tmp_path / "next").write_text("{")
        (tmp_path / "next").replace(path)
        token = jwt.encode(CLAIMS, old, "ES256", headers={"kid": "one"})
        assert judge.identity(token).customer_id == "acme"
        (tmp_path / "next").write_text(_set(one=new))
        (tmp_path / "next").replace(path)
        with pytest.raises(Unauthenticated):
            judge.identity(token)
        fresh = jwt.encode(CLAIMS, new, "ES256", headers={"kid": "one"})
        assert judge.identity(fresh).customer_id == "acme"

    @pytest.mark.parametrize(
        ("algorithm", "content", "said"),
        [
            ("HS256", b"short", "at least 32 bytes, as jwt_algorithm is HS256"),
            ("RS256", b"nothing", "a public key in PEM, as jwt_algorithm is RS256"),
            ("", b"{}", "a JWK set, each key with a kid"),
            ("", b"[]", "a JWK set"),
            ("", b"\xff", "a JWK set"),
            ("", b'{"keys": []}', "a JWK set"),
            ("", b'{"keys": [{"kty": "RSA"}]}', "a JWK set"),
        ],
    )
    def test_a_file_without_keys_is_refused(
        self, tmp_path: Path, algorithm: str, content: bytes, said: str
    ) -> None:
        path = tmp_path / "keys"
        path.write_bytes(content)
        with pytest.raises(KeysError, match=said):
            tokens.read_keys(path, algorithm)

    def test_a_key_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        path.write_bytes(_public(MADE["ES256"]()))
        with pytest.raises(KeysError, match="as jwt_algorithm is EdDSA"):
            tokens.read_keys(path, "EdDSA")
        path.write_bytes(_private(MADE["ES256"]()))
        with pytest.raises(KeysError, match="this one is private"):
            tokens.read_keys(path, "ES256")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(KeysError, match="No such file"):
            tokens.read_keys(tmp_path / "none", "")

    def test_clocks_may_differ_a_little(self, tmp_path: Path) -> None:
        token = _signed(CLAIMS | {"exp": int(time.time()) - tokens.LEEWAY_SECONDS // 2})
        assert _shared(tmp_path).identity(token).customer_id == "acme"


class TestCertificates:
    def _der(self, tmp_path: Path, name: str) -> bytes:
        Authority("test").issue(name, tmp_path / name)
        found = x509.load_pem_x509_certificate((tmp_path / f"{name}.crt").read_bytes())
        return found.public_bytes(serialization.Encoding.DER)

    def test_a_subject_is_a_customer(self, tmp_path: Path) -> None:
        acme = Identity("acme", "acme", Tier.STANDARD)
        known = Subjects([(read_subject("CN=acme-client"), acme)])
        assert known.identity(self._der(tmp_path, "acme-client")) == acme

    def test_another_subject_is_nobody(self, tmp_path: Path) -> None:
        known = Subjects([(read_subject("CN=acme-client"), Identity("acme", "acme"))])
        with pytest.raises(Unauthenticated, match="no customer has the certificate of 'CN=other'"):
            known.identity(self._der(tmp_path, "other"))

    @pytest.mark.parametrize("text", ["", "acme", "CN", "=acme"])
    def test_other_text_is_no_subject(self, text: str) -> None:
        with pytest.raises(ValueError, match="a subject as in RFC 4514"):
            read_subject(text)


class TestCallers:
    def test_a_customer_is_no_administrator(self) -> None:
        caller = Caller("acme", Customer("acme", tier=Tier.PREMIUM))
        assert (caller.customer().id, caller.tier, caller.actor) == (
            "acme",
            Tier.PREMIUM,
            "customer:acme",
        )
        with pytest.raises(Forbidden, match="this is for administrators"):
            caller.must_administrate()

    def test_an_administrator_is_no_customer(self) -> None:
        caller = Caller("nyt_admin_12345678")
        caller.must_administrate()
        with pytest.raises(Forbidden, match="this is for customers"):
            caller.customer()


class TestAdministratorsOfAFile:
    async def test_a_key_in_the_file_is_an_administrators(self, tmp_path: Path) -> None:
        made = new_key(None)
        path = tmp_path / "admin-keys"
        path.write_text(f"{'0' * 64}\n{made.digest.hex()}\n")
        listed = AccountsSection(admin_keys_file=path).administrators
        nobody: Any = None
        accounts = Accounts(nobody, administrators=listed)
        caller = await accounts.caller(Credential(made.text))
        caller.must_administrate()
        assert caller.name == made.prefix

    @pytest.mark.parametrize("text", ["", "abc", "A" * 64, f"{'a' * 64} b", "\u00e9"])
    def test_other_text_is_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "admin-keys"
        path.write_text(text)
        with pytest.raises(ValueError, match="a file with the SHA-256 of one or more keys"):
            AccountsSection(admin_keys_file=path)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="No such file") as error:
            read_digests(tmp_path / "none")
        assert str(error.value).startswith(DIGESTS)
