"""A Docker daemon that answers, whoever started it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster_dev import shell

if TYPE_CHECKING:
    from pathlib import Path


class Docker:
    """Talks to one daemon through the docker program."""

    def __init__(self, *, host: str | None = None) -> None:
        self.host = host
        # Without a host it is the daemon that the user's own settings lead to.
        self.env = {} if host is None else {"DOCKER_HOST": host, "DOCKER_CONTEXT": ""}

    def output(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run a docker command and return its output without the line end."""
        argv = ["docker", *arguments]
        return shell.output(argv, env=self.env, stdin=stdin, timeout=timeout).strip()

    def run(self, *arguments: str, log: Path, env: dict[str, str] | None = None) -> None:
        """Run a docker command with its output in a log."""
        shell.run(["docker", *arguments], log=log, env={**self.env, **(env or {})}, timeout=1800)

    def answers(self) -> bool:
        """Tell whether the daemon is there and lets this user in."""
        argv = ["docker", "version", "--format", "{{.Server.Version}}"]
        return shell.succeeds(argv, env=self.env, timeout=10)

    def has_image(self, reference: str) -> bool:
        """Tell whether the daemon has an image."""
        return shell.succeeds(["docker", "image", "inspect", reference], env=self.env)

    def can_pull(self, reference: str, timeout: float) -> bool:
        """Pull an image; tell whether it is there afterwards."""
        return shell.succeeds(
            ["docker", "pull", "--quiet", reference], env=self.env, timeout=timeout
        )

    def containers(self, *filters: str, running: bool | None = None) -> list[str]:
        """Return the names of containers, the oldest first."""
        arguments = ["ps", "--all", "--format", "{{.Names}}"]
        for wanted in filters:
            arguments += ["--filter", wanted]
        if running is not None:
            states = ("running",) if running else ("created", "exited", "paused", "dead")
            for state in states:
                arguments += ["--filter", f"status={state}"]
        return list(reversed(self.output(*arguments).splitlines()))
