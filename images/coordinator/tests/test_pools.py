"""Which pool does work that is no proof."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from muster_coordinator.app import offers
from muster_coordinator.config import CoordinatorConfig
from muster_coordinator.engine.errors import InvalidRequest
from muster_coordinator.proving.offers import Offers
from muster_runtime.config import load


def _offers(tmp_path: Path, *pools: dict[str, Any]) -> Offers:
    path = tmp_path / "coordinator.yaml"
    document = {
        "leader_election": {"backend": "advisory-lock"},
        "proving": {"pools": [{"name": "demo", "circuits": [{"name": "addition"}]}]},
        "workloads": {"pools": list(pools)},
    }
    path.write_text(yaml.safe_dump(document))
    return offers(load(CoordinatorConfig, path, {}))


def test_a_type_goes_to_the_first_pool_that_does_it(tmp_path: Path) -> None:
    found = _offers(
        tmp_path, {"name": "gpu", "types": ["train"]}, {"name": "any"}, {"name": "last"}
    )
    assert found.for_type("train").name == "gpu"
    assert found.for_type("sleep").name == "any"
    assert found.for_type("sleep", pool="last").name == "last"


def test_a_pool_in_both_lists_is_one(tmp_path: Path) -> None:
    found = _offers(tmp_path, {"name": "demo", "types": ["sleep"]})
    assert list(found.pools) == ["demo"]
    assert found.for_type("sleep").circuits == found.find("addition", None, None, None)[0].circuits


def test_what_no_pool_does_is_refused_with_what_is_on_offer(tmp_path: Path) -> None:
    found = _offers(tmp_path, {"name": "gpu", "types": ["train", "infer"]})
    with pytest.raises(InvalidRequest, match="'x'; allowed: infer, train in pool gpu"):
        found.for_type("x")
    with pytest.raises(InvalidRequest, match=r"allowed: none, as workloads\.pools is empty"):
        _offers(tmp_path).for_type("sleep")
