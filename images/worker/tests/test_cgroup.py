import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from muster_worker.cgroup import available_cpus, oom_kills

Tree = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Lays out files as they are under `/`."""

    def lay_out(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return lay_out


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("250000 100000", 3)],
)
def test_a_v2_quota_cuts_the_cpus(tree: Tree, quota: str, cpus: int) -> None:
    root = tree({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": quota})
    assert available_cpus(root) == cpus


def test_the_tightest_quota_on_the_way_up_counts(tree: Tree) -> None:
    root = tree(
        {
            "proc/self/cgroup": "0::/pods/worker\n",
            "sys/fs/cgroup/pods/worker/cpu.max": "400000 100000",
            "sys/fs/cgroup/pods/cpu.max": "300000 100000",
        }
    )
    assert available_cpus(root) == 3


def test_a_v1_quota_cuts_the_cpus(tree: Tree) -> None:
    root = tree(
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/kubepods/worker\n1:name=systemd:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        }
    )
    assert available_cpus(root) == 2


def test_a_v1_group_without_quota_cuts_nothing(tree: Tree) -> None:
    root = tree(
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        }
    )
    assert available_cpus(root) == 8


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == 8


def test_oom_kills_are_counted_in_v2(tree: Tree) -> None:
    events = "low 0\nhigh 0\nmax 7\noom 4\noom_kill 3\noom_group_kill 0\n"
    root = tree({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": events})
    assert oom_kills(root) == 3


def test_oom_kills_are_counted_in_v1(tree: Tree) -> None:
    root = tree(
        {
            "proc/self/cgroup": "4:memory:/worker\n",
            "sys/fs/cgroup/memory/worker/memory.oom_control": (
                "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"
            ),
        }
    )
    assert oom_kills(root) == 2


def test_oom_kills_nobody_counts_are_none(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) == 0
