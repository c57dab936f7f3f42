"""Programs that come from Debian packages, installed where they are missing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from muster_dev import shell
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from muster_dev.steps import Steps

_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = (
    "#!/bin/sh\n# muster: no service starts while packages are being installed\nexit 101\n"
)
_LOCK_WAIT_S = 300
# What dpkg was in the middle of.
_JOURNAL = Path("/var/lib/dpkg/updates")


def missing(packages: Sequence[str]) -> list[str]:
    """Return those packages that are not installed."""
    return [package for package in packages if not _installed(package)]


def missing_programs(packages: Mapping[str, str]) -> list[str]:
    """Return the packages of those programs that are not here; they may come from elsewhere."""
    return [package for program, package in packages.items() if shell.which(program) is None]


def ensure(packages: Sequence[str], steps: Steps, log: Path, purpose: str) -> None:
    """Install what is missing of some packages.

    Raises SetupError when that takes another user or another system.
    """
    wanted = missing(packages)
    if not wanted:
        return
    names = " ".join(wanted)
    if shell.which("apt-get") is None:
        raise SetupError(
            f"{purpose} needs {names}, and this machine has no apt to install them.",
            hint="Install their like by hand; Debian and Ubuntu are what the tool knows.",
        )
    if os.geteuid() != 0:
        raise SetupError(
            f"{purpose} needs {names}, and only root can install them.",
            hint=f"Run `sudo apt-get install {names}`.",
        )
    with steps.step(f"Install {names}"), _no_services():
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        if _interrupted():
            # apt refuses to go on where a killed run left packages half installed.
            shell.run(["dpkg", "--configure", "--pending"], log=log, env=env, timeout=600)
        wait = f"DPkg::Lock::Timeout={_LOCK_WAIT_S}"
        shell.run(["apt-get", "-o", wait, "update", "-qq"], log=log, env=env, timeout=600)
        options = ["-o", wait, "install", "-y", "--no-install-recommends"]
        shell.run(["apt-get", *options, *wanted], log=log, env=env, timeout=1200)


def _installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    if shell.which("dpkg-query") is None:
        return False
    try:
        return shell.output(query) == "installed"
    except shell.CommandError:
        return False


def _interrupted() -> bool:
    return any(_JOURNAL.iterdir()) or shell.output(["dpkg", "--audit"]) != ""


@contextmanager
def _no_services() -> Iterator[None]:
    # Debian starts a service when it installs it; a second Docker daemon would change the
    # machine's firewall. A policy that a killed run left is known by its text.
    ours = not _POLICY.exists() or _POLICY.read_text(encoding="utf-8") == _POLICY_TEXT
    if ours:
        _POLICY.write_text(_POLICY_TEXT, encoding="utf-8")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink()
