"""The Secrets of a KVCluster: found where others make them, made once where the operator does."""

import asyncio
from dataclasses import dataclass

from muster_api.kvcluster import KVClusterSpec
from muster_operator.children.base import Owner
from muster_operator.children.kv.given import TOKEN_KEY, token_secret
from muster_operator.children.secret_files import SecretFile
from muster_operator.cluster import Cluster
from muster_operator.reconcile.conditions import Finding
from muster_operator.reconcile.credentials import database_held, held_once, password
from muster_operator.reconcile.secrets import Held, named


@dataclass(frozen=True, slots=True)
class KvSecrets:
    """All Secrets of a KVCluster; see `Held`."""

    database: SecretFile
    token: SecretFile
    redis: SecretFile
    problem: Finding | None = None
    former: bool = False


async def settle_secrets(cluster: Cluster, owner: Owner, spec: KVClusterSpec) -> KvSecrets:
    """Find the Secrets that are named, and make those that are managed.

    Raises:
        ClusterError: a read or write failed and is worth trying again.
    """
    database, token, redis = await asyncio.gather(
        database_held(cluster, owner, spec.database.secret_ref),
        held_once(cluster, owner, TOKEN_KEY, lambda: token_secret(owner, password())),
        _redis(cluster, owner, spec),
    )
    every = (database, token, redis)
    return KvSecrets(
        database.file,
        token.file,
        redis.file,
        next((each.problem for each in every if each.problem), None),
        any(each.former for each in every),
    )


async def _redis(cluster: Cluster, owner: Owner, spec: KVClusterSpec) -> Held:
    if spec.redis is None or spec.redis.password_secret_ref is None:
        return Held()
    reference = spec.redis.password_secret_ref
    return await named(cluster, owner, reference, "the password of Redis")
