"""The environment of the anchors, apart from Muster's own: what they need is pinned beside this."""

import hashlib
import shutil
import subprocess
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements.txt"

_HOME = Path(__file__).parents[1] / ".anchors"


def python() -> Path:
    """The interpreter with Dask and Celery, installed if it is not there yet."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    program, stamp = _HOME / "bin" / "python", _HOME / "installed"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(_HOME, ignore_errors=True)
        venv.create(_HOME, with_pip=True)
        install = [str(program), "-m", "pip", "install", "--quiet", "--require-hashes", "-r"]
        subprocess.run([*install, str(REQUIREMENTS)], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return program


def redis_server() -> str:
    """The program `redis-server`.

    Raises:
        RuntimeError: it is not installed.
    """
    found = shutil.which("redis-server")
    if found is None:
        raise RuntimeError("redis-server is not installed; Debian: apt-get install redis-server")
    return found
