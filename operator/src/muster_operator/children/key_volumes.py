"""Imported keys as files in the pods of coordinators.

Not below /etc/muster: that is one read-only volume, and nothing can be mounted inside it.
"""

from collections.abc import Iterable
from typing import Any

from muster_api.circuits import KeySource
from muster_api.proverpool import ProverPoolSpec
from muster_operator.children.base import READ_BY_GROUP

_FOLDER = "/var/lib/muster/keys"


def key_file(source: KeySource) -> str:
    """The path of a key's file."""
    if source.secret_ref:
        return f"{_FOLDER}/secret/{source.secret_ref.name}/{source.secret_ref.key}"
    assert source.persistent_volume_claim  # noqa: S101 - a rule of the custom resource
    claim = source.persistent_volume_claim
    return f"{_FOLDER}/claim/{claim.claim_name}/{claim.path}"


def sources(pools: Iterable[ProverPoolSpec]) -> list[KeySource]:
    """Where the imported keys of all pools come from."""
    keys = [pool.keys for pool in pools if pool.keys]
    return [each.source for key in keys for each in key.imported or []]


def key_volumes(
    pools: Iterable[ProverPoolSpec],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The volumes with the imported keys of all pools, and where they are mounted.

    A volume is mounted whole, because a key may consist of several files.
    """
    found = sources(pools)
    secrets = {each.secret_ref.name for each in found if each.secret_ref}
    claims = {
        each.persistent_volume_claim.claim_name for each in found if each.persistent_volume_claim
    }
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []

    def add(path: str, **volume: Any) -> None:
        name = f"keys-{len(volumes)}"
        volumes.append({"name": name, **volume})
        mounts.append({"name": name, "mountPath": f"{_FOLDER}/{path}", "readOnly": True})

    for name in sorted(secrets):
        add(f"secret/{name}", secret={"secretName": name, "defaultMode": READ_BY_GROUP})
    for name in sorted(claims):
        add(f"claim/{name}", persistentVolumeClaim={"claimName": name, "readOnly": True})
    return volumes, mounts
