import inspect
import json
import re
from typing import Any

import promql_parser
import pytest
import yaml

from muster_coordinator.broker_face.metrics import BrokerMetrics
from muster_coordinator.ops.metrics import Metrics as CoordinatorMetrics
from muster_coordinator.proving.offers import Offers, Pool
from muster_kv_coordinator.metrics import Metrics as KvMetrics
from muster_kv_coordinator.topology.meter import TopologyMeter
from muster_operator.metrics import Condition, OperatorMetrics
from muster_operator.resources import Key
from muster_proving import CircuitSpec
from muster_storage import store
from muster_storage.metrics import Metrics as StorageMetrics
from muster_worker.metrics import Metrics as WorkerMetrics

from .helm_cli import CHART, Rendered, render


def exported() -> set[str]:
    """The names of all samples of an operator, its coordinators, a worker and a storage node."""
    coordinator = CoordinatorMetrics(
        Offers([Pool("demo", (CircuitSpec("merkle", size=20),), True)])
    )
    BrokerMetrics(coordinator.registry)
    kv = KvMetrics(["ReadKeyValue"])
    TopologyMeter(kv.registry)
    storage = StorageMetrics(["Get"], ["CORRUPT"])
    worker = WorkerMetrics("demo-worker-0", 1)
    worker.seed_types(["prove.merkle"])
    operator = OperatorMetrics()
    ready = Condition("Ready", "True", "AllReady")
    operator.watch_conditions(lambda: [(Key("ProverPool", "proofs", "demo"), ready)])
    registries = (
        operator.registry,
        coordinator.registry,
        worker.registry,
        kv.registry,
        storage.registry,
    )
    return {
        sample.name
        for registry in registries
        for metric in registry.collect()
        for sample in metric.samples
    } | watched()


def watched() -> set[str]:
    """The gauges that a storage node reads when asked; they need an open store to be there."""
    found = re.findall(r'metrics\.watch\(\s*"(\w+)"', inspect.getsource(store))
    return {f"storage_{name}" for name in found}


@pytest.fixture
def rendered() -> Rendered:
    return render(
        {
            "monitoring.podMonitor.enabled": True,
            "monitoring.prometheusRule.enabled": True,
            "monitoring.dashboard.enabled": True,
        }
    )


def rules(rendered: Rendered) -> list[dict[str, Any]]:
    (group,) = rendered.one("PrometheusRule", "muster")["spec"]["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard_queries(rendered: Rendered) -> list[str]:
    return [
        target["expr"].replace("$namespace", ".*")
        for text in rendered.one("ConfigMap", "muster-dashboard")["data"].values()
        for panel in json.loads(text)["panels"]
        for target in panel["targets"]
    ]


def metrics(expression: Any) -> set[str]:
    """The names of all metrics in a parsed expression."""
    if isinstance(expression, promql_parser.VectorSelector):
        return {str(expression.name)}
    if isinstance(expression, promql_parser.MatrixSelector):
        return metrics(expression.vector_selector)
    if isinstance(expression, promql_parser.Call):
        return set().union(*(metrics(argument) for argument in expression.args))
    if isinstance(expression, promql_parser.BinaryExpr):
        return metrics(expression.lhs) | metrics(expression.rhs)
    if isinstance(expression, promql_parser.AggregateExpr | promql_parser.ParenExpr):
        return metrics(expression.expr)
    return set()


def test_the_alerts_that_people_know_are_there(rendered: Rendered) -> None:
    assert [rule["alert"] for rule in rules(rendered)] == [
        "NoAvailableWorkers",
        "HighTaskFailureRate",
        "HighGRPCLatency",
        "WorkerDisconnected",
        "WorkerHighFailureRate",
        "WorkerPoolSaturated",
        "TasksWaitLong",
        "NoLeader",
        "WorkerQuarantined",
        "StorageNodeAway",
        "QuorumNotReached",
        "StoreErrors",
        "StoreSlow",
        "TenantsNotCached",
        "StorageDiskFilling",
        "StorageDamaged",
        "HintsWaitLong",
        "NoMaintenanceLeader",
        "NoOperator",
        "ReconcilingFails",
        "ObjectStalled",
        "ObjectNotReady",
        "BackupFailed",
    ]


def test_each_alert_says_how_bad_where_and_what_to_do(rendered: Rendered) -> None:
    for rule in rules(rendered):
        assert rule["for"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} <= set(rule["annotations"])
        where = re.search(r"\$labels\.(object_)?namespace", json.dumps(rule["annotations"]))
        # There is one operator, and where it is not there is nobody to name it.
        assert where or rule["alert"] == "NoOperator"


def test_expressions_parse_and_use_metrics_that_exist(rendered: Rendered) -> None:
    for expression in [rule["expr"] for rule in rules(rendered)] + dashboard_queries(rendered):
        used = metrics(promql_parser.parse(expression))
        assert used, expression
        assert used <= exported(), expression


def test_documented_metrics_exist() -> None:
    for document in ("operations.md", "failure-modes.md"):
        text = (CHART.parents[1] / "docs" / document).read_text()
        named = set(
            re.findall(r"`((?:muster_operator|coordinator|worker|storage|grpc)_\w+)`", text)
        )
        samples = exported()
        assert named
        assert [n for n in named if n not in samples and f"{n}_bucket" not in samples] == []


def test_every_pod_with_metrics_is_scraped(rendered: Rendered) -> None:
    operator = rendered.one("PodMonitor", "muster-operator")["spec"]
    labels = rendered.one("Deployment", "muster-operator")["spec"]["template"]["metadata"]["labels"]
    assert operator["selector"]["matchLabels"].items() <= labels.items()
    fleets = rendered.one("PodMonitor", "muster-fleets")["spec"]
    assert fleets["namespaceSelector"] == {"any": True}
    (components,) = fleets["selector"]["matchExpressions"]
    assert components["values"] == ["coordinator", "worker", "kv-coordinator", "kv-storage"]


def test_the_dashboard_has_a_label_by_which_it_is_found(rendered: Rendered) -> None:
    labels = rendered.one("ConfigMap", "muster-dashboard")["metadata"]["labels"]
    assert labels["grafana_dashboard"] == "1"


def test_templates_of_prometheus_survive_those_of_helm() -> None:
    source = yaml.safe_load((CHART / "files/alerts.yaml").read_text())
    rule = render({"monitoring.prometheusRule.enabled": True}).one("PrometheusRule", "muster")
    assert rule["spec"] == source
