"""Clocks of single processes that are wrong, and jump, while the machine's own stays as it is."""

import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")
_NANOSECONDS = 10**9


def build(home: Path) -> Path:
    """The library that processes are to load first, built in `home`; it takes a C compiler."""
    library = home / "clock.so"
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror"]
    subprocess.run(["cc", *options, "-o", str(library), str(_SOURCE), "-ldl"], check=True)
    return library


class Clock:
    """The wall clock of one process, right until it is moved.

    Attributes:
        environment: of the process.
    """

    def __init__(self, library: Path, name: str) -> None:
        self._file = library.with_name(f"{name}.clock")
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "MUSTER_JEPSEN_CLOCK": str(self._file)}

    def move(self, seconds: float) -> None:
        """Let it be ahead of the true time by so much from now on; behind it if below 0."""
        # In place: processes have it mapped.
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", round(seconds * _NANOSECONDS)))
