import shutil
from pathlib import Path

import pytest

from muster_dev import go_tools
from muster_dev.errors import SetupError
from muster_dev.go_tools import GoTools, link_flags, pinned_version
from muster_dev.paths import Paths, from_environment

REPO = from_environment({"HOME": "/root"}).repo
ALL = {*go_tools.ON_THE_HOST, *go_tools.IN_THE_NODE, go_tools.NATS}


def test_the_version_is_what_go_mod_requires() -> None:
    go_mod = "require example.org/a v1.2.3\nrequire (\n\texample.org/a/b v2.0.0 // indirect\n)\n"
    assert pinned_version(go_mod, "example.org/a") == "v1.2.3"
    assert pinned_version(go_mod, "example.org/a/b") == "v2.0.0"
    with pytest.raises(SetupError, match=r"does not require example\.org/c"):
        pinned_version(go_mod, "example.org/c")


@pytest.mark.parametrize("tool", ALL, ids=lambda tool: tool.name)
def test_every_tool_is_pinned(tool: go_tools.GoTool) -> None:
    tools = GoTools(Paths(REPO, Path("/cache"), Path("/state")), lambda: "go")
    assert tools.version(tool).startswith("v")
    assert tools.key(tool).startswith(f"{tools.version(tool)}-")


def test_kubernetes_says_its_own_version() -> None:
    flags = link_flags(go_tools.KUBERNETES, "require k8s.io/kubernetes v1.36.3\n")
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in flags
    assert "-X k8s.io/client-go/pkg/version.gitMinor=36" in flags


def test_helm_renders_for_the_kubernetes_of_its_libraries() -> None:
    go_mod = "require (\n\thelm.sh/helm/v3 v3.22.0\n\tk8s.io/client-go v0.37.0 // indirect\n)\n"
    flags = link_flags(go_tools.HELM, go_mod)
    assert "-X helm.sh/helm/v3/internal/version.version=v3.22.0" in flags
    assert "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37" in flags


def test_a_changed_pin_is_another_key(tmp_path: Path) -> None:
    shutil.copytree(REPO / "dev" / "tools" / "kind", tmp_path / "dev" / "tools" / "kind")
    tools = GoTools(Paths(tmp_path, tmp_path / "cache", tmp_path / "state"), lambda: "go")
    before = tools.key(go_tools.KIND)
    with (tmp_path / "dev" / "tools" / "kind" / "go.sum").open("a") as sums:
        sums.write("example.org/a v1.0.0 h1:x=\n")
    assert tools.key(go_tools.KIND) != before


PROGRAM = 'package main\n\nvar version string\n\nfunc main() { println("I am", version) }\n'


@pytest.mark.integration
def test_a_build_goes_into_the_cache_under_the_right_name(tmp_path: Path) -> None:
    folder = tmp_path / "dev" / "tools" / "hello"
    folder.mkdir(parents=True)
    (folder / "main.go").write_text(PROGRAM)
    required = "module example.org/server\n\ngo 1.26\n// require example.org/hello v1.2.3\n"
    (folder / "go.mod").write_text(required)
    (folder / "go.sum").write_text("")
    tool = go_tools.GoTool(
        "hello",
        "// require example.org/hello",
        ("-X main.version={version}",),
        renames=(("server", "hello"),),
        packages=(".",),
    )
    go = shutil.which("go")
    assert go is not None
    tools = GoTools(Paths(tmp_path, tmp_path / "cache", tmp_path / "state"), lambda: go)
    assert not tools.built(tool)
    built = tools.build(tool)
    assert [program.name for program in go_tools.programs(built)] == ["hello"]
    assert tools.built(tool)
