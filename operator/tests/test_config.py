from datetime import timedelta
from pathlib import Path

import pytest

from muster_operator.config import OperatorConfig
from muster_operator.metrics import OperatorMetrics
from muster_runtime.config import ConfigError, load

IMAGES = {
    "MUSTER_COORDINATOR_IMAGE": "c:1",
    "MUSTER_WORKER_IMAGE": "w:1",
    "MUSTER_POSTGRES_IMAGE": "p:1",
    "MUSTER_NATS_IMAGE": "n:1",
}


def test_the_environment_alone_is_enough() -> None:
    config = load(OperatorConfig, None, {**IMAGES, "MUSTER_AUTOSCALING_SOURCE": "KEDA"})
    assert config.muster.worker_image == "w:1"
    assert config.defaults().keda == "keda"
    assert config.muster.resync_interval == timedelta(seconds=120)
    assert config.defaults().pull_policy == "IfNotPresent"


def test_a_file_is_read_and_the_environment_goes_over_it(tmp_path: Path) -> None:
    path = tmp_path / "operator.yaml"
    path.write_text(
        "muster: {coordinator_image: a, worker_image: b, postgres_image: c, nats_image: d}"
    )
    config = load(OperatorConfig, path, {"MUSTER_WORKER_IMAGE": "w:1"})
    assert (config.muster.coordinator_image, config.muster.worker_image) == ("a", "w:1")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"MUSTER_IMAGE_PULL_POLICY": "Sometimes"}, "muster.image_pull_policy: got 'Sometimes'"),
        ({"MUSTER_RESYNC_INTERVAL": "1ms"}, "allowed: a duration of at least 1s"),
        ({"MUSTER_AUTOSCALING_SOURCE": "keda"}, "muster.autoscaling_source: got 'keda'; allowed: "),
        ({"MUSTER_OPS_PORT": "70000"}, "muster.ops_port: got 70000; allowed: "),
        ({"MUSTER_WORKER_IMAGE": ""}, "muster.worker_image: got None"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(wrong: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(OperatorConfig, None, {**IMAGES, **wrong})
    assert sentence in str(error.value)


def test_every_series_is_there_from_the_start() -> None:
    registry = OperatorMetrics().registry
    for kind in ("ProverPool", "Coordinator"):
        for result in ("ready", "working", "stalled", "paused", "gone", "failed"):
            labels = {"kind": kind, "result": result}
            assert registry.get_sample_value("muster_operator_reconcile_total", labels) == 0
    assert registry.get_sample_value("muster_operator_leading") == 0
    for code in ("200", "401", "403", "404", "503"):
        series = "muster_operator_metrics_api_requests_total"
        assert registry.get_sample_value(series, {"code": code}) == 0
