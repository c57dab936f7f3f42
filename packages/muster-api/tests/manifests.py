"""Objects of our kinds, and how they are brought to an API server."""

from typing import Any, cast

import yaml
from kubernetes import client

from muster_api.crd import Kind
from muster_api.model import API_VERSION, GROUP, VERSION

INSECURE = "keys: {insecureSetup: true}"


def manifest(kind: Kind, spec: str, name: str = "demo") -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind.name,
        "metadata": {"name": name},
        "spec": yaml.safe_load(spec) or {},
    }


def create(
    objects: client.CustomObjectsApi, kind: Kind, body: dict[str, Any], dry_run: bool = True
) -> dict[str, Any]:
    created = objects.create_namespaced_custom_object(
        GROUP,
        VERSION,
        "default",
        kind.plural,
        body,
        field_validation="Strict",
        dry_run="All" if dry_run else None,
    )
    return cast("dict[str, Any]", created)
