"""The health scripts, run by Lua 5.1 with no more libraries than Argo CD gives them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime

from muster_api.conditions import ConditionType, Reason
from muster_api.coordinator import CoordinatorStatus
from muster_api.kvcluster import KVClusterStatus
from muster_api.model import Model
from muster_api.proverpool import ProverPoolStatus

ARGOCD = Path(__file__).parents[2] / "examples" / "argocd"
KINDS = sorted((ARGOCD / "resource_customizations" / "muster.dev").iterdir())
each_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])

MODELS: dict[str, type[Model]] = {
    "ProverPool": ProverPoolStatus,
    "Coordinator": CoordinatorStatus,
    "KVCluster": KVClusterStatus,
}

# Argo CD opens base, package and table, and an os library without anything that does harm.
ABSENT = ("string", "math", "io", "os", "debug", "coroutine", "jit", "python")


def health(script: str, manifest: dict[str, Any]) -> dict[str, str]:
    """What a health script says about an object."""
    lua = LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    lua.execute('debug.setmetatable("", nil)')
    for library in ABSENT:
        lua.globals()[library] = None
    lua.globals()["obj"] = lua.table_from(manifest, recursive=True)
    return dict(lua.execute(script))


def cases(kind: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((kind / "health_test.yaml").read_text())["tests"]
    return found


@each_kind
def test_each_sample_has_the_health_that_it_should(kind: Path) -> None:
    script = (kind / "health.lua").read_text()
    said = {
        case["inputPath"]: health(script, yaml.safe_load((kind / case["inputPath"]).read_text()))
        for case in cases(kind)
    }
    assert said == {case["inputPath"]: case["healthStatus"] for case in cases(kind)}


@each_kind
def test_every_health_has_a_sample(kind: Path) -> None:
    assert {case["healthStatus"]["status"] for case in cases(kind)} == {
        "Healthy",
        "Progressing",
        "Degraded",
        "Suspended",
    }
    listed = {case["inputPath"] for case in cases(kind)}
    assert listed == {f"testdata/{path.name}" for path in (kind / "testdata").iterdir()}


@each_kind
def test_samples_have_the_shape_and_the_words_of_the_api(kind: Path) -> None:
    for path in (kind / "testdata").iterdir():
        sample = yaml.safe_load(path.read_text())
        assert sample["kind"] == kind.name
        for condition in sample.get("status", {}).get("conditions", []):
            assert condition["type"] in set(ConditionType), path
            assert condition["reason"] in set(Reason), path
        if "status" in sample:
            assert MODELS[kind.name].model_validate(sample["status"]).to_wire() == sample["status"]


def test_argocd_cm_holds_the_same_scripts() -> None:
    config = yaml.safe_load((ARGOCD / "argocd-cm.yaml").read_text())["data"]
    assert config == {
        f"resource.customizations.health.muster.dev_{kind.name}": (kind / "health.lua").read_text()
        for kind in KINDS
    }
