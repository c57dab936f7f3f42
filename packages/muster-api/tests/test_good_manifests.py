"""What a real API server takes, and what becomes of it there."""

from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from kubernetes import client

from muster_api.crd import COORDINATOR, KINDS, KV_CLUSTER, PROVER_POOL, Kind
from muster_api.model import GROUP, VERSION

from .manifests import INSECURE, create, manifest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (COORDINATOR, "database: {managed: {storage: 1Gi}}", "database: {managed: {storage: 2Gi}}"),
        # Longer as a text, and the same size.
        (COORDINATOR, "broker: {managed: {storage: 9Gi}}", "broker: {managed: {storage: 9216Mi}}"),
        (COORDINATOR, "broker: {managed: {storage: 9Gi}}", "broker: {managed: {storage: 10Gi}}"),
        (KV_CLUSTER, "database: {managed: {}}", "database: {managed: {storage: 0.5Ti}}"),
        (KV_CLUSTER, "volume: {size: 1000Mi}", "volume: {size: 1.5Gi}"),
    ],
)
def test_a_volume_may_grow(
    objects: client.CustomObjectsApi, kind: Kind, before: str, after: str
) -> None:
    made = create(objects, kind, manifest(kind, before, "growing"), dry_run=False)
    at = (GROUP, VERSION, "default", kind.plural, "growing")
    try:
        made["spec"] |= yaml.safe_load(after)
        objects.replace_namespaced_custom_object(*at, made)
    finally:
        objects.delete_namespaced_custom_object(*at)


def test_the_name_of_what_is_restored_can_be_corrected(objects: client.CustomObjectsApi) -> None:
    first = manifest(KV_CLUSTER, "backup: {claimName: a, restore: b}", "restored")
    made = create(objects, KV_CLUSTER, first, dry_run=False)
    at = (GROUP, VERSION, "default", KV_CLUSTER.plural, "restored")
    try:
        for backup in ({"claimName": "a", "restore": "c"}, {"claimName": "a"}):
            made["spec"]["backup"] = backup
            made = cast("dict[str, Any]", objects.replace_namespaced_custom_object(*at, made))
            assert made["spec"]["backup"].get("restore") == backup.get("restore")
    finally:
        objects.delete_namespaced_custom_object(*at)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_api_server_defaults_as_the_models_do(
    objects: client.CustomObjectsApi, kind: Kind
) -> None:
    spec = INSECURE if kind is PROVER_POOL else ""
    made = create(objects, kind, manifest(kind, spec))
    model = kind.model.model_fields["spec"].annotation
    assert model is not None
    assert made["spec"] == model.model_validate(yaml.safe_load(spec) or {}).to_wire()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_the_examples_are_accepted(objects: client.CustomObjectsApi, path: Path) -> None:
    kinds = {kind.name: kind for kind in KINDS}
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    for document in documents:
        create(objects, kinds[document["kind"]], document)


def test_the_scale_subresource_sets_the_workers(objects: client.CustomObjectsApi) -> None:
    spec = f"{{replicas: 1, autoscaling: {{enabled: false}}, {INSECURE}}}"
    create(objects, PROVER_POOL, manifest(PROVER_POOL, spec, "scaled"), dry_run=False)
    try:
        at = (GROUP, VERSION, "default", PROVER_POOL.plural, "scaled")
        objects.patch_namespaced_custom_object_scale(*at, {"spec": {"replicas": 3}})
        scaled = cast("dict[str, Any]", objects.get_namespaced_custom_object(*at))
        assert scaled["spec"]["replicas"] == 3
    finally:
        objects.delete_namespaced_custom_object(*at)


def test_the_scale_subresource_sets_the_storage_nodes(objects: client.CustomObjectsApi) -> None:
    create(objects, KV_CLUSTER, manifest(KV_CLUSTER, "", "scaled"), dry_run=False)
    try:
        at = (GROUP, VERSION, "default", KV_CLUSTER.plural, "scaled")
        objects.patch_namespaced_custom_object_scale(*at, {"spec": {"replicas": 5}})
        scaled = cast("dict[str, Any]", objects.get_namespaced_custom_object(*at))
        assert scaled["spec"]["replicas"] == 5
    finally:
        objects.delete_namespaced_custom_object(*at)
