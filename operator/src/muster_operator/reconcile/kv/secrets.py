"""The Secrets of a KVCluster: found where others make them, made once where the operator does."""

import asyncio
import base64
from collections.abc import Iterable
from dataclasses import dataclass

from muster_api.conditions import Reason
from muster_api.kvcluster import KVClusterSpec
from muster_api.shared import LocalReference
from muster_operator.children.base import Owner
from muster_operator.children.kv.given import ADMIN_KEY, TOKEN_KEY, admin_secret, token_secret
from muster_operator.children.secret_files import SecretFile
from muster_operator.children.security import CERTIFICATE_KEY, PRIVATE_KEY, TLS_KEYS
from muster_operator.cluster import Cluster
from muster_operator.reconcile.conditions import Finding
from muster_operator.reconcile.credentials import database_held, held_once, password
from muster_operator.reconcile.kv.access import OPEN, Access, tls_context
from muster_operator.reconcile.secrets import Held, named, read
from muster_operator.resources import SECRETS


@dataclass(frozen=True, slots=True)
class KvSecrets:
    """All Secrets of a KVCluster; see `Held`.

    Args:
        node_tls: the version of the one for TLS with storage nodes.
        access: how coordinators are asked.
    """

    database: SecretFile
    token: SecretFile
    redis: SecretFile
    keys: SecretFile
    admin: SecretFile
    node_tls: str = ""
    access: Access = OPEN
    problem: Finding | None = None
    former: bool = False


async def settle_secrets(cluster: Cluster, owner: Owner, spec: KVClusterSpec) -> KvSecrets:
    """Find the Secrets that are named, and make those that are managed.

    Raises:
        ClusterError: a read or write failed and is worth trying again.
    """
    database, token, redis, keys, admin = every = await asyncio.gather(
        database_held(cluster, owner, spec.database.secret_ref),
        held_once(cluster, owner, TOKEN_KEY, lambda: token_secret(owner, password())),
        _redis(cluster, owner, spec),
        _keys(cluster, owner, spec),
        _admin(cluster, owner, spec),
    )
    nodes = await _pem(cluster, owner, spec.tls.node_secret_ref, TLS_KEYS, "TLS of storage nodes")
    access = await _access(cluster, owner, spec, admin.file)
    problems = (*(each.problem for each in every), nodes, access)
    return KvSecrets(
        database.file,
        token.file,
        redis.file,
        keys.file,
        admin.file,
        node_tls=nodes.version if isinstance(nodes, _Pem) else "",
        access=access if isinstance(access, Access) else OPEN,
        problem=next((each for each in problems if isinstance(each, Finding)), None),
        former=any(each.former for each in every),
    )


async def _redis(cluster: Cluster, owner: Owner, spec: KVClusterSpec) -> Held:
    if spec.redis is None or spec.redis.password_secret_ref is None:
        return Held()
    reference = spec.redis.password_secret_ref
    return await named(cluster, owner, reference, "the password of Redis")


async def _keys(cluster: Cluster, owner: Owner, spec: KVClusterSpec) -> Held:
    reference = spec.authentication.secret_ref
    if reference is None:
        return Held()
    return await named(cluster, owner, reference, "tokens are checked with it")


async def _admin(cluster: Cluster, owner: Owner, spec: KVClusterSpec) -> Held:
    if spec.authentication.mode == "Disabled":
        return Held()
    return await held_once(cluster, owner, ADMIN_KEY, lambda: admin_secret(owner, password()))


@dataclass(frozen=True, slots=True)
class _Pem:
    """What is in a Secret with certificates, and its version."""

    data: dict[str, bytes]
    version: str = ""


_NO_PEM = _Pem({})


async def _pem(
    cluster: Cluster, owner: Owner, reference: LocalReference | None, keys: Iterable[str], why: str
) -> _Pem | Finding:
    if reference is None:
        return _NO_PEM
    found = await read(cluster, owner.key.namespace, reference.name, keys, why)
    if isinstance(found, Finding):
        return found
    data = {key: base64.b64decode(value) for key, value in found["data"].items()}
    return _Pem(data, found["metadata"]["resourceVersion"])


async def _access(
    cluster: Cluster, owner: Owner, spec: KVClusterSpec, admin: SecretFile
) -> Access | Finding:
    tls, pair = spec.tls, (CERTIFICATE_KEY, PRIVATE_KEY)
    server = await _pem(cluster, owner, tls.secret_ref, TLS_KEYS, "the TLS of coordinators")
    client = await _pem(cluster, owner, tls.client_secret_ref, pair, "the operator shows it")
    if isinstance(server, Finding):
        return server
    if isinstance(client, Finding):
        return client
    secret = b""
    if admin:
        found = await cluster.get(SECRETS, owner.key.namespace, admin.secret)
        secret = base64.b64decode((found or {}).get("data", {}).get(admin.key, ""))
    if not server.data:
        return Access(None, secret)
    try:
        return Access(tls_context(server.data, client.data or None), secret)
    except ValueError as error:
        names = " and ".join(
            each.name for each in (tls.secret_ref, tls.client_secret_ref) if each is not None
        )
        return Finding(Reason.SECRET_UNUSABLE, f"Secret {names} can't be used: {error}")
