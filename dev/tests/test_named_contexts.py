"""Clusters that the user names."""

from pathlib import Path

import pytest

from muster_dev import clusters, records
from muster_dev.bootstrap import Bootstrap
from muster_dev.errors import SetupError
from muster_dev.go_tools import GoTools
from muster_dev.image_loading import require_registry
from muster_dev.paths import Paths, from_environment
from muster_dev.records import Record
from muster_dev.steps import Steps
from muster_dev.workspace import Workspace


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    repo = from_environment({"HOME": "/root"}).repo
    paths, steps = Paths(repo, tmp_path / "cache", tmp_path / "state"), Steps()
    bootstrap = Bootstrap(paths, steps)
    return Workspace(paths, steps, bootstrap, GoTools(paths, bootstrap.go))


def test_the_name_of_a_cluster_of_ours_is_not_given_to_a_context(work: Workspace) -> None:
    ours = Record("muster-demo", nodes=3, image="node:1", addresses={"a": "172.29.0.2"})
    records.save(work.paths, ours)
    with pytest.raises(SetupError, match="'muster-demo' is a cluster that this tool made") as told:
        clusters.adopt(work, "muster-demo", "theirs", None, "registry.example")
    assert "CLUSTER=" in told.value.hint
    assert records.load(work.paths, "muster-demo") == ours
    assert not work.paths.kubeconfig("muster-demo").exists()


@pytest.mark.parametrize("registry", ["registry", "registry.example:5000/team/muster", "10.0.0.1"])
def test_a_registry_is_host_port_and_path(registry: str) -> None:
    require_registry("theirs", registry)


@pytest.mark.parametrize(
    "registry", ["", "https://registry.example", "registry.example/a b", "a:b"]
)
def test_anything_else_is_refused_before_anything_is_built(registry: str) -> None:
    with pytest.raises(SetupError, match="registry") as told:
        require_registry("theirs", registry)
    assert "--registry" in told.value.hint


def test_what_is_kept_of_a_context_outlives_the_last_cluster_of_ours(work: Workspace) -> None:
    theirs = Record("theirs", context="theirs", registry="registry.example")
    records.save(work.paths, theirs)
    work.paths.kubeconfig("begun").parent.mkdir(parents=True)
    work.paths.kubeconfig("begun").touch()
    records.forget_unfinished(work.paths)
    assert records.load_all(work.paths) == [theirs]
    assert not work.paths.cluster("begun").exists()
    records.forget(work.paths, "theirs")
    records.forget_unfinished(work.paths)
    assert not (work.paths.state / "clusters").exists()
    records.forget_unfinished(work.paths)
