"""The Secrets of a Coordinator: found where others make them, made once where the operator does."""

import asyncio
import hashlib
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass

from muster_api.conditions import Reason
from muster_api.coordinator import CoordinatorSpec
from muster_api.shared import SecretKeyReference
from muster_operator.children.base import Owner
from muster_operator.children.nats import URL_KEY, nats_secret
from muster_operator.children.postgres import DSN_KEY, secret
from muster_operator.children.secret_files import (
    ADMIN_DIGEST_KEY,
    Credentials,
    SecretFile,
    admin_secret,
)
from muster_operator.cluster import Cluster
from muster_operator.reconcile.conditions import Finding
from muster_operator.reconcile.plan import Children, Claim, claim
from muster_operator.reconcile.secrets import Held, made_once, named
from muster_operator.reconcile.witness import settle_witness
from muster_operator.resources import SECRETS, Manifest

_PASSWORD_BYTES = 32
_SECRET_LETTERS = string.ascii_letters + string.digits
_SECRET_LENGTH = 32


@dataclass(frozen=True, slots=True)
class CredentialsState:
    """All Secrets of a Coordinator; see `Held`."""

    credentials: Credentials
    problem: Finding | None = None
    former: bool = False


async def settle_credentials(
    cluster: Cluster, owner: Owner, spec: CoordinatorSpec, live: Children
) -> CredentialsState:
    """Find the Secrets that are named, and make those that are managed.

    Raises:
        ClusterError: a read or write failed and is worth trying again.
    """
    sealing = await settle_witness(cluster, owner, spec, live)
    database, broker, admin, jwt = await asyncio.gather(
        database_held(cluster, owner, spec.database.secret_ref),
        _broker(cluster, owner, spec),
        _admin(cluster, owner, spec),
        _jwt(cluster, owner, spec),
    )
    every = (database, sealing, broker, admin, jwt)
    return CredentialsState(
        Credentials(database.file, sealing.file, broker.file, admin.file, jwt.file),
        next((each.problem for each in every if each.problem), None),
        any(each.former for each in every),
    )


async def database_held(
    cluster: Cluster, owner: Owner, reference: SecretKeyReference | None
) -> Held:
    """The Secret with a database's connection string; made where there is no `reference`.

    Raises:
        ClusterError: a read or write failed.
    """
    if reference is None:
        return await held_once(cluster, owner, DSN_KEY, lambda: secret(owner, password()))
    found = await cluster.get(SECRETS, owner.key.namespace, reference.name)
    name, key = reference.name, reference.key
    if found is None:
        message = f"Secret {name} is missing: make it, with the connection string as {key}"
        return Held(problem=Finding(Reason.SECRET_NOT_FOUND, message))
    if key not in (found.get("data") or {}):
        message = f"Secret {name} has no key {key}: put the connection string there"
        return Held(problem=Finding(Reason.SECRET_NOT_FOUND, message))
    return Held(SecretFile(name, key, found["metadata"]["resourceVersion"]))


async def _broker(cluster: Cluster, owner: Owner, spec: CoordinatorSpec) -> Held:
    if spec.broker is None:
        return Held()
    if spec.broker.secret_ref:
        return await named(cluster, owner, spec.broker.secret_ref, "the URL of the broker")
    return await held_once(cluster, owner, URL_KEY, lambda: nats_secret(owner, password()))


async def _admin(cluster: Cluster, owner: Owner, spec: CoordinatorSpec) -> Held:
    if spec.accounts is None or spec.accounts.admin_key != "Managed":
        return Held()
    return await held_once(cluster, owner, ADMIN_DIGEST_KEY, lambda: _new_admin(owner))


async def _jwt(cluster: Cluster, owner: Owner, spec: CoordinatorSpec) -> Held:
    if spec.accounts is None or spec.accounts.jwt is None:
        return Held()
    return await named(cluster, owner, spec.accounts.jwt.secret_ref, "tokens are checked with it")


async def held_once(cluster: Cluster, owner: Owner, key: str, make: Callable[[], Manifest]) -> Held:
    """A Secret that is made once, and has to hold `key`.

    Raises:
        ClusterError: a read or write failed.
    """
    wanted = make()
    name = wanted["metadata"]["name"]
    found = await cluster.get(SECRETS, owner.key.namespace, name)
    if found is None:
        found = await made_once(cluster, wanted)
    if claim(owner, found) is Claim.FORMER:
        return Held(former=True)
    if key not in (found.get("data") or {}):
        message = f"Secret {name} has no key {key}: restore it, or remove the Secret"
        return Held(problem=Finding(Reason.SECRET_NOT_FOUND, message))
    return Held(SecretFile(name, key, found["metadata"]["resourceVersion"]))


def password() -> str:
    """A new password, of what a URL can have."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def _new_admin(owner: Owner) -> Manifest:
    """A key as `muster-coordinator keys` makes them."""
    key = "nyt_admin_" + "".join(secrets.choice(_SECRET_LETTERS) for _ in range(_SECRET_LENGTH))
    return admin_secret(owner, key, hashlib.sha256(key.encode()).hexdigest())
