"""What every command works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster_dev import cache, instance, paths
from muster_dev.bootstrap import Bootstrap
from muster_dev.go_tools import GoTools
from muster_dev.steps import Steps

if TYPE_CHECKING:
    from pathlib import Path

    from muster_dev.go_tools import GoTool
    from muster_dev.instance import Instance
    from muster_dev.paths import Paths


@dataclass(frozen=True)
class Workspace:
    """The folders, the step printer and the builders of one run."""

    paths: Paths
    steps: Steps
    bootstrap: Bootstrap
    tools: GoTools

    @property
    def instance(self) -> Instance:
        """The names of this state folder's things."""
        return instance.load(self.paths)

    @contextmanager
    def alone_at(self, what: str) -> Iterator[None]:
        """Be the only run that works on something; another one waits for the end of this one.

        ``what`` is ``clusters`` (with the daemon under them) or ``images``.
        """

        def waiting(holder: str) -> None:
            self.steps.say(f"waiting for another run that works on the {what} ({holder})")

        with cache.lock(self.paths.state / f"{what}.lock", waiting):
            yield

    def tool(self, tool: GoTool) -> Path:
        """Return the folder with the programs of a Go tool, building them as a step if need be."""
        if self.tools.built(tool):
            return self.tools.build(tool)
        with self.steps.step(f"Compile {tool.name} {self.tools.version(tool)}"):
            return self.tools.build(tool)


def open_workspace() -> Workspace:
    """Return the workspace of the checkout that this tool is part of."""
    found = paths.from_environment()
    steps = Steps()
    bootstrap = Bootstrap(found, steps)
    return Workspace(found, steps, bootstrap, GoTools(found, bootstrap.go))
