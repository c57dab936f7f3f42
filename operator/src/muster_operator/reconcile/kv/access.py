"""How the operator shows a KVCluster's coordinators who it is."""

import base64
import hashlib
import hmac
import json
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from muster_operator.children.security import AUTHORITY_KEY, CERTIFICATE_KEY, PRIVATE_KEY

_TOKEN_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Access:
    """What a conversation begins with.

    Args:
        tls: who is believed, and which certificate is shown; None for coordinators without TLS.
        secret: what tokens are signed with; empty where none are asked for.
    """

    tls: ssl.SSLContext | None = None
    secret: bytes = b""

    def headers(self, now: float) -> dict[str, str]:
        """What requests have besides; `now` is in Unix seconds."""
        return {"Authorization": f"Bearer {_token(self.secret, now)}"} if self.secret else {}


OPEN = Access()
"""To coordinators that ask for nothing."""


def tls_context(server: Mapping[str, bytes], client: Mapping[str, bytes] | None) -> ssl.SSLContext:
    """For coordinators whose Secret is `server`; `client` is what is shown to them.

    Raises:
        ValueError: no certificates or key can be read there; the text shows nothing of them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=server[AUTHORITY_KEY].decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError):
        raise ValueError(f"{AUTHORITY_KEY} has no certificates in PEM") from None
    if client is None:
        return context
    # The ssl module reads keys from files alone.
    with tempfile.TemporaryDirectory(prefix="muster-tls-") as folder:
        pair = Path(folder) / "pair.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(client[PRIVATE_KEY] + b"\n" + client[CERTIFICATE_KEY])
        try:
            context.load_cert_chain(pair)
        except (ssl.SSLError, OSError):
            text = f"{CERTIFICATE_KEY} and {PRIVATE_KEY} are no certificate in PEM with its key"
            raise ValueError(text) from None
    return context


def _token(secret: bytes, now: float) -> str:
    """A JSON Web Token of an administrator (RFC 7519, HS256)."""
    head, claims = {"alg": "HS256", "typ": "JWT"}, {"admin": True, "exp": int(now) + _TOKEN_SECONDS}
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
    return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
