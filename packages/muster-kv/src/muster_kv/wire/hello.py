"""How two ends meet: who they are, that they belong to one cluster, that both know its token.

The client says who it is (HELLO), the server answers with a nonce and its own proof (CHALLENGE),
the client proves itself (PROOF), the server opens the connection (WELCOME), or says why not
(REFUSED).
A proof is an HMAC-SHA256 under the token over both names and both nonces. The token keeps strangers
out; against those who can change packets on their way there is TLS.
"""

import hmac
from enum import Enum

import msgspec

from muster_kv.wire.frames import ProtocolError

PROTOCOL = 1
NONCE_BYTES = 16
MAX_HELLO_BYTES = 4096


class Role(Enum):
    """What kind of process an end is."""

    COORDINATOR = "coordinator"
    STORAGE = "storage"
    TOOL = "tool"


class Identity(msgspec.Struct, frozen=True):
    """An end of connections. The token is never shown."""

    node_id: str
    role: Role
    cluster: str
    token: bytes = b""

    def __repr__(self) -> str:
        return f"Identity({self.node_id!r}, {self.role.value}, cluster={self.cluster!r})"


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """The client's first words."""

    protocol: int
    node_id: str
    role: Role
    cluster: str
    nonce: bytes
    sent_us: int


class Challenge(msgspec.Struct, array_like=True, frozen=True):
    """The server's answer."""

    protocol: int
    node_id: str
    nonce: bytes
    proof: bytes


class Proof(msgspec.Struct, array_like=True, frozen=True):
    """The client's proof; empty where the cluster has no token."""

    proof: bytes


class Refusal(msgspec.Struct, array_like=True, frozen=True):
    """Why the server won't talk."""

    reason: str


class RefusedError(ProtocolError):
    """One end does not want the other."""


def hello(identity: Identity, nonce: bytes, sent_us: int) -> Hello:
    """Return the client's first words."""
    return Hello(PROTOCOL, identity.node_id, identity.role, identity.cluster, nonce, sent_us)


def challenge(identity: Identity, client: Hello, nonce: bytes) -> Challenge:
    """Return the server's answer; raises RefusedError where the client can't be talked to."""
    if client.protocol != PROTOCOL:
        raise RefusedError(f"protocol: {client.protocol}; allowed: {PROTOCOL}")
    if client.cluster != identity.cluster:
        raise RefusedError(f"cluster: {client.cluster!r}; allowed: {identity.cluster!r}")
    if len(client.nonce) != NONCE_BYTES:
        raise RefusedError(f"nonce: {len(client.nonce)} bytes; allowed: {NONCE_BYTES}")
    proof = _proof(b"server", identity, client, (identity.node_id, nonce))
    return Challenge(PROTOCOL, identity.node_id, nonce, proof)


def answer(identity: Identity, said: Hello, server: Challenge) -> Proof:
    """Return the client's proof; raises RefusedError where the server does not know the token."""
    expected = _proof(b"server", identity, said, (server.node_id, server.nonce))
    if not hmac.compare_digest(expected, server.proof):
        raise RefusedError(f"{server.node_id!r} has another token")
    return Proof(_proof(b"client", identity, said, (server.node_id, server.nonce)))


def verify(identity: Identity, client: Hello, asked: Challenge, given: Proof) -> None:
    """Raise RefusedError unless the client knows the token."""
    expected = _proof(b"client", identity, client, (asked.node_id, asked.nonce))
    if not hmac.compare_digest(expected, given.proof):
        raise RefusedError(f"{client.node_id!r} has another token")


def _proof(who: bytes, identity: Identity, client: Hello, server: tuple[str, bytes]) -> bytes:
    if not identity.token:
        return b""
    said = msgspec.msgpack.encode(
        (who, PROTOCOL, identity.cluster, client.node_id, client.role, client.nonce, server)
    )
    return hmac.digest(identity.token, said, "sha256")
