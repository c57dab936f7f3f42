"""Ports that tests are given are nobody else's, though nobody listens yet."""

import os
import subprocess
import sys

from muster_testing.ports import free_port

COUNT = 2000
PROGRAM = (
    f"from muster_testing.ports import free_port; print(*[free_port() for _ in range({COUNT})])"
)


def test_no_two_processes_are_given_the_same() -> None:
    mine = {free_port() for _ in range(COUNT)}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, env=os.environ
    ).stdout
    theirs = set(map(int, said.split()))
    assert len(mine) == len(theirs) == COUNT
    assert not mine & theirs
