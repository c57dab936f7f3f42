"""What the operator writes into configuration files is what its fleets read.

The operator imports neither, so that nothing but this test keeps their words the same.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster_coordinator.config import CoordinatorConfig
from muster_kv_coordinator.config import KvConfig
from muster_runtime.config import ConfigError, Section, load
from muster_storage.config import StorageConfig
from muster_worker.config import WorkerConfig

GOLDEN = Path(__file__).parents[2] / "operator" / "tests" / "golden"
MODELS: dict[str, type[Section]] = {
    "coordinator.yaml": CoordinatorConfig,
    "worker.yaml": WorkerConfig,
    "kv-coordinator.yaml": KvConfig,
    "storage.yaml": StorageConfig,
}
# Files of Secrets are in pods alone, and so are the types of an image of one's own.
ELSEWHERE = ("No such file or directory", "a list of installed workload types")


def files() -> Iterator[Any]:
    """Every configuration file of the golden objects, as (model, text)."""
    for path in sorted(GOLDEN.glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            for file, model in MODELS.items():
                text = manifest.get("data", {}).get(file)
                if text:
                    name = f"{path.stem}:{manifest['metadata']['name']}"
                    yield pytest.param(model, text, id=name)


@pytest.mark.parametrize(("model", "text"), list(files()))
def test_a_configuration_is_understood(model: type[Section], text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    # Its own folders can't be made here.
    path.write_text(text.replace(": /var/", f": {tmp_path}/var/"))
    try:
        load(model, path, {})
    except ConfigError as error:
        left = [line for line in str(error).splitlines() if not any(w in line for w in ELSEWHERE)]
        assert left == []
