import signal
import subprocess
import sys
from pathlib import Path

from muster_dev import control_groups, mounts, processes

MOUNTINFO = """21 1 254:0 / / rw - ext4 /dev/vda rw
30 21 0:30 / /state/docker/data/overlay2/x/merged rw - overlay overlay rw
31 21 0:31 / /state/docker/exec/netns/default rw - nsfs nsfs rw
32 30 0:32 / /state/docker/data/overlay2/x/merged/proc rw - proc proc rw
33 21 0:33 / /state/docker-of-another rw - tmpfs tmpfs rw
34 21 0:34 / /state/docker/with\\040space rw - tmpfs tmpfs rw
"""
SLEEP = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]


def test_mounts_below_a_folder_come_deepest_first() -> None:
    assert mounts.below(Path("/state/docker"), MOUNTINFO) == [
        "/state/docker/data/overlay2/x/merged/proc",
        "/state/docker/data/overlay2/x/merged",
        "/state/docker/exec/netns/default",
        "/state/docker/with space",
    ]


def test_a_pid_file_of_another_program_is_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    assert processes.of_pid_file(file, "mark") is None
    file.write_text("not a number")
    assert processes.of_pid_file(file, "mark") is None
    argv = [*SLEEP, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as other:
        # The kernel shows a command line only a moment after the program was started.
        assert other.stdout is not None
        assert other.stdout.readline() == "begun\n"
        file.write_text(str(other.pid))
        assert processes.of_pid_file(file, "/another/folder") is None
        assert processes.of_pid_file(file, str(tmp_path)) == other.pid
        other.kill()
    assert processes.of_pid_file(file, str(tmp_path)) is None


def test_every_process_of_a_control_group_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP) as one, subprocess.Popen(SLEEP) as two:
        for hierarchy in ("memory", "pids"):
            group = tmp_path / hierarchy / "muster-x"
            (group / "container").mkdir(parents=True)
            (group / "cgroup.procs").write_text(f"{one.pid}\n")
            (group / "container" / "cgroup.procs").write_text(f"{two.pid}\n")
        assert control_groups.kill("muster-x", tmp_path) == 2
        assert one.wait(timeout=60) == two.wait(timeout=60) == -signal.SIGKILL


def test_the_groups_of_another_name_are_left_alone(tmp_path: Path) -> None:
    group = tmp_path / "memory" / "muster-y"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text("1\n")
    assert control_groups.find("muster-x", tmp_path) == []
    assert control_groups.kill("muster-x", tmp_path) == 0
    assert control_groups.empty("muster-x", tmp_path)


def test_empty_groups_are_removed_from_below(tmp_path: Path) -> None:
    (tmp_path / "memory" / "muster-x" / "a" / "b").mkdir(parents=True)
    (tmp_path / "muster-x" / "c").mkdir(parents=True)
    control_groups.remove("muster-x", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["memory"]
    assert list((tmp_path / "memory").iterdir()) == []
