import subprocess
import sys
from pathlib import Path


def test_the_stubs_are_what_the_contracts_generate() -> None:
    script = Path(__file__).parents[1] / "generate.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
