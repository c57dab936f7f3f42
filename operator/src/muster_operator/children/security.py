"""Certificates and tokens, as files in the pods of coordinators and workers and in their settings.

A `Security` says which Secrets there are; what becomes of it for one side is pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from muster_api.coordinator import CoordinatorSpec
from muster_operator import naming

CERTIFICATE_KEY, PRIVATE_KEY, AUTHORITY_KEY = "tls.crt", "tls.key", "ca.crt"
TLS_KEYS = (CERTIFICATE_KEY, PRIVATE_KEY, AUTHORITY_KEY)

AUDIENCE = "muster-coordinator"

_TLS_FOLDER = "/etc/muster/tls"
_HTTP_TLS = "http-tls"
_TOKEN_FOLDER = "/var/run/secrets/muster"  # noqa: S105 - a path
_TOKEN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Security:
    """How a Coordinator and its workers know each other.

    Args:
        server_name: the name in the coordinators' certificate.
        server: the Secret of coordinators; empty where connections are not encrypted.
        worker: the Secret of workers, who show a certificate; empty where they show none.
        tokens: whether workers show tokens of their ServiceAccount.
    """

    server_name: str = ""
    server: str = ""
    worker: str = ""
    tokens: bool = False

    @classmethod
    def of(cls, coordinator: str, spec: CoordinatorSpec, revision: int) -> "Security":
        """What the spec of a Coordinator of that name says; `revision` is of its certificates."""
        name = naming.coordinator_names(coordinator, "")[0]
        tokens = spec.authentication.mode == "TokenReview"
        if spec.tls.mode == "Managed":
            server = naming.server_secret(coordinator, revision)
            worker = naming.client_secret(coordinator, revision)
            return cls(name, server, worker, tokens)
        if spec.tls.secret_ref:
            theirs = spec.tls.worker_secret_ref
            return cls(name, spec.tls.secret_ref.name, theirs.name if theirs else "", tokens)
        return cls(tokens=tokens)


OPEN = Security()
"""Whoever reaches the port may connect."""


def server_settings(security: Security, accounts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The sections of a coordinator's configuration.

    Args:
        accounts: namespaces and names of the ServiceAccounts of workers that may connect.
    """
    settings: dict[str, Any] = {}
    if security.server:
        settings["grpc_tls"] = {
            "mode": "mutual" if security.worker else "server",
            "cert_file": f"{_TLS_FOLDER}/{CERTIFICATE_KEY}",
            "key_file": f"{_TLS_FOLDER}/{PRIVATE_KEY}",
        }
        if security.worker:
            settings["grpc_tls"]["ca_file"] = f"{_TLS_FOLDER}/{AUTHORITY_KEY}"
    # Without a pool nobody could be named, and there is nothing to be had.
    if security.tokens and accounts:
        settings["auth"] = {
            "mode": "token-review",
            "audience": AUDIENCE,
            "allowed_service_accounts": [
                f"{namespace}:{account}" for namespace, account in accounts
            ],
        }
    return settings


def http_settings(spec: CoordinatorSpec) -> dict[str, Any]:
    """The section `http_tls` of a coordinator's configuration, where there is one."""
    mode = spec.http.tls.mode
    if mode == "Disabled":
        return {}
    keys = {"cert_file": CERTIFICATE_KEY, "key_file": PRIVATE_KEY}
    if mode != "Server":
        keys["ca_file"] = AUTHORITY_KEY
    files = {name: f"/etc/muster/{_HTTP_TLS}/{key}" for name, key in keys.items()}
    return {"http_tls": {"mode": mode.lower(), **files}}


def http_sources(spec: CoordinatorSpec) -> list[dict[str, Any]]:
    """What coordinators have for it in their volume at /etc/muster."""
    reference = spec.http.tls.secret_ref
    return [tls_files(reference.name, TLS_KEYS, _HTTP_TLS)] if reference else []


def worker_settings(security: Security) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a worker's configuration has of it: in section `worker`, and as sections of its own."""
    inner: dict[str, Any] = {}
    outer: dict[str, Any] = {}
    if security.server:
        outer["tls"] = {
            "ca_file": f"{_TLS_FOLDER}/{AUTHORITY_KEY}",
            "server_name": security.server_name,
        }
        if security.worker:
            outer["tls"]["cert_file"] = f"{_TLS_FOLDER}/{CERTIFICATE_KEY}"
            outer["tls"]["key_file"] = f"{_TLS_FOLDER}/{PRIVATE_KEY}"
    if security.tokens:
        inner["token_file"] = f"{_TOKEN_FOLDER}/token"
    return inner, outer


def server_sources(security: Security) -> list[dict[str, Any]]:
    """What coordinators have besides in their volume at /etc/muster."""
    return [tls_files(security.server, TLS_KEYS)] if security.server else []


def worker_sources(security: Security) -> list[dict[str, Any]]:
    """What workers have besides in their volume at /etc/muster."""
    if security.worker:
        return [tls_files(security.worker, TLS_KEYS)]
    return [tls_files(security.server, (AUTHORITY_KEY,))] if security.server else []


def token_volumes(security: Security) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The volume with a worker's token, and its mount."""
    if not security.tokens:
        return [], []
    token = {"audience": AUDIENCE, "expirationSeconds": _TOKEN_SECONDS, "path": "token"}
    volume = {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}}
    return [volume], [{"name": "token", "mountPath": _TOKEN_FOLDER, "readOnly": True}]


def tls_files(secret: str, keys: tuple[str, ...], folder: str = "tls") -> dict[str, Any]:
    """Keys of a Secret as files in `folder`, an entry of a projected volume."""
    items = [{"key": key, "path": f"{folder}/{key}"} for key in keys]
    return {"secret": {"name": secret, "items": items}}
