"""Certificates and keys of a KVCluster: as files in its pods, and in their settings."""

from typing import Any

from muster_api.kvcluster import KVClusterSpec
from muster_operator.children.kv.given import KvInput
from muster_operator.children.kv.paths import (
    ADMIN_PATH,
    CLIENT_TLS,
    FOLDER,
    KEYS_PATH,
    NODE_TLS,
)
from muster_operator.children.security import (
    AUTHORITY_KEY,
    CERTIFICATE_KEY,
    PRIVATE_KEY,
    TLS_KEYS,
    tls_files,
)


def client_settings(given: KvInput) -> dict[str, Any]:
    """The sections `tls` and `auth` of the coordinators' configuration, where there are any."""
    spec = given.spec
    settings: dict[str, Any] = {}
    if spec.tls.mode == "SecretRef":
        files = _files(CLIENT_TLS)
        authorities = files.pop("ca_file")
        mutual = spec.tls.client_secret_ref is not None
        settings["tls"] = {
            "mode": "mutual" if mutual else "server",
            **files,
            **({"ca_file": authorities} if mutual else {}),
        }
    if spec.authentication.mode == "JWT":
        settings["auth"] = _auth(spec)
    return settings


def _auth(spec: KVClusterSpec) -> dict[str, Any]:
    asked = spec.authentication
    file = {"PublicKeys": "public_keys_file", "SharedSecret": "secret_file"}[asked.keys]
    named = asked.admin_common_names
    return {
        "mode": "jwt",
        file: f"{FOLDER}/{KEYS_PATH}",
        "admin_secret_file": f"{FOLDER}/{ADMIN_PATH}",
        **({"issuer": asked.issuer} if asked.issuer else {}),
        **({"audience": asked.audience} if asked.audience else {}),
        **({"admin_common_names": named} if named else {}),
    }


def node_settings(spec: KVClusterSpec) -> dict[str, str]:
    """Files for TLS between coordinators and storage nodes; none without."""
    return _files(NODE_TLS) if spec.tls.node_secret_ref else {}


def _files(folder: str) -> dict[str, str]:
    keys = {"cert_file": CERTIFICATE_KEY, "key_file": PRIVATE_KEY, "ca_file": AUTHORITY_KEY}
    return {name: f"{FOLDER}/{folder}/{key}" for name, key in keys.items()}


def coordinator_sources(given: KvInput) -> list[dict[str, Any]]:
    """What coordinators have of it in their volume."""
    reference = given.spec.tls.secret_ref
    served = [tls_files(reference.name, TLS_KEYS, CLIENT_TLS)] if reference else []
    return [
        *served,
        *node_sources(given.spec),
        *given.keys.source(KEYS_PATH),
        *given.admin.source(ADMIN_PATH),
    ]


def node_sources(spec: KVClusterSpec) -> list[dict[str, Any]]:
    """What storage nodes have of it in their volume."""
    reference = spec.tls.node_secret_ref
    return [tls_files(reference.name, TLS_KEYS, NODE_TLS)] if reference else []
