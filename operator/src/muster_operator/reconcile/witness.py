"""The Secret with the keys that seal inputs: found, made once, never replaced.

What is sealed can be opened with the same key alone, so a key that is gone is not followed by a new
one by itself.
"""

import asyncio
import base64
import os
from collections.abc import Mapping

from muster_api.conditions import Reason
from muster_api.coordinator import CoordinatorSpec
from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.children.secret_files import WITNESS_KEY, SecretFile, witness_secret
from muster_operator.cluster import Cluster
from muster_operator.reconcile.conditions import Finding
from muster_operator.reconcile.plan import Children, Claim, claim
from muster_operator.reconcile.secrets import Held, made_once, named
from muster_operator.resources import DEPLOYMENTS, SECRETS, Manifest

_KEY_BYTES = 32


async def settle_witness(
    cluster: Cluster, owner: Owner, spec: CoordinatorSpec, live: Children
) -> Held:
    """The keys of a Coordinator; those of a managed database are made where there never were any.

    Raises:
        ClusterError: a read or write failed and is worth trying again.
    """
    reference = spec.database.witness_key_secret_ref
    if reference:
        return await named(cluster, owner, reference, "inputs are sealed with it")
    if spec.database.managed is None:
        return Held()
    retained = spec.database.managed.deletion_policy == "Retain"
    name = owner.key.name
    used = naming.witness_secret(name, retained=retained)
    other = naming.witness_secret(name, retained=not retained)
    found = await asyncio.gather(
        *(cluster.get(SECRETS, owner.key.namespace, each) for each in (used, other))
    )
    against = next((each for there in found if there and (each := _against(owner, there))), None)
    if against:
        return against
    known = next(filter(None, found), None)
    if known is None and used_before(live, name):
        return Held(problem=Finding(Reason.WITNESS_KEY_LOST, _lost(used)))
    # The same key under the other name: only there it goes, or stays, with the volume.
    data = known["data"] if known else _fresh()
    there = found[0] or await made_once(cluster, witness_secret(owner, data, retained=retained))
    return Held(SecretFile(used, WITNESS_KEY, there["metadata"]["resourceVersion"]))


def _against(owner: Owner, there: Manifest) -> Held | None:
    """Why a Secret of that name can't be used."""
    name = there["metadata"]["name"]
    match whose(owner, there):
        case Claim.FORMER:
            return Held(former=True)
        case Claim.FOREIGN:
            message = f"Secret {name} exists and is not ours: remove or rename it"
            return Held(problem=Finding(Reason.NAME_TAKEN, message))
        case Claim.OURS if WITNESS_KEY not in (there.get("data") or {}):
            message = f"Secret {name} has no key {WITNESS_KEY}: restore it"
            return Held(problem=Finding(Reason.WITNESS_KEY_LOST, message))
    return None


def whose(owner: Owner, there: Manifest) -> Claim:
    """Whose a Secret of that name is; one that nobody controls was retained, or restored."""
    references = there["metadata"].get("ownerReferences", [])
    if not any(reference.get("controller") for reference in references):
        return Claim.OURS
    return claim(owner, there)


def used_before(live: Children, coordinator: str) -> bool:
    """Whether the pods that there are have a key that the operator made."""
    deployment = live.get((DEPLOYMENTS.kind, naming.coordinator_name(coordinator)), {})
    template: Mapping[str, Mapping[str, Mapping[str, str]]] = deployment.get("spec", {}).get(
        "template", {}
    )
    annotation = (template.get("metadata", {}).get("annotations") or {}).get(naming.WITNESS, "")
    made = {naming.witness_secret(coordinator, retained=each) for each in (True, False)}
    return annotation.rpartition(".")[0] in made


def _lost(name: str) -> str:
    return (
        f"Secret {name} is gone, and inputs that wait are sealed with its key: restore it, or make "
        f"it with another as {WITNESS_KEY} (openssl rand -base64 32), with which they stay sealed"
    )


def _fresh() -> dict[str, str]:
    """A new key, twice in base64: as a line of the file, and as Secrets are written."""
    line = base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n"
    return {WITNESS_KEY: base64.b64encode(line).decode()}
