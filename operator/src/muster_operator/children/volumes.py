"""Volumes of StatefulSets."""

from typing import Any

from muster_api.shared import ManagedStore


def retention(store: ManagedStore) -> dict[str, str]:
    """What becomes of the volume with its StatefulSet."""
    return {"whenDeleted": store.deletion_policy, "whenScaled": "Retain"}


def managed_claim(store: ManagedStore, labels: dict[str, str]) -> dict[str, Any]:
    """The claim of a managed store."""
    return volume_claim(store.storage, store.storage_class_name, labels)


def volume_claim(
    size: str, storage_class_name: str | None, labels: dict[str, str]
) -> dict[str, Any]:
    """The entry of `volumeClaimTemplates`; its volume is named data."""
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
    }
    if storage_class_name:
        spec["storageClassName"] = storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "labels": labels},
        "spec": spec,
    }
