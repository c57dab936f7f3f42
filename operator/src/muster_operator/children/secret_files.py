"""Secrets that coordinators have as files: which there are, where, and how they are made."""

from dataclasses import dataclass
from typing import Any

from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.resources import SECRETS, Manifest

WITNESS_KEY = "keys"
ADMIN_KEY = "key"
ADMIN_DIGEST_KEY = "sha256"

_FOLDER = "/etc/muster"
_DSN, _WITNESS = "database/dsn", "database/witness-keys"
_BROKER, _ADMIN, _JWT = "broker/url", "accounts/admin-keys", "accounts/jwt"


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A key of a Secret, and the Secret's version; all empty where there is none."""

    secret: str = ""
    key: str = ""
    version: str = ""

    def __bool__(self) -> bool:
        return bool(self.secret)

    def source(self, path: str) -> list[dict[str, Any]]:
        """Its entry of a projected volume, if it is there; at `path` in it."""
        if not self:
            return []
        return [{"secret": {"name": self.secret, "items": [{"key": self.key, "path": path}]}}]


NO_SECRET = SecretFile()


@dataclass(frozen=True, slots=True)
class Credentials:
    """The Secrets of a Coordinator.

    Args:
        database: the connection string.
        witness: the keys that seal inputs.
        broker: the URL of the broker.
        admin: the digest of the first administrator's API key.
        jwt: what tokens are checked with.
    """

    database: SecretFile = NO_SECRET
    witness: SecretFile = NO_SECRET
    broker: SecretFile = NO_SECRET
    admin: SecretFile = NO_SECRET
    jwt: SecretFile = NO_SECRET

    def sources(self) -> list[dict[str, Any]]:
        """What coordinators have besides their configuration in their volume at /etc/muster."""
        return [
            *self.database.source(_DSN),
            *self.witness.source(_WITNESS),
            *self.broker.source(_BROKER),
            *self.admin.source(_ADMIN),
            *self.jwt.source(_JWT),
        ]

    def annotations(self) -> dict[str, str]:
        """Annotations of the pods: they are replaced when what they read at their start changes."""
        read = [each.version for each in (self.database, self.broker) if each]
        found = {naming.CREDENTIALS: ".".join(read)}
        if self.witness:
            found[naming.WITNESS] = f"{self.witness.secret}.{self.witness.version}"
        return found

    def database_settings(self) -> dict[str, Any]:
        """Section `database` of a coordinator's configuration."""
        sealing = {"witness_key_file": f"{_FOLDER}/{_WITNESS}"} if self.witness else {}
        return {"dsn_file": f"{_FOLDER}/{_DSN}", **sealing}


def broker_source(broker: SecretFile) -> list[dict[str, Any]]:
    """The broker's URL as a file of workers."""
    return broker.source(_BROKER)


BROKER_FILE = f"{_FOLDER}/{_BROKER}"
ADMIN_FILE = f"{_FOLDER}/{_ADMIN}"
JWT_FILE = f"{_FOLDER}/{_JWT}"


def witness_secret(owner: Owner, data: dict[str, str], *, retained: bool) -> Manifest:
    """The Secret with the keys that seal inputs; made once, never written again.

    Args:
        data: what it holds, in base64.
        retained: whether it outlives its owner, as the volume does whose inputs it opens.
    """
    name = naming.witness_secret(owner.key.name, retained=retained)
    metadata = owner.metadata(name, naming.COORDINATOR)
    if retained:
        del metadata["ownerReferences"]
    return SECRETS.manifest(metadata, type="Opaque", data=data)


def admin_secret(owner: Owner, key: str, digest: str) -> Manifest:
    """The Secret with an administrator's API key, and its SHA-256 in hexadecimal.

    Made once, never written again. Only the digest is in pods.
    """
    metadata = owner.metadata(naming.admin_secret(owner.key.name), naming.COORDINATOR)
    data = {ADMIN_KEY: key, ADMIN_DIGEST_KEY: f"{digest}\n"}
    return SECRETS.manifest(metadata, type="Opaque", stringData=data)
