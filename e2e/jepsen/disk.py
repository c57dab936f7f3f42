"""Small disks that fill up, and are emptied again."""

import contextlib
import errno
import subprocess
from pathlib import Path

# Room for all that a run writes, and for what storage nodes keep besides.
_MEBIBYTES = 96
_CHUNK = bytes(2**20)


class Disk:
    """A file system of its own at `place`, which has to be empty; mounting it needs root."""

    def __init__(self, place: Path, mebibytes: int = _MEBIBYTES) -> None:
        place.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs"]
        subprocess.run(["mount", *options, place], check=True)
        self.place = place
        self._ballast = place / "ballast"

    def fill(self) -> None:
        """Leave no byte to anyone."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (len(_CHUNK), 4096):
                try:
                    while file.write(_CHUNK[:size]) == size:
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def empty(self) -> None:
        """Give back what was taken by `fill`."""
        with contextlib.suppress(FileNotFoundError):
            self._ballast.unlink()

    def close(self) -> None:
        """Unmount it, with all that it has."""
        subprocess.run(["umount", "--lazy", self.place], check=True)
