"""The Secrets with a Coordinator's certificates: made and renewed, or looked at."""

import asyncio
import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from muster_api.conditions import Reason
from muster_api.coordinator import CoordinatorSpec
from muster_operator import naming
from muster_operator.certificates import (
    Authority,
    Pair,
    Subject,
    Usage,
    issue,
    kept_authority,
    kept_pair,
    new_authority,
)
from muster_operator.children.base import Owner
from muster_operator.children.security import AUTHORITY_KEY, CERTIFICATE_KEY, PRIVATE_KEY, TLS_KEYS
from muster_operator.cluster import Cluster
from muster_operator.reconcile.conditions import Finding
from muster_operator.reconcile.plan import Claim, claim
from muster_operator.reconcile.secrets import lacking
from muster_operator.resources import SECRETS, Manifest

log = logging.getLogger(__name__)

AUTHORITY_PRIVATE_KEY = "ca.key"

Data = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class TlsState:
    """What keeps a Coordinator from having certificates.

    Args:
        former: Secrets of a deleted Coordinator of the same name are not gone yet.
    """

    problem: Finding | None = None
    former: bool = False


async def settle_tls(cluster: Cluster, owner: Owner, spec: CoordinatorSpec) -> TlsState:
    """Make or renew the certificates that are managed; look whether those of others are there.

    Raises:
        ClusterError: a read or write failed and is worth trying again.
    """
    tls, namespace = spec.tls, owner.key.namespace
    if tls.mode == "Managed":
        return await _managed(cluster, owner)
    for reference, whose in ((tls.secret_ref, "coordinators"), (tls.worker_secret_ref, "workers")):
        if reference:
            why = f"the TLS of {whose}"
            problem = await lacking(cluster, namespace, reference.name, TLS_KEYS, why)
            if problem:
                return TlsState(problem)
    return TlsState()


async def _managed(cluster: Cluster, owner: Owner) -> TlsState:
    coordinator, namespace = owner.key.name, owner.key.namespace
    names = (
        naming.authority_secret(coordinator),
        naming.server_secret(coordinator),
        naming.client_secret(coordinator),
    )
    found = await asyncio.gather(*(cluster.get(SECRETS, namespace, name) for name in names))
    for name, there in zip(names, found, strict=True):
        whose = claim(owner, there) if there else Claim.OURS
        if whose is Claim.FORMER:
            return TlsState(former=True)
        if whose is Claim.FOREIGN:
            message = f"Secret {name} exists and is not ours: remove or rename it"
            return TlsState(Finding(Reason.NAME_TAKEN, message))
    wanted = settled(
        tuple(map(_data, found)),
        naming.coordinator_names(coordinator, namespace),
        datetime.now(UTC),
    )
    # The authority first: what it has issued is of no use without it.
    for name, there, data in zip(names, found, wanted, strict=True):
        if there is None or _data(there) != data:
            await _write(cluster, owner, name, there, data)
    return TlsState()


def settled(
    held: tuple[Data, ...], names: tuple[str, ...], now: datetime
) -> tuple[Data, Data, Data]:
    """What belongs into the Secrets of authority, coordinators and workers; pure but for new keys.

    Args:
        held: what is in them.
        names: DNS names of the coordinators.
    """
    common = f"{names[0]}-authority"
    authority_data, server_data, client_data = held
    try:
        authority = kept_authority(
            Authority(authority_data[AUTHORITY_KEY], authority_data[AUTHORITY_PRIVATE_KEY]),
            common,
            now,
        )
    except (KeyError, ValueError):
        authority = new_authority(common, now)
    client = Subject((f"{names[0]}-worker",), Usage.CLIENT)
    return (
        {AUTHORITY_KEY: authority.certificates, AUTHORITY_PRIVATE_KEY: authority.key},
        _settled_pair(server_data, authority, Subject(names, Usage.SERVER), now),
        _settled_pair(client_data, authority, client, now),
    )


def _settled_pair(held: Data, authority: Authority, subject: Subject, now: datetime) -> Data:
    try:
        pair = kept_pair(Pair(held[CERTIFICATE_KEY], held[PRIVATE_KEY]), authority, subject, now)
    except (KeyError, ValueError):
        pair = issue(authority, subject, now)
    return {
        CERTIFICATE_KEY: pair.certificate,
        PRIVATE_KEY: pair.key,
        AUTHORITY_KEY: authority.certificates,
    }


def _data(secret: Manifest | None) -> Data:
    data = (secret or {}).get("data") or {}
    return {key: base64.b64decode(value) for key, value in data.items()}


async def _write(
    cluster: Cluster, owner: Owner, name: str, there: Manifest | None, data: Data
) -> None:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    if there is None:
        metadata = owner.metadata(name, naming.COORDINATOR)
        await cluster.create(SECRETS, SECRETS.manifest(metadata, data=encoded))
    else:
        await cluster.replace(SECRETS, {**there, "data": encoded})
    log.info("certificates written", extra={"child_kind": "Secret", "child": name})
