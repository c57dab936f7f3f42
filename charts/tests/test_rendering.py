import pytest

from muster_operator.config import OperatorConfig
from muster_runtime.config import load

from .helm_cli import CHART, NAMESPACE, ProgramFailedError, helm, render

APISERVICE = "v1beta1.external.metrics.k8s.io"


def environment(values: dict[str, str] | None = None) -> dict[str, str]:
    (container,) = render(values or {}).one("Deployment", "muster-operator")["spec"]["template"][
        "spec"
    ]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("muster", {}, "muster-operator"),
        ("prod", {}, "prod-muster-operator"),
        ("prod", {"nameOverride": "provers"}, "prod-provers-operator"),
        ("prod", {"fullnameOverride": "fleet"}, "fleet-operator"),
        ("r" * 53, {}, "r" * 36 + "-operator"),
    ],
)
def test_names_follow_the_release(release: str, values: dict[str, str], name: str) -> None:
    rendered = render(values, release=release)
    assert rendered.names("Deployment") == {name}
    assert all(len(m["metadata"]["name"]) <= 63 for m in rendered.manifests)


def test_two_replicas_prefer_different_nodes_and_one_stays_up() -> None:
    rendered = render()
    spec = rendered.one("Deployment", "muster-operator")["spec"]
    pod = spec["template"]["spec"]
    budget = rendered.one("PodDisruptionBudget", "muster-operator")["spec"]
    (term,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert spec["replicas"] == 2
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert term["podAffinityTerm"]["labelSelector"] == spec["selector"] == budget["selector"]
    assert budget["maxUnavailable"] == 1
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_selectors_find_the_operator_and_nothing_else() -> None:
    rendered = render()
    wanted = rendered.one("Deployment", "muster-operator")["spec"]["selector"]["matchLabels"]
    (test_pod,) = rendered.of("Pod")
    labels = rendered.one("Deployment", "muster-operator")["spec"]["template"]["metadata"]["labels"]
    assert wanted.items() <= labels.items()
    assert not wanted.items() <= test_pod["metadata"]["labels"].items()
    for service in rendered.of("Service"):
        assert service["spec"]["selector"] == wanted
    assert rendered.one("NetworkPolicy", "muster-operator")["spec"]["podSelector"] == {
        "matchLabels": wanted
    }


def test_ports_and_probes_meet() -> None:
    rendered = render()
    (container,) = rendered.one("Deployment", "muster-operator")["spec"]["template"]["spec"][
        "containers"
    ]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"ops": 8092, "metrics-api": 6443}
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "ops"}
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "ops"}
    targets = {
        s["metadata"]["name"]: (port["port"], port["targetPort"])
        for s in rendered.of("Service")
        for port in s["spec"]["ports"]
    }
    assert targets == {"muster-operator": (8092, "ops"), "muster-metrics": (443, "metrics-api")}


def test_the_operator_understands_what_the_chart_tells_it() -> None:
    configured = load(OperatorConfig, None, environment()).muster
    assert configured.coordinator_image == "muster/coordinator:0.1.0"
    assert configured.worker_image == "muster/worker:0.1.0"
    assert configured.postgres_image == "postgres:17"
    assert configured.nats_image == "nats:2.15"
    assert configured.image_pull_policy == "IfNotPresent"
    assert configured.lease_name == configured.deployment == "muster-operator"
    assert configured.autoscaling_source == "Muster"
    known = {f"MUSTER_{key.upper()}" for key in type(configured).model_fields}
    assert {name for name in environment() if not name.startswith("POD_")} <= known
    ports = {"ops": configured.ops_port, "metrics-api": configured.metrics_api_port}
    assert ports == {"ops": 8092, "metrics-api": 6443}


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "muster/operator:0.1.0"),
        ({"images.operator.tag": "1.2"}, "muster/operator:1.2"),
        ({"images.registry": "r.example.com/m/"}, "r.example.com/m/muster/operator:0.1.0"),
        (
            {"images.operator.digest": "sha256:" + "0" * 64},
            "muster/operator:0.1.0@sha256:" + "0" * 64,
        ),
    ],
)
def test_an_image_is_named_by_registry_repository_tag_and_digest(
    values: dict[str, str], image: str
) -> None:
    for _, pod in render(values).pods():
        assert [container["image"] for container in pod["containers"]] == [image]


def test_the_metrics_api_points_at_its_service_and_leaves_the_ca_to_the_operator() -> None:
    rendered = render()
    spec = rendered.one("APIService", APISERVICE)["spec"]
    assert spec["service"] == {"name": "muster-metrics", "namespace": NAMESPACE, "port": 443}
    assert "caBundle" not in spec
    assert "insecureSkipTLSVerify" not in spec
    env = environment()
    assert env["MUSTER_METRICS_API_SERVICE"] in rendered.names("Service")
    assert env["MUSTER_METRICS_API_SECRET"] in rendered.names("Secret")
    assert "data" not in rendered.one("Secret", "muster-metrics-tls")


def test_the_operator_is_told_where_keda_is() -> None:
    values = {"autoscaling.source": "KEDA", "autoscaling.keda.namespace": "scaling"}
    config = load(OperatorConfig, None, environment(values))
    assert config.muster.autoscaling_source == "KEDA"
    assert config.defaults().keda == "scaling"
    assert not load(OperatorConfig, None, environment()).defaults().keda


@pytest.mark.parametrize("source", ["KEDA", "Prometheus"])
def test_with_metrics_from_elsewhere_nothing_of_that_api_remains(source: str) -> None:
    rendered = render({"autoscaling.source": source})
    assert rendered.of("APIService") == []
    assert rendered.of("Secret") == []
    assert rendered.names("Service") == {"muster-operator"}
    assert rendered.names("ClusterRole") == {
        "muster-operator",
        "muster-viewer",
        "muster-editor",
        "muster-token-review",
    }
    assert rendered.names("RoleBinding") == set()
    groups = {
        group
        for rule in rendered.one("ClusterRole", "muster-operator")["rules"]
        for group in rule["apiGroups"]
    }
    assert groups.isdisjoint({"authorization.k8s.io", "apiregistration.k8s.io"})


def test_monitoring_is_off_until_asked_for() -> None:
    rendered = render()
    for kind in ("PodMonitor", "PrometheusRule"):
        assert rendered.of(kind) == []
    assert rendered.names("ConfigMap") == {"muster-test"}


def test_labels_of_the_user_never_replace_those_that_select() -> None:
    rendered = render(
        {
            "operator.podLabels": {"app.kubernetes.io/component": "mine", "team": "a"},
            "monitoring.podMonitor.enabled": True,
            "monitoring.podMonitor.labels": {"release": "prometheus"},
        }
    )
    labels = rendered.one("Deployment", "muster-operator")["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "operator"
    assert labels["team"] == "a"
    for monitor in rendered.of("PodMonitor"):
        assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_an_account_of_ones_own_gets_the_rights() -> None:
    rendered = render({"serviceAccount.create": False, "serviceAccount.name": "mine"})
    assert rendered.of("ServiceAccount") == []
    pod = rendered.one("Deployment", "muster-operator")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "mine"
    (subject,) = rendered.one("ClusterRoleBinding", "muster-operator")["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "mine", "namespace": NAMESPACE}


def test_old_clusters_are_refused() -> None:
    with pytest.raises(ProgramFailedError, match=r"requires kubeVersion: >=1\.30"):
        helm("template", "muster", str(CHART), "--kube-version=1.29.0")
