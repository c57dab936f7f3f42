"""The Secrets with a Coordinator's certificates: made and renewed, or looked at.

Nothing is written twice, so that the operator needs no right to change Secrets: what is renewed is
a new revision, in Secrets of other names. A ConfigMap owns those of one revision; when it is wanted
no more, the cluster collects them.
"""

import asyncio
import base64
import logging
from collections.abc import Iterable, Mapping
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
from muster_operator.children.coordinator import certificates_anchor
from muster_operator.children.security import AUTHORITY_KEY, CERTIFICATE_KEY, PRIVATE_KEY, TLS_KEYS
from muster_operator.cluster import Cluster
from muster_operator.reconcile.conditions import Finding
from muster_operator.reconcile.plan import Children, Claim, claim
from muster_operator.reconcile.secrets import lacking
from muster_operator.resources import CONFIG_MAPS, SECRETS, Manifest, identity

log = logging.getLogger(__name__)

AUTHORITY_PRIVATE_KEY = "ca.key"

FIRST_REVISION = 1

# Pods that are not replaced yet have the one before.
_KEPT = 2

Data = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class TlsState:
    """The certificates of a Coordinator, or what keeps it from having them.

    Args:
        revisions: those of managed certificates that are kept, the one in use first.
        former: Secrets of a deleted Coordinator of the same name are not gone yet.
    """

    problem: Finding | None = None
    former: bool = False
    revisions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Revision:
    """One revision: its number, the ConfigMap that owns its Secrets, and these."""

    number: int
    anchor: Manifest
    secrets: tuple[Manifest | None, ...]

    @property
    def owner(self) -> Owner:
        """The ConfigMap as an owner."""
        return Owner.of(self.anchor)

    @property
    def data(self) -> tuple[Data, ...]:
        """What is in its Secrets."""
        return tuple(map(_data, self.secrets))


async def settle_tls(
    cluster: Cluster, owner: Owner, spec: CoordinatorSpec, live: Children
) -> TlsState:
    """Make or renew the certificates that are managed; look whether those of others are there.

    Raises:
        ClusterError: a read or write failed and is worth trying again.
    """
    tls, namespace = spec.tls, owner.key.namespace
    named = (
        (tls.secret_ref, "coordinators"),
        (tls.worker_secret_ref, "workers"),
        (spec.http.tls.secret_ref, "the HTTP API"),
    )
    for reference, whose in named:
        if reference:
            why = f"the TLS of {whose}"
            problem = await lacking(cluster, namespace, reference.name, TLS_KEYS, why)
            if problem:
                return TlsState(problem)
    return await _managed(cluster, owner, live) if tls.mode == "Managed" else TlsState()


async def _managed(cluster: Cluster, owner: Owner, live: Children) -> TlsState:
    anchors = _anchors(owner, live)
    kept = [await _read(cluster, owner, number, anchors[number]) for number in anchors]
    against = next((found for each in kept if (found := _against(each.owner, each.secrets))), None)
    if against:
        return against
    names = naming.coordinator_names(owner.key.name, owner.key.namespace)
    wanted = settled(_held(kept), names, datetime.now(UTC))
    if not kept or _changed(kept[0], wanted):
        fresh = await _begin(cluster, owner, max(anchors, default=FIRST_REVISION - 1) + 1)
        if isinstance(fresh, TlsState):
            return fresh
        kept = [fresh, *kept]
    # The authority first: what it has issued is of no use without it.
    for name, there, data in zip(
        _names(owner, kept[0].number), kept[0].secrets, wanted, strict=True
    ):
        if there is None:
            await _make(cluster, kept[0].owner, name, data)
    return TlsState(revisions=tuple(revision.number for revision in kept[:_KEPT]))


def revision_in_use(owner: Owner, spec: CoordinatorSpec, live: Children) -> int | None:
    """The revision of managed certificates that pods are to have; None where there is none."""
    managed = spec.tls.mode == "Managed"
    return next(iter(_anchors(owner, live)), None) if managed else None


def _anchors(owner: Owner, live: Children) -> dict[int, Manifest]:
    """The newest revisions that there are, by their numbers, the newest first."""
    found = {
        naming.certificates_revision(owner.key.name, name): there
        for (kind, name), there in live.items()
        if kind == CONFIG_MAPS.kind and claim(owner, there) is Claim.OURS
    }
    numbers = sorted(found.keys() - {0}, reverse=True)
    return {number: found[number] for number in numbers[:_KEPT]}


async def _begin(cluster: Cluster, owner: Owner, number: int) -> _Revision | TlsState:
    """A revision without Secrets, or what is in its way."""
    wanted = certificates_anchor(owner, number)
    there = await cluster.get(CONFIG_MAPS, owner.key.namespace, wanted["metadata"]["name"])
    against = _against(owner, (there,))
    if against:
        return against
    fresh = await _read(cluster, owner, number, await cluster.apply(CONFIG_MAPS, wanted))
    return _against(fresh.owner, fresh.secrets) or fresh


async def _read(cluster: Cluster, owner: Owner, number: int, anchor: Manifest) -> _Revision:
    namespace = owner.key.namespace
    found = await asyncio.gather(
        *(cluster.get(SECRETS, namespace, name) for name in _names(owner, number))
    )
    return _Revision(number, anchor, tuple(found))


def _names(owner: Owner, number: int) -> tuple[str, str, str]:
    coordinator = owner.key.name
    return (
        naming.authority_secret(coordinator, number),
        naming.server_secret(coordinator, number),
        naming.client_secret(coordinator, number),
    )


def _against(owner: Owner, objects: Iterable[Manifest | None]) -> TlsState | None:
    """Why objects that should be of `owner` can't be used."""
    for there in filter(None, objects):
        match claim(owner, there):
            case Claim.FORMER:
                return TlsState(former=True)
            case Claim.FOREIGN:
                kind, name = identity(there)
                message = f"{kind} {name} exists and is not ours: remove or rename it"
                return TlsState(Finding(Reason.NAME_TAKEN, message))
    return None


def _held(kept: list[_Revision]) -> tuple[Data, ...]:
    """What there is of authority, coordinators and workers.

    A revision that was only begun has the authority of the one before it.
    """
    nothing: tuple[Data, ...] = ({}, {}, {})
    newest, *before = [revision.data for revision in kept] or [nothing]
    authority = newest[0] or next((data[0] for data in before), {})
    return authority, *newest[1:]


def _changed(revision: _Revision, wanted: tuple[Data, ...]) -> bool:
    """Whether one of its Secrets holds something else; one that is missing can still be made."""
    return any(
        there is not None and _data(there) != data
        for there, data in zip(revision.secrets, wanted, strict=True)
    )


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


async def _make(cluster: Cluster, owner: Owner, name: str, data: Data) -> None:
    reference = {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": owner.key.kind,
        "name": owner.key.name,
        "uid": owner.uid,
        "controller": True,
    }
    metadata = {"name": name, "namespace": owner.key.namespace, "ownerReferences": [reference]}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    await cluster.create(SECRETS, SECRETS.manifest(metadata, data=encoded))
    log.info("certificate made", extra={"child_kind": "Secret", "child": name})
