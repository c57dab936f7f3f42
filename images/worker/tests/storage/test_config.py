"""Wrong configuration is refused whole, before anything starts."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster_runtime.config import ConfigError
from muster_storage.config import load_config


def _written(tmp_path: Path, **sections: Any) -> Path:
    sections["storage"] = {"data_dir": str(tmp_path / "data"), **sections.get("storage", {})}
    path = tmp_path / "storage.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


def test_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    config = load_config(_written(tmp_path), {"POD_NAME": "demo-storage-0"})
    storage = config.storage
    assert storage.node_id == "demo-storage-0"
    assert (storage.port, storage.ops_port, storage.sync) == (50052, 8094, True)
    assert storage.sync_interval == timedelta(milliseconds=200)
    assert (storage.disk_warn, storage.disk_large, storage.disk_all) == (80, 90, 95)
    assert (config.hints.limit, config.hints.ttl) == (10_000, timedelta(hours=3))
    assert config.hints.interval == timedelta(seconds=10)
    assert config.storage.record_cache == 32 * 2**20
    assert config.retention.tombstone_grace == timedelta(days=10)
    assert (tmp_path / "data").is_dir()


def test_the_environment_wins(tmp_path: Path) -> None:
    path = _written(tmp_path, storage={"node_id": "a", "port": 1})
    env = {"STORAGE_NODE_ID": "b", "STORAGE_PORT": "7", "HINTS_LIMIT": "5"}
    config = load_config(path, env)
    assert (config.storage.node_id, config.storage.port, config.hints.limit) == ("b", 7, 5)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"storage": {"node_id": "-"}}, "storage.node_id"),
        ({"storage": {"node_id": "a#b"}}, "storage.node_id"),
        ({"storage": {"port": 65536}}, "storage.port"),
        ({"storage": {"data_dir": "/proc/none"}}, "storage.data_dir"),
        ({"storage": {"backup_dir": "here"}}, "storage.backup_dir"),
        ({"storage": {"token_file": "/none"}}, "storage.token_file"),
        ({"storage": {"max_batch": 0}}, "storage.max_batch"),
        ({"storage": {"sync_interval": "0s"}}, "storage.sync_interval"),
        ({"storage": {"disk_warn": 101}}, "storage.disk_warn"),
        ({"storage": {"disk_warn": 91}}, "storage.disk_large"),
        ({"storage": {"disk_all": 89}}, "storage.disk_all"),
        ({"storage": {"write_buffer": "1"}}, "storage.write_buffer"),
        ({"storage": {"record_cache": "2Ti"}}, "storage.record_cache"),
        ({"storage": {"log_level": "loud"}}, "storage.log_level"),
        ({"storage": {"colour": "red"}}, "storage.colour"),
        ({"hints": {"limit": -1}}, "hints.limit"),
        ({"hints": {"ttl": "0s"}}, "hints.ttl"),
        ({"hints": {"interval": "1ms"}}, "hints.interval"),
        ({"retention": {"tombstone_grace": "1ms"}}, "retention.tombstone_grace"),
        ({"retention": {"records_per_second": 1}}, "retention.records_per_second"),
        ({"tls": {"cert_file": "/none"}}, "tls.key_file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, sections: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(_written(tmp_path, **sections), {})
    assert any(
        error.startswith(f"{key}: got ") or "unknown key" in error
        for error in refused.value.errors
        if error.startswith(key)
    ), refused.value.errors


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    path = _written(tmp_path, storage={"port": -1, "max_batch": 0}, hints={"limit": -1})
    with pytest.raises(ConfigError) as refused:
        load_config(path, {})
    assert len(refused.value.errors) == 3
