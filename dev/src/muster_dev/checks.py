"""Everything that is run to know whether the checkout is good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster_dev import (
    apt,
    clusters,
    go_tools,
    image_loading,
    images,
    preparation,
    shell,
    virtualenv,
)
from muster_dev.demo import NODE_PROGRAMS
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from muster_dev.workspace import Workspace

TEST_CLUSTER = "muster-test"
_TEST_NODES = 3
_CODE = ("packages/*", "operator", "images/*", "cli", "dev", "bench", "e2e", "charts", "tests")
_END_TO_END = ("e2e", "dev/tests/test_recovery.py")
_TESTS = ("tests", "packages/*", "images/*", "operator", "cli", "charts", "dev", "native", "bench")


def lint(work: Workspace) -> None:
    """Check style, types, directions of dependencies, and that generated files are current."""
    programs = virtualenv.ensure(work)
    python = str(programs / "python")
    _show(work, "Style (ruff)", [str(programs / "ruff"), "check"])
    _show(work, "Format (ruff)", [str(programs / "ruff"), "format", "--check"])
    # One by one: the packages' tests have modules of the same names.
    for source in _sources(work.paths.repo):
        _show(work, f"Types of {source} (mypy)", [str(programs / "mypy"), str(source)])
    _show(work, "Directions of imports (import-linter)", [str(programs / "lint-imports")])
    stubs = [python, "packages/muster-protos/generate.py", "--check"]
    _show(work, "Generated gRPC code", stubs)
    _show(work, "Generated CRDs", [python, "-m", "muster_api.generate", "--check"])


def unit(work: Workspace, arguments: Sequence[str] = ()) -> None:
    """Run the unit and integration tests: real servers, started by the tests themselves."""
    programs = virtualenv.ensure(work)
    log = work.paths.logs / "apt.log"
    wanted = ["nftables", "postgresql", *apt.missing_programs(NODE_PROGRAMS)]
    apt.ensure(wanted, work.steps, log, "Testing against real servers")
    # An API server without a cluster, for the tests of elections; helm, for those of the chart.
    for tool in (go_tools.KUBERNETES, go_tools.ETCD, go_tools.HELM, go_tools.KUBECTL):
        work.tool(tool)
    for folder in _test_folders(work.paths.repo):
        pytest = [str(programs / "pytest"), "--quiet", "-m", "not e2e", str(folder), *arguments]
        _show(work, f"Tests of {folder}", pytest)


def e2e(work: Workspace, arguments: Sequence[str] = ()) -> None:
    """Run the end-to-end tests on a cluster of their own."""
    prepared = preparation.begin(work)
    clusters.up(work, TEST_CLUSTER, _TEST_NODES)
    prepared.wait()
    programs = virtualenv.ensure(work)
    image_loading.load(work, TEST_CLUSTER, images.NAMES)
    home = work.paths.cluster(TEST_CLUSTER)
    env = {
        "MUSTER_E2E_KUBECONFIG": str(work.paths.kubeconfig(TEST_CLUSTER)),
        "MUSTER_E2E_BIN": str(clusters.link_programs(work, TEST_CLUSTER)),
        "MUSTER_E2E_VALUES": str(home / "values.json"),
    }
    pytest = [str(programs / "pytest"), *_END_TO_END, *arguments]
    _show(work, "End-to-end tests", pytest, env)


def test(work: Workspace) -> None:
    """Run everything; the test cluster is gone afterwards if all was well."""
    lint(work)
    unit(work)
    e2e(work)
    clusters.down(work, TEST_CLUSTER)


def _show(
    work: Workspace, title: str, argv: Sequence[str], env: dict[str, str] | None = None
) -> None:
    # What a check prints is for the reader, not for a log.
    with work.steps.attended(title):
        if shell.attend(argv, cwd=work.paths.repo, env=env) != 0:
            raise SetupError(f"{title}: failed, see above.")


def _sources(repo: Path) -> list[Path]:
    return [path for path in _folders(repo, _CODE) if any((repo / path).rglob("*.py"))]


def _test_folders(repo: Path) -> list[Path]:
    return [path for path in _folders(repo, _TESTS) if any((repo / path).rglob("test_*.py"))]


def _folders(repo: Path, patterns: Sequence[str]) -> list[Path]:
    found = (path for pattern in patterns for path in sorted(repo.glob(pattern)))
    return [path.relative_to(repo) for path in found if path.is_dir()]
