"""Everything that is run to know whether the checkout is good."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Callable

from muster_dev import (
    apt,
    clusters,
    go_tools,
    image_loading,
    images,
    preparation,
    rust,
    shell,
    suites,
    virtualenv,
)
from muster_dev.demo import NODE_PROGRAMS
from muster_dev.errors import SetupError
from muster_dev.suites import Suite
from muster_dev.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from muster_dev.workspace import Workspace

TEST_CLUSTER = "muster-test"
_TEST_NODES = 3
_CODE = ("packages/*", "operator", "images/*", "cli", "dev", "bench", "e2e", "charts", "tests")
# Those that bear others on the cluster.
_SIDE_BY_SIDE = ["e2e", "-m", "e2e and not alone", "-n", "2", "--dist=worksteal"]
# Those that need it alone; the others, which make clusters of their own, go on beside them.
_ALONE = ("e2e", "dev/tests/test_recovery.py")
# Those that take longest begin first.
_TESTS = (
    "images/*",
    "e2e",
    "operator",
    "charts",
    "packages/*",
    "dev",
    "cli",
    "native",
    "bench",
    "tests",
)
# What tests start themselves.
_SERVERS = (go_tools.KUBERNETES, go_tools.ETCD, go_tools.NATS)
# What pytest ends with where it finds no test.
_NO_TESTS = 5
# In how many processes: its tests wait for leases to end and for workers to be missed.
_PROCESSES = {"images/coordinator": 3}


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
    rust.restore_locks(work, python)
    for title, command in rust.checks(work).items():
        _show(work, title, command, rust.environment(work))


def unit(work: Workspace, arguments: Sequence[str] = ()) -> None:
    """Run the tests that need no server, and those in Rust."""
    found = _suites(work, "not integration and not e2e", arguments)
    for crate in () if arguments else rust.CRATES:
        if rust.passed(work, crate).exists():
            same = "passed already on the same sources"
            work.steps.say(f"  ok         Tests of {crate} in Rust ({same})")
        else:
            found.append(_rust_suite(work, crate))
    _some(suites.Run(work, found, 2 * suites.CORES).all())


def integration(work: Workspace, arguments: Sequence[str] = ()) -> None:
    """Run the tests that start real servers, or work with other people's programs."""
    found = _suites(work, "integration and not e2e", arguments, _PROCESSES)
    # What has deadlines is not run beside more than the machine can bear; most of each is waiting.
    _some(suites.Run(work, found, suites.CORES + 1).all())


def _suites(
    work: Workspace,
    chosen: str,
    arguments: Sequence[str],
    processes: Mapping[str, int] | None = None,
) -> list[Suite]:
    programs = virtualenv.ensure(work)
    log = work.paths.logs / "apt.log"
    wanted = ["nftables", "postgresql", "redis-server", *apt.missing_programs(NODE_PROGRAMS)]
    apt.ensure(wanted, work.steps, log, "Testing against real servers")
    # An API server without a cluster, for the tests of elections; helm, for those of the chart; a
    # broker.
    for tool in (*_SERVERS, go_tools.HELM, go_tools.KUBECTL):
        work.tool(tool)
    rust.restore_locks(work, str(programs / "python"))
    found = []
    for folder in _test_folders(work.paths.repo):
        tests = [str(folder), "-m", chosen, *arguments]
        if processes and str(folder) in processes:
            # What is next to each other shares servers, and stays in one process if it can.
            tests += ["--numprocesses", str(processes[str(folder)]), "--dist=worksteal"]
        found.append(_suite(work, programs / "pytest", str(folder), tests))
    return found


def _suite(
    work: Workspace,
    pytest: Path,
    place: str,
    tests: Sequence[str],
    env: Mapping[str, str] | None = None,
) -> Suite:
    # A cache of each one's own: they are written at the same time.
    options = ["--quiet", "-o", f"cache_dir=.pytest_cache/{place}"]
    given = env or {}
    again = shlex.join([*map("=".join, given.items()), ".venv/bin/pytest", *tests])
    argv, whole = [str(pytest), *options, *tests], {**virtualenv.bytecode(work), **given}
    return Suite(f"Tests of {place}", argv, again, whole, empty=_NO_TESTS)


def _rust_suite(work: Workspace, crate: str) -> Suite:
    command = rust.compiled_tests(work, crate)
    again = f"cargo test --locked --manifest-path={crate}/Cargo.toml"
    env, passed = rust.environment(work), rust.passed(work, crate)
    return Suite(f"Tests of {crate} in Rust", command, again, env, passed=passed)


def e2e(work: Workspace, arguments: Sequence[str] = ()) -> None:
    """Run the end-to-end tests on a cluster of their own."""
    prepared = preparation.begin(work)
    clusters.up(work, TEST_CLUSTER, _TEST_NODES)
    prepared.wait()
    programs = virtualenv.ensure(work)
    image_loading.load(work, TEST_CLUSTER, (*images.NAMES, *images.NEXT))
    home = work.paths.cluster(TEST_CLUSTER)
    env = {
        "MUSTER_E2E_KUBECONFIG": str(work.paths.kubeconfig(TEST_CLUSTER)),
        "MUSTER_E2E_BIN": str(clusters.link_programs(work, TEST_CLUSTER)),
        "MUSTER_E2E_VALUES": str(home / "values.json"),
    }
    side_by_side = [str(programs / "pytest"), *_SIDE_BY_SIDE, *arguments]
    code = _show(work, "End-to-end tests, side by side", side_by_side, env, fine=(0, _NO_TESTS))
    alone = [
        _suite(work, programs / "pytest", tests, [tests, "-m", "alone", *arguments], env)
        for tests in _ALONE
    ]
    _some(suites.Run(work, alone, len(alone)).all() or code == 0)


def _some(ran: bool) -> None:
    if not ran:
        raise SetupError("There are no such tests.")


def test(work: Workspace) -> None:
    """Run everything; the test cluster is gone afterwards if all was well."""
    timings = Timings(work.steps)
    try:
        parts = {"lint": lint, "unit": unit, "integration": integration, "e2e": e2e}
        for name, part in parts.items():
            with timings.part(f"make {name}"):
                _part(work, name, part)
        clusters.down(work, TEST_CLUSTER)
    finally:
        work.steps.say(timings.table())


def _part(work: Workspace, name: str, part: Callable[[Workspace], None]) -> None:
    try:
        part(work)
    except SetupError as failure:
        failure.hint = "\n  ".join(filter(None, [failure.hint, f"This part alone: make {name}"]))
        raise


def _show(
    work: Workspace,
    title: str,
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    fine: Sequence[int] = (0,),
) -> int:
    # What a check prints is for the reader, not for a log.
    with work.steps.attended(title):
        whole = {**virtualenv.bytecode(work), **(env or {})}
        code = shell.attend(argv, cwd=work.paths.repo, env=whole)
        if code not in fine:
            raise SetupError(f"{title}: failed, see above.")
    return code


def _sources(repo: Path) -> list[Path]:
    return [path for path in _folders(repo, _CODE) if any((repo / path).rglob("*.py"))]


def _test_folders(repo: Path) -> list[Path]:
    return [path for path in _folders(repo, _TESTS) if any((repo / path).rglob("test_*.py"))]


def _folders(repo: Path, patterns: Sequence[str]) -> list[Path]:
    found = (path for pattern in patterns for path in sorted(repo.glob(pattern)))
    return [path.relative_to(repo) for path in found if path.is_dir()]
