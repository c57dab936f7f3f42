"""Carrying out a plan."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from muster_api.conditions import Reason
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.cluster import Cluster, NotFoundError, RefusedError
from muster_operator.reconcile.conditions import Finding
from muster_operator.reconcile.plan import Children, owns_replicas, plan
from muster_operator.reconcile.volumes import doomed_claims
from muster_operator.resources import (
    CLAIMS,
    DEPLOYMENTS,
    SCALED_OBJECTS,
    STATEFUL_SETS,
    Manifest,
    Resource,
    by_kind,
    identity,
)

log = logging.getLogger(__name__)

REPLICAS_MANAGER = "muster-operator-replicas"


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of it.

    Args:
        live: the children as they are now.
        problem: the first write that the API server refused, or name that is taken.
        waiting_for: objects of a deleted owner of the same name that must go first.
        pruned: what was removed, as kind and name.
    """

    live: Children
    problem: Finding | None = None
    waiting_for: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()


async def children(cluster: Cluster, owner: Owner, resources: Iterable[Resource]) -> Children:
    """Every labelled child of `owner`.

    Raises:
        ClusterError: a read failed.
    """
    selector = naming.owner_selector(owner.key)
    found = await asyncio.gather(
        *(_listed(cluster, resource, owner.key.namespace, selector) for resource in resources)
    )
    return {identity(each): each for group in found for each in group}


async def _listed(
    cluster: Cluster, resource: Resource, namespace: str, selector: str
) -> list[Manifest]:
    try:
        return await cluster.list(resource, namespace, selector)
    except NotFoundError:
        if resource is not SCALED_OBJECTS:
            raise
        return []  # there is no KEDA; `apply` says so where one is wanted


async def apply(cluster: Cluster, owner: Owner, wanted: list[Manifest], live: Children) -> Applied:
    """Make the children what is `wanted`; `live` is what `children` found.

    Raises:
        ClusterError: a read or write failed and is worth trying again.
    """
    live = {**live, **await _taken(cluster, wanted, live)}
    todo = plan(owner, wanted, live)
    problems = [_taken_by_another(name) for name in todo.foreign]
    now, former = dict(live), list(todo.former)
    for manifest in todo.apply:
        if manifest["kind"] == STATEFUL_SETS.kind and identity(manifest) not in live:
            doomed = await doomed_claims(cluster, manifest)
            former += [f"{CLAIMS.kind} {name}" for name in doomed]
            if doomed:
                continue
        try:
            now[identity(manifest)] = await _write(cluster, manifest, live)
        except RefusedError as refused:
            kind, name = identity(manifest)
            problems.append(Finding(Reason.REFUSED, f"{kind} {name}: {refused.message}"))
        except NotFoundError:
            if manifest["kind"] != SCALED_OBJECTS.kind:
                raise
            problems.append(_without_keda(manifest))
    pruned = []
    for there in todo.prune:
        kind, name = identity(there)
        await cluster.delete(by_kind(there["apiVersion"], kind), there)
        log.info("removed", extra={"child_kind": kind, "child": name})
        pruned.append(f"{kind} {name}")
        del now[kind, name]
    return Applied(now, next(iter(problems), None), tuple(former), tuple(pruned))


async def _taken(cluster: Cluster, wanted: list[Manifest], live: Children) -> Children:
    """Objects that bear a wanted name without our labels."""
    missing = [each for each in wanted if identity(each) not in live]
    found = await asyncio.gather(
        *(
            cluster.get(
                by_kind(each["apiVersion"], each["kind"]),
                each["metadata"]["namespace"],
                each["metadata"]["name"],
            )
            for each in missing
        )
    )
    return {identity(each): each for each in found if each is not None}


async def _write(cluster: Cluster, manifest: Manifest, live: Children) -> Manifest:
    kind, name = identity(manifest)
    before = live.get((kind, name))
    after = await cluster.apply(by_kind(manifest["apiVersion"], kind), manifest)
    version = before["metadata"]["resourceVersion"] if before else None
    if after["metadata"]["resourceVersion"] != version:
        log.info("applied", extra={"child_kind": kind, "child": name, "made": before is None})
    return after


def _taken_by_another(name: str) -> Finding:
    message = f"{name} exists and is not ours: remove or rename it"
    return Finding(Reason.NAME_TAKEN, message)


def _without_keda(manifest: Manifest) -> Finding:
    kind, name = identity(manifest)
    message = (
        f"{kind} {name}: the cluster does not know {SCALED_OBJECTS.group}: install KEDA, or "
        "Muster with another autoscaling.source"
    )
    return Finding(Reason.KEDA_NOT_FOUND, message)


async def release_replicas(cluster: Cluster, deployment: Manifest, low: int, high: int) -> None:
    """Give `spec.replicas` to the autoscaler, at a number between `low` and `high`.

    A field that server-side apply leaves out is reset unless somebody else owns it too; so a
    second manager takes it first. At zero, whoever set that, an autoscaler does nothing.

    Raises:
        ClusterError: the write failed.
    """
    if not owns_replicas(deployment) and deployment["spec"].get("replicas") != 0:
        return
    replicas = min(max(deployment["spec"].get("replicas", 1), low), high)
    metadata = deployment["metadata"]
    share = DEPLOYMENTS.manifest(
        {"name": metadata["name"], "namespace": metadata["namespace"]}, spec={"replicas": replicas}
    )
    await cluster.apply(DEPLOYMENTS, share, manager=REPLICAS_MANAGER)
