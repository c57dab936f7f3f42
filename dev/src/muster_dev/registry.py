"""Public images: whether this machine has them or can get them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from muster_dev.docker import Docker

# The image that the pinned version of kind is released with.
NODE = (
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
)
PYTHON = "python:3.13-slim"
POSTGRES = "postgres:17"
NATS = "nats:2.15"

_PULL_TIMEOUT_S = 900.0
# Where no registry answers, the next runs do not wait for it again.
_REMEMBER_S = 3600.0


class Registry:
    """Gets public images through a Docker daemon, and remembers when none can be had."""

    def __init__(self, docker: Docker, state: Path) -> None:
        self._docker = docker
        self._silent = state / "no-registry"

    def provides(self, reference: str) -> bool:
        """Tell whether the daemon has an image now, pulling it if it can be pulled."""
        if self._docker.has_image(reference):
            return True
        if self._known_silent():
            return False
        if self._docker.can_pull(reference, _PULL_TIMEOUT_S):
            return True
        self._silent.parent.mkdir(parents=True, exist_ok=True)
        self._silent.touch()
        return False

    def _known_silent(self) -> bool:
        try:
            age = time.time() - self._silent.stat().st_mtime
        except FileNotFoundError:
            return False
        return 0 <= age < _REMEMBER_S
