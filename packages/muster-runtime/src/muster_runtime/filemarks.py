"""Finding out that a file has changed, without reading it."""

from pathlib import Path

Mark = tuple[int, int, int]


def mark(path: Path) -> Mark | None:
    """What changes whenever a file is replaced or written; None while it is away."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
