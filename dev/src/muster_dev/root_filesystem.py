"""Root file systems made of Debian packages, for images where no registry answers.

``mmdebstrap`` makes them: it installs with apt and so uses the mirror, the proxy and the
certificates that the machine's own apt is set up with, in a third of the time of debootstrap.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muster_dev import cache, shell
from muster_dev.errors import SetupError
from muster_dev.mounts import remove_tree

if TYPE_CHECKING:
    from muster_dev.paths import Paths

SUITE = "trixie"
_NOT_NEEDED = tuple(
    f"/usr/share/{folder}/*" for folder in ("bug", "doc", "info", "lintian", "locale", "man")
)
_SOURCES = Path("/etc/apt")


@dataclass(frozen=True)
class Recipe:
    """The packages of a root file system, what is left out of them, and commands run on it.

    ``before`` runs when the essential packages are there, ``after`` when all are; each is a shell
    command in which ``$1`` is the root.
    """

    name: str
    packages: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


NODE = Recipe(
    "node",
    (
        "busybox-static",
        "ca-certificates",
        "conntrack",
        "containernetworking-plugins",
        "dbus",
        "ebtables",
        "ethtool",
        "hostname",
        "iproute2",
        "iptables",
        "iputils-ping",
        "kmod",
        "mount",
        "nftables",
        "openssl",
        "procps",
        "runc",
        "socat",
        "systemd",
        "systemd-sysv",
    ),
)
PYTHON = Recipe(
    "python",
    ("ca-certificates", "python3"),
)
POSTGRES = Recipe(
    "postgres",
    ("postgresql-17",),
    # The compiler for queries is half of the installation, and no query of ours is that long.
    left_out=(
        "/usr/lib/*/libLLVM*",
        "/usr/lib/*/libz3*",
        "/usr/lib/postgresql/17/lib/bitcode/*",
        "/usr/lib/postgresql/17/lib/llvmjit*",
        "/usr/share/i18n/*",
    ),
    before=(
        # The user has the number that the public image gives it, so that volumes suit both.
        'echo "postgres:x:999:" >> "$1/etc/group"',
        'echo "postgres:x:999:999::/var/lib/postgresql:/bin/sh" >> "$1/etc/passwd"',
        'mkdir -p "$1/etc/postgresql-common"',
        'echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"',
    ),
    # Debian's wrappers are in Perl; the image calls PostgreSQL's own programs.
    after=('rm -rf "$1"/usr/share/perl "$1"/usr/lib/*/perl "$1"/usr/lib/*/libperl.so*',),
)


def built(recipe: Recipe, paths: Paths) -> bool:
    """Tell whether a root file system is in the cache."""
    return cache.Cache(paths.cache).find(f"rootfs-{recipe.name}", key(recipe)) is not None


def build(recipe: Recipe, paths: Paths) -> Path:
    """Return the tar file of a root file system, making it if need be."""
    home = cache.Cache(paths.cache)
    kind = f"rootfs-{recipe.name}"
    folder = home.get(kind, key(recipe), lambda out: _make(recipe, paths, out))
    return folder / "rootfs.tar"


def key(recipe: Recipe) -> str:
    """Return the hash by which the cache knows a root file system."""
    return cache.digest(repr(recipe), SUITE)


def _make(recipe: Recipe, paths: Paths, out: Path) -> None:
    log = paths.logs / f"rootfs-{recipe.name}.log"
    log.unlink(missing_ok=True)
    scratch = out / "tmp"
    scratch.mkdir()
    argv = arguments(recipe, mirror(), out / "rootfs.tar")
    shell.run(argv, log=log, env={"TMPDIR": str(scratch)}, timeout=1800)
    remove_tree(scratch)


def arguments(recipe: Recipe, source: str, target: Path) -> list[str]:
    """Return the command that makes a root file system."""
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(recipe.packages)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in (*_NOT_NEEDED, *recipe.left_out)),
        *(f"--essential-hook={command}" for command in recipe.before),
        *(f"--customize-hook={command}" for command in recipe.after),
        SUITE,
        str(target),
        source,
    ]


def mirror(etc: Path = _SOURCES, environ: dict[str, str] | None = None) -> str:
    """Return the Debian mirror that apt is set up with, or ``MUSTER_DEBIAN_MIRROR``.

    Raises SetupError when there is none.
    """
    chosen = (os.environ if environ is None else environ).get("MUSTER_DEBIAN_MIRROR")
    if chosen:
        return chosen
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for file in files:
        if file.suffix in (".list", ".sources") and file.is_file():
            found = find_mirror(file.read_text(encoding="utf-8"))
            if found:
                return found
    raise SetupError(
        "apt has no Debian mirror configured, and no image registry answers to take images from.",
        hint="Set MUSTER_DEBIAN_MIRROR to the address of a Debian mirror.",
    )


def find_mirror(sources: str) -> str | None:
    """Return the first address in a list of apt sources that serves Debian itself."""
    # Both forms: "URIs: http://…/debian" and "deb [options] http://…/debian suite …".
    pattern = r"^(?:URIs:\s*|deb\s+(?:\[[^\]]*\]\s+)?)(\S+/debian/?)(?:\s|$)"
    found = re.search(pattern, sources, re.MULTILINE)
    return found.group(1).rstrip("/") if found else None
