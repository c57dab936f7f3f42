"""The contracts between the coordinator's own parts, as written in its pyproject.toml."""

import subprocess
import sys
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_the_engine_depends_on_nothing() -> None:
    # A process of its own, as the linter takes over the logging of the one it runs in.
    program = Path(sys.executable).parent / "lint-imports"
    linted = subprocess.run(
        [program, "--config", PYPROJECT, "--no-cache"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0, linted.stdout
