"""Everything that takes long the first time, done at once where it can be.

Compiling Kubernetes keeps two cores busy for minutes. What mostly waits for the network or for one
core (packages, root file systems, the prover) goes on beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster_dev import apt, engines, images, virtualenv
from muster_dev.background import Background

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muster_dev.workspace import Workspace


def begin(work: Workspace, packages: Sequence[str] = ()) -> Background:
    """Start the virtualenv and what the images are made of; return what to wait for.

    ``packages`` are Debian packages that will be needed besides; all are installed in one go.
    """
    log = work.paths.logs / "apt.log"
    engine = engines.choose(work)
    with work.alone_at("clusters"):
        apt.ensure([*engine.packages(), *packages], work.steps, log, "What comes next")
        engine.start()
        if not engine.has_public_node():
            apt.ensure(engines.IMAGE_PACKAGES, work.steps, log, "Building images")

    def prepare() -> None:
        virtualenv.ensure(work)
        images.Images(work, engine).build_all()

    return Background(prepare)
