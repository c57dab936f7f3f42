"""The directions that imports take inside the store's core and its wire."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def test_no_import_goes_the_wrong_way() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run(
        [program, "--config", "pyproject.toml", "--no-cache"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
