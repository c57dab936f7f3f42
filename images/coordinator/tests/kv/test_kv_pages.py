"""The pages name every key of the configuration, with its default, and every metric."""

import re
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from muster_kv_coordinator.api.service import METHODS
from muster_kv_coordinator.config import KvConfig
from muster_kv_coordinator.metrics import Metrics
from muster_kv_coordinator.topology.meter import TopologyMeter
from muster_runtime.config import Section

DOCS = Path(__file__).parents[4] / "docs"
API = (DOCS / "kv-api.md").read_text()
TOPOLOGY = (DOCS / "kv-topology.md").read_text()

_ROW = re.compile(r"^\| (`.*?) \| (.*?) \| (.*)\|$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_METRIC = re.compile(r"`(coordinator_\w+)(?:\{([^}]*)\})?`")
# Made of what is around the process.
_FOUND_OUT = {"server.node_id", "leader_election.namespace"}


def _documented() -> Iterator[tuple[str, str | None]]:
    """Keys, each with its default as far as its row has one for it."""
    table = API.partition("## Configuration")[2].partition("\n## ")[0]
    for row in _ROW.finditer(table):
        section, defaults = "", row[2].split(", ")
        for at, name in enumerate(_CODE.findall(row[1])):
            section = name.partition(".")[0] if "." in name else section
            key = f"{section}.{name.rpartition('.')[2]}"
            yield key, defaults[at] if at < len(defaults) else None
        for name in re.findall(r"`(\w+\.\w+)`", row[3]):
            yield name, None


def _keys() -> dict[str, Any]:
    """Keys with their defaults."""
    sections = {
        name: cast("type[Section]", field.annotation)
        for name, field in KvConfig.model_fields.items()
    }
    return {
        f"{name}.{key}": field.get_default(call_default_factory=True)
        for name, section in sections.items()
        for key, field in section.model_fields.items()
    }


def _shown(value: Any) -> str:
    match value:
        case Enum():
            return str(value.value)
        case bool():
            return str(value).lower()
        case timedelta():
            return _span(round(value.total_seconds() * 1000))
        case float():
            return f"{value:g}"
    return "none" if value in (None, "") else str(value)


def _span(milliseconds: int) -> str:
    sizes = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
    return next(f"{milliseconds // n}{unit}" for unit, n in sizes.items() if milliseconds % n == 0)


def test_the_page_names_every_key_with_its_default() -> None:
    keys, documented = _keys(), dict(_documented())
    assert documented.keys() == keys.keys()
    told = {key: text for key, text in documented.items() if text and key not in _FOUND_OUT}
    assert {key: _shown(keys[key]) for key in told} == told
    assert len(told) > len(keys) // 2


def test_the_pages_name_every_metric_and_all_start_at_0() -> None:
    metrics = Metrics((*METHODS, "Stream"))
    TopologyMeter(metrics.registry)
    found = {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in _families(metrics.registry)
    }
    documented = {
        name: {label.strip() for label in labels.split(",")} - {""}
        for name, labels in _METRIC.findall(API + TOPOLOGY)
    }
    assert documented.keys() == found.keys()
    for name, family in found.items():
        samples = [one for one in family.samples if not one.name.endswith("_created")]
        assert samples, name
        assert {one.value for one in samples} == {0}, name
        labels = {label for one in samples for label in one.labels} - {"le"}
        assert labels == documented[name], name


def test_processor_and_memory_are_told_of() -> None:
    registry = Metrics(()).registry
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes"):
        assert (registry.get_sample_value(name) or 0) > 0


def _families(registry: CollectorRegistry) -> list[Metric]:
    return [one for one in registry.collect() if one.name.startswith("coordinator_")]
