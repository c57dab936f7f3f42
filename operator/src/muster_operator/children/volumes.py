"""The volume of a managed store."""

from typing import Any

from muster_api.shared import ManagedStore


def retention(store: ManagedStore) -> dict[str, str]:
    """What becomes of the volume with its StatefulSet."""
    return {"whenDeleted": store.deletion_policy, "whenScaled": "Retain"}


def volume_claim(store: ManagedStore, labels: dict[str, str]) -> dict[str, Any]:
    """The entry of `volumeClaimTemplates`; its volume is named data."""
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": store.storage}},
    }
    if store.storage_class_name:
        spec["storageClassName"] = store.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "labels": labels},
        "spec": spec,
    }
