"""What `make` hands on to the commands behind its targets."""

import os
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "target", ["bench-proving", "bench-dispatch", "bench-queue", "bench-kv", "jepsen"]
)
def test_arguments_are_for_the_program_and_not_for_what_it_needs(target: str) -> None:
    # A make above this one would hand its own options down, and have the directory printed.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    asked = ["make", "--dry-run", target, "ARGS=--seconds 5"]
    done = subprocess.run(asked, cwd=REPO, check=True, capture_output=True, text=True, env=plain)
    assert [line.endswith("--seconds 5") for line in done.stdout.splitlines()] == [False, True]
