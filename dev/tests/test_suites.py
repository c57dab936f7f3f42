import io
import sys
from pathlib import Path

import pytest

from muster_dev import virtualenv
from muster_dev.bootstrap import Bootstrap
from muster_dev.errors import SetupError
from muster_dev.go_tools import GoTools
from muster_dev.paths import Paths
from muster_dev.steps import Steps
from muster_dev.suites import Run, Suite
from muster_dev.timings import Timings
from muster_dev.workspace import Workspace


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def work(tmp_path: Path, out: io.StringIO) -> Workspace:
    paths = Paths(repo=tmp_path, cache=tmp_path / "cache", state=tmp_path / "state")
    steps = Steps(out)
    bootstrap = Bootstrap(paths, steps)
    return Workspace(paths, steps, bootstrap, GoTools(paths, bootstrap.go))


def suite(title: str, script: str, empty: int | None = None) -> Suite:
    return Suite(title, [sys.executable, "-c", script], f"again {title}", empty=empty)


def test_what_a_suite_prints_is_shown_whole_below_its_line(
    work: Workspace, out: io.StringIO
) -> None:
    script = "import sys; print('one'); sys.stdout.flush(); print('two', file=sys.stderr)"
    Run(work, [suite("A", script)], 4).all()
    first, *rest = out.getvalue().rstrip().splitlines()
    assert first.startswith("  ok")
    assert first.endswith("A")
    assert rest == ["one", "two"]


def test_all_suites_run_although_some_fail_and_those_are_named(
    work: Workspace, out: io.StringIO
) -> None:
    found = [
        suite(name, f"raise SystemExit({code})") for name, code in zip("ABCDE", (0, 1, 0, 2, 0))
    ]
    with pytest.raises(SetupError, match=r"^(B; D|D; B): failed") as failure:
        Run(work, found, 4).all()
    assert "again B" in failure.value.hint
    assert "again D" in failure.value.hint
    marks = sorted(line.split()[0] for line in out.getvalue().split("\n") if line)
    assert marks == ["FAIL", "FAIL", "ok", "ok", "ok"]


def test_only_a_suite_that_passes_is_noted_as_passed(work: Workspace, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import sys; raise SystemExit(int(sys.argv[1]))"]
    good = Suite("A", [*argv, "0"], "", passed=tmp_path / "passed" / "a")
    bad = Suite("B", [*argv, "1"], "", passed=tmp_path / "passed" / "b")
    with pytest.raises(SetupError, match="B: failed"):
        Run(work, [good, bad], 4).all()
    assert [path.name for path in (tmp_path / "passed").iterdir()] == ["a"]


def test_suites_run_at_the_same_time(work: Workspace, tmp_path: Path) -> None:
    # Each waits until the other has begun.
    (tmp_path / "meet.py").write_text(
        "import pathlib, sys, time\n"
        "mine, other = map(pathlib.Path, sys.argv[1:])\n"
        "mine.touch()\n"
        "while not other.exists(): time.sleep(0.01)\n"
    )
    meet = [sys.executable, "meet.py"]
    Run(work, [Suite("A", [*meet, "a", "b"], ""), Suite("B", [*meet, "b", "a"], "")], 4).all()


def test_a_module_is_compiled_once_and_not_beside_its_source(
    work: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    source = tmp_path / "one.py"
    source.write_text("")
    argv, env = [sys.executable, "-c", "import one"], virtualenv.bytecode(work)
    Run(work, [Suite("A", argv, "", env)], 1).all()
    [compiled] = work.paths.venv.rglob("one.*.pyc")
    assert compiled.is_file()
    assert list(tmp_path.glob("__pycache__")) == []


def test_a_selection_may_leave_suites_empty(work: Workspace) -> None:
    nothing = suite("A", "raise SystemExit(5)", empty=5)
    assert Run(work, [nothing, suite("B", "")], 4).all()
    assert not Run(work, [nothing], 4).all()


def test_the_table_has_each_part_also_the_one_that_failed(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    timings = Timings(work.steps)
    with timings.part("lint"), work.steps.attended("Style"):
        now[0] += 1

    def fail() -> None:
        with timings.part("unit"), work.steps.attended("Tests of A"):
            now[0] += 61
            raise SetupError("")

    with pytest.raises(SetupError):
        fail()
    assert [line.split() for line in timings.table().splitlines()[2:]] == [
        ["1.0s", "lint"],
        ["1m01s", "unit"],
        ["1m01s", "Tests", "of", "A"],
        ["1m02s", "altogether"],
    ]
