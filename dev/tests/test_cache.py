import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from muster_dev.cache import Cache, digest, digest_tree, lock


def write_answer(folder: Path) -> None:
    (folder / "answer").write_text("42")


def test_an_entry_is_built_once_and_then_found(tmp_path: Path) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        write_answer(folder)

    cache = Cache(tmp_path)
    first = cache.get("tool", "v1", build)
    assert cache.get("tool", "v1", build) == first == cache.find("tool", "v1")
    assert (first / "answer").read_text() == "42"
    assert len(built) == 1


def test_a_build_that_fails_leaves_no_entry(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write_answer(folder)
        raise RuntimeError

    cache = Cache(tmp_path)
    with pytest.raises(RuntimeError):
        cache.get("tool", "v1", fail)
    assert cache.find("tool", "v1") is None
    assert (cache.get("tool", "v1", write_answer) / "answer").exists()


KILLED = """
import sys, time
from pathlib import Path
from muster_dev.cache import Cache
def build(folder):
    (folder / "half").write_text("")
    print("begun", flush=True)
    time.sleep(60)
Cache(Path(sys.argv[1])).get("tool", "v1", build)
"""


def test_what_a_killed_run_left_half_built_is_swept_away(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "begun\n"
        run.kill()
    assert list((tmp_path / "tool").glob("*/half")) or list((tmp_path / "tool").glob(".*/half"))
    entry = Cache(tmp_path).get("tool", "v1", write_answer)
    assert [path.name for path in entry.iterdir()] == ["answer"]
    assert [p.name for p in (tmp_path / "tool").iterdir() if p.is_dir()] == ["v1"]


def test_what_a_killed_run_had_started_is_ended(tmp_path: Path) -> None:
    partial = tmp_path / "tool" / ".partial-v1-1"
    partial.mkdir(parents=True)
    script = "import time; print('begun', flush=True); time.sleep(60)"
    argv = [sys.executable, "-c", script, str(partial)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as orphan:
        assert orphan.stdout is not None
        assert orphan.stdout.readline() == "begun\n"
        Cache(tmp_path).get("tool", "v1", write_answer)
        assert orphan.wait(timeout=60) == -signal.SIGKILL


def build_slowly(root: Path) -> None:
    def build(folder: Path) -> None:
        (root / f"built-by-{os.getpid()}").touch()
        time.sleep(0.3)
        write_answer(folder)

    Cache(root).get("tool", "v1", build)


def test_two_runs_at_once_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=build_slowly, args=(tmp_path,)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(timeout=120)
        assert run.exitcode == 0
    assert len(list(tmp_path.glob("built-by-*"))) == 1


def test_only_the_two_entries_last_used_are_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for age, key in enumerate(("v3", "v2", "v1")):
        entry = cache.get("tool", key, write_answer)
        os.utime(entry, (1000 - age, 1000 - age))
    cache.get("tool", "v4", write_answer)
    there = {path.name for path in (tmp_path / "tool").iterdir() if path.is_dir()}
    assert there == {"v3", "v4"}


def test_a_digest_tells_where_its_parts_end() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", b"b") == digest(b"a", "b")


def test_a_tree_is_known_by_names_contents_and_modes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("x")
    seen = {digest_tree(tmp_path)}
    file.write_text("y")
    seen.add(digest_tree(tmp_path))
    file.chmod(0o755)
    seen.add(digest_tree(tmp_path))
    file.rename(tmp_path / "b")
    seen.add(digest_tree(tmp_path))
    assert len(seen) == 4
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "b.pyc").write_text("")
    assert digest_tree(tmp_path) in seen


def test_a_lock_tells_who_holds_it(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from muster_dev.cache import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
    path = tmp_path / "lock"
    argv = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        told: list[str] = []

        def waiting(holder: str) -> None:
            told.append(holder)
            other.kill()

        with lock(path, waiting):
            assert told == [f"process {other.pid}"]
