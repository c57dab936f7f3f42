"""Programs that the dev tool builds, found where it keeps them."""

import os
import shutil
from pathlib import Path


def find_program(name: str, missing: str) -> Path:
    """The path of a program: the newest one in the tool cache, else on `PATH`.

    Raises:
        RuntimeError: it is nowhere; the text is `missing`.
    """
    cache = Path(os.environ.get("MUSTER_CACHE") or Path.home() / ".cache" / "muster")
    built = sorted(cache.glob(f"*/v*/{name}"), key=lambda path: path.stat().st_mtime)
    if built:
        return built[-1]
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(missing)
    return Path(found)
