"""The command, as a real process."""

import subprocess
import sys
from pathlib import Path

import pytest

from muster_worker import __version__


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "muster_worker", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("flag", ["--version", "-version"])
def test_the_version_names_worker_python_system_and_cpus(flag: str) -> None:
    shown = run(flag)
    assert shown.returncode == 0
    lines = shown.stdout.splitlines()
    assert lines[0] == f"Muster worker {__version__}"
    assert lines[1].startswith("Python 3.")
    assert lines[2].startswith("OS/Arch: linux/")
    assert lines[3].startswith("CPUs: ")


def test_a_wrong_configuration_ends_with_2_and_one_line_for_each_error(tmp_path: Path) -> None:
    config = tmp_path / "worker.yaml"
    config.write_text(
        "worker:\n"
        "  coordinator_address: nowhere\n"
        "  pool: demo\n"
        "  concurrency: 0\n"
        f"  cache_dir: {tmp_path}\n"
        f"  spool_dir: {tmp_path}\n"
    )
    refused = run("--config", str(config))
    assert refused.returncode == 2
    assert [line.partition(":")[0] for line in refused.stderr.splitlines()] == [
        "worker.coordinator_address",
        "worker.concurrency",
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refused = run("--config", str(tmp_path / "none.yaml"))
    assert refused.returncode == 2
    assert str(tmp_path / "none.yaml") in refused.stderr
