"""All that decides what a KVCluster becomes."""

from dataclasses import dataclass

from muster_api.kvcluster import KVClusterSpec
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.children.secret_files import NO_SECRET, SecretFile
from muster_operator.resources import SECRETS, Manifest

TOKEN_KEY = "token"  # noqa: S105 - a key's name
ADMIN_KEY = "secret"


@dataclass(frozen=True, slots=True)
class KvInput:
    """A KVCluster's spec, and what was observed around it.

    Args:
        nodes: storage nodes; never fewer than there have been.
        database: the connection string of the metadata database.
        token: what coordinators and storage nodes share.
        redis: the password of Redis.
        keys: what tokens of clients are checked with.
        admin: what the operator signs its own tokens with.
        node_tls: the version of the Secret for TLS with storage nodes.
        restored: the backup that all storage nodes have begun with; empty without one.
    """

    owner: Owner
    spec: KVClusterSpec
    nodes: int
    database: SecretFile
    token: SecretFile
    redis: SecretFile = NO_SECRET
    keys: SecretFile = NO_SECRET
    admin: SecretFile = NO_SECRET
    node_tls: str = ""
    restored: str = ""


def token_secret(owner: Owner, token: str) -> Manifest:
    """The Secret with the token that the cluster's processes share; made once."""
    name = naming.kv_token_secret(owner.key.name)
    metadata = owner.metadata(name, naming.KV_STORAGE)
    return SECRETS.manifest(metadata, type="Opaque", stringData={TOKEN_KEY: token})


def admin_secret(owner: Owner, secret: str) -> Manifest:
    """The Secret that the operator signs its tokens with; made once."""
    name = naming.kv_admin_secret(owner.key.name)
    metadata = owner.metadata(name, naming.KV_COORDINATOR)
    return SECRETS.manifest(metadata, type="Opaque", stringData={ADMIN_KEY: secret})
