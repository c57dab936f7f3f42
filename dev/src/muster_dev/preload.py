"""Unpack images into a containerd store that a node can start with."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from muster_dev import shell
from muster_dev.errors import SetupError
from muster_dev.mounts import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

_START_TIMEOUT_S = 30
_CONFIG = """version = 3
root = "{home}/containerd"
state = "{home}/state"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "{socket}"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
"""


def preload(programs: Path, archives: Sequence[Path], home: Path, log: Path) -> Path:
    """Import images with a containerd of our own; return the folder for ``/var/lib/containerd``.

    ``programs`` has ``containerd`` and ``ctr``; the store is made below ``home``.
    """
    home.mkdir(parents=True)
    with _containerd(programs, home, log) as socket:
        ctr = [str(programs / "ctr"), "--address", socket, "--namespace", "k8s.io"]
        for archive in archives:
            # Unpacked, an image is not needed packed as well.
            options = ["--local", "--discard-unpacked-layers"]
            shell.run([*ctr, "images", "import", *options, str(archive)], log=log, timeout=300)
    remove_tree(home / "state")
    return home / "containerd"


@contextmanager
def _containerd(programs: Path, home: Path, log: Path) -> Iterator[str]:
    # The path of a socket has 104 characters at most, too few for one in a cache.
    with tempfile.TemporaryDirectory(prefix="muster-") as short, log.open("a") as out:
        socket = f"{short}/containerd.sock"
        config = home / "config.toml"
        config.write_text(_CONFIG.format(home=home, socket=socket), encoding="utf-8")
        # It must not outlive this process, nor its mounts be seen by anyone else.
        tied = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount"]
        argv = [*tied, str(programs / "containerd"), "--config", str(config)]
        server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            _wait_until_it_answers(programs, socket, server, log)
            yield socket
        finally:
            server.terminate()
            server.wait(timeout=_START_TIMEOUT_S)


def _wait_until_it_answers(
    programs: Path, socket: str, server: subprocess.Popen[bytes], log: Path
) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    ask = [str(programs / "ctr"), "--address", socket, "version"]
    while not shell.succeeds(ask, timeout=5):
        if server.poll() is not None or time.monotonic() > deadline:
            raise SetupError("The containerd that unpacks images did not start.", log=log)
        time.sleep(0.1)
