import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from .helm_cli import CHART, ProgramFailedError, helm, render, settings

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())

# Every feature on and every default changed, as far as they go together.
FULL: dict[str, Any] = {
    "fullnameOverride": "fleet",
    "commonLabels": {"team": "proving"},
    "crds.keep": False,
    "images.registry": "registry.example.com:5000/mirror",
    "images.pullPolicy": "Always",
    "images.pullSecrets": [{"name": "pull"}],
    "images.worker": {"repository": "w/worker", "tag": "1.2.3", "digest": "sha256:" + "a" * 64},
    "operator.replicas": 3,
    "operator.logLevel": "debug",
    "operator.createLease": False,
    "operator.priorityClassName": "system-cluster-critical",
    "operator.nodeSelector": {"kubernetes.io/os": "linux"},
    "operator.tolerations": [{"key": "control", "operator": "Exists"}],
    "operator.affinity": {"nodeAffinity": {}},
    "operator.podAnnotations": {"example.com/a": "b"},
    "operator.podLabels": {"example.com-label": "c"},
    "serviceAccount.annotations": {"example.com/role": "d"},
    "networkPolicy.metricsFrom": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    "monitoring.podMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "p"}},
    "monitoring.prometheusRule": {"enabled": True, "labels": {"release": "p"}},
    "monitoring.dashboard.enabled": True,
}

REJECTED = [
    ({"operator.replica": 2}, "at '/operator': additional properties 'replica' not allowed"),
    ({"operator.replicas": 0}, "at '/operator/replicas': minimum: got 0, want 1"),
    ({"operator.replicas": "2"}, "at '/operator/replicas': got string, want integer"),
    ({"operator.logLevel": "verbose"}, "must be one of 'debug', 'info', 'warning', 'error'"),
    ({"operator.resources": {"limits": None}}, "at '/operator/resources': missing property"),
    ({"operator.resources.limits.memory": None}, "missing property 'memory'"),
    ({"operator.resources.requests.cpu": None}, "missing property 'cpu'"),
    ({"operator.resources.limits.memory": "512 MB"}, "at '/operator/resources/limits/memory'"),
    ({"images.pullPolicy": "Sometimes"}, "must be one of 'Always', 'IfNotPresent', 'Never'"),
    ({"images.postgres.tag": 17}, "at '/images/postgres/tag': got number, want string"),
    ({"images.worker.digest": "sha256:1"}, "at '/images/worker/digest': 'sha256:1' does not match"),
    ({"images.worker.repository": "a/b:1"}, "at '/images/worker/repository': 'a/b:1'"),
    ({"images.registry": "https://r"}, "at '/images/registry': 'https://r' does not match"),
    ({"images.scheduler": {}}, "at '/images': additional properties 'scheduler' not allowed"),
    ({"autoscaling.source": "Keda"}, "must be one of 'Muster', 'KEDA', 'Prometheus'"),
    ({"autoscaling.keda.namespace": "Keda"}, "at '/autoscaling/keda/namespace': 'Keda' does not"),
    ({"serviceAccount.create": False}, "at '/serviceAccount/name': minLength: got 0, want 1"),
    ({"crds.install": "yes"}, "at '/crds/install': got string, want boolean"),
    ({"commonLabels": {"a": "b c"}}, "at '/commonLabels/a': 'b c' does not match"),
    ({"monitoring.podMonitor.interval": "30"}, "at '/monitoring/podMonitor/interval'"),
    ({"networkPolicy.apiServer.cidrs": ["10.0.0.1"]}, "at '/networkPolicy/apiServer/cidrs/0'"),
    ({"replicas": 2}, "additional properties 'replicas' not allowed"),
]


@pytest.mark.parametrize(("values", "sentence"), REJECTED)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ProgramFailedError) as refused:
        render(values)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("values", [{}, FULL], ids=["defaults", "everything"])
def test_lint_finds_no_fault(values: dict[str, Any]) -> None:
    report = helm("lint", "--strict", str(CHART), *settings(values))
    assert "0 chart(s) failed" in report
    assert "[WARNING]" not in report


def test_the_full_set_of_values_renders() -> None:
    rendered = render(FULL)
    assert rendered.names("Deployment") == {"fleet-operator"}
    assert len(rendered.of("PodMonitor")) == 2
    assert len(rendered.of("PrometheusRule")) == 1


def test_the_operator_may_be_without_a_limit_of_cpu_time() -> None:
    deployment = render({"operator.resources.limits.cpu": None}).one(
        "Deployment", "muster-operator"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "512Mi"}


def test_a_namespace_of_its_own_is_in_every_namespaced_object() -> None:
    cluster_wide = {
        "APIService",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
    }
    for manifest in render(FULL).manifests:
        namespaced = "namespace" in manifest["metadata"]
        assert namespaced == (manifest["kind"] not in cluster_wide), manifest["metadata"]


def schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for key in ("properties", "$defs"):
        for name, inner in schema.get(key, {}).items():
            yield from schemas(inner, f"{path}/{name}")


def test_no_object_with_named_keys_takes_others() -> None:
    for path, schema in schemas(SCHEMA):
        if "properties" in schema:
            assert schema.get("additionalProperties") is False, path


def keys(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Paths of defaults that the schema does not name."""
    for name, value in values.items():
        inner = schema.get("properties", {}).get(name)
        if inner is None:
            yield f"{path}/{name}"
            continue
        if "$ref" in inner:
            inner = SCHEMA["$defs"][inner["$ref"].rpartition("/")[2]]
        if isinstance(value, dict) and "properties" in inner:
            yield from keys(value, inner, f"{path}/{name}")


def test_the_schema_names_every_default() -> None:
    assert list(keys(DEFAULTS, SCHEMA)) == []
