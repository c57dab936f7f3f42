"""Programs built from pinned Go modules.

A folder under ``dev/tools`` has a ``go.mod`` that names versions and, by ``tool`` directives, the
programs to build, and a ``go.sum`` that pins every byte of the source.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from muster_dev import cache, shell
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

    from muster_dev.paths import Paths

# Its minor version is that of Kubernetes.
_KUBERNETES_LIBRARY = "k8s.io/client-go"
_KUBERNETES_FLAGS = tuple(
    f"-X {package}.{variable}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for variable in (
        "gitVersion={version}",
        "gitMajor={major}",
        "gitMinor={minor}",
        "gitTreeState=clean",
        "gitCommit=0000000000000000000000000000000000000000",
        "buildDate=1970-01-01T00:00:00Z",
    )
)


# What the linker would drop takes a seventh of the compiler's time.
_NO_DEBUGGING = "-gcflags=all=-dwarf=false"


@dataclass(frozen=True)
class GoTool:
    """One tool: the module whose version it carries, and what its build needs beside the code."""

    name: str
    module: str
    # Flags of the linker; {version}, {major} and {minor} stand for those of the module, and
    # {kubernetes_minor} for that of the Kubernetes whose libraries it is made with.
    link_flags: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    # (name that Go gives a program, name that it should have)
    renames: tuple[tuple[str, str], ...] = ()
    # Folder under dev/tools, where it is not the name; packages, where it is not all of them.
    folder: str = ""
    packages: tuple[str, ...] = ("tool",)


# What is made with the libraries of Kubernetes has one module, at versions that agree on them: so
# each library is compiled once.
_CLUSTER = "cluster"
_KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubeadm",
    "kubectl",
    "kubelet",
)
KUBERNETES = GoTool(
    "kubernetes",
    "k8s.io/kubernetes",
    _KUBERNETES_FLAGS,
    folder=_CLUSTER,
    packages=tuple(f"k8s.io/kubernetes/cmd/{program}" for program in _KUBERNETES_PROGRAMS),
)
KUBECTL = GoTool(
    "kubectl",
    "k8s.io/kubernetes",
    _KUBERNETES_FLAGS,
    folder=_CLUSTER,
    packages=("k8s.io/kubernetes/cmd/kubectl",),
)
ETCD = GoTool(
    "etcd",
    "go.etcd.io/etcd/server/v3",
    renames=(("server", "etcd"),),
    folder=_CLUSTER,
    packages=("go.etcd.io/etcd/server/v3",),
)
CONTAINERD = GoTool(
    "containerd",
    "github.com/containerd/containerd/v2",
    ("-X github.com/containerd/containerd/v2/version.Version={version}",),
    tags=("no_btrfs", "no_devmapper", "no_zfs"),
    folder=_CLUSTER,
    packages=tuple(
        f"github.com/containerd/containerd/v2/cmd/{program}"
        for program in ("containerd", "containerd-shim-runc-v2", "ctr")
    ),
)
COREDNS = GoTool("coredns", "github.com/coredns/coredns", folder=_CLUSTER, packages=("./coredns",))
# Without a cluster Helm takes the Kubernetes of its own libraries for the one to render for.
HELM = GoTool(
    "helm",
    "helm.sh/helm/v3",
    (
        "-X helm.sh/helm/v3/internal/version.version={version}",
        "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={kubernetes_minor}",
        "-X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor={kubernetes_minor}",
    ),
    folder=_CLUSTER,
    packages=("helm.sh/helm/v3/cmd/helm",),
)
KIND = GoTool("kind", "sigs.k8s.io/kind")
LOCAL_PATH = GoTool(
    "local-path-provisioner",
    "github.com/rancher/local-path-provisioner",
    ("-X main.VERSION={version}",),
    folder=_CLUSTER,
    packages=("github.com/rancher/local-path-provisioner",),
)

NATS = GoTool("nats-server", "github.com/nats-io/nats-server/v2")

ON_THE_HOST = (KIND, HELM, KUBECTL)
IN_THE_NODE = (KUBERNETES, ETCD, CONTAINERD, COREDNS, LOCAL_PATH)


class GoTools:
    """Builds tools into the cache and knows where their programs are."""

    def __init__(self, paths: Paths, go: Callable[[], str]) -> None:
        self._paths = paths
        self._cache = cache.Cache(paths.cache)
        self._go = go

    def version(self, tool: GoTool) -> str:
        """Return the version of a tool, as its go.mod pins it: ``v1.36.3``."""
        return pinned_version((self._folder(tool) / "go.mod").read_text(), tool.module)

    def built(self, tool: GoTool) -> bool:
        """Tell whether a tool is in the cache."""
        return self._cache.find(tool.name, self.key(tool)) is not None

    def key(self, tool: GoTool) -> str:
        """Return the version and a hash of all that goes into the programs."""
        folder = self._folder(tool)
        pins = [(folder / name).read_bytes() for name in ("go.mod", "go.sum")]
        key = cache.digest(*pins, repr(tool), platform.machine())
        return f"{self.version(tool)}-{key}"

    def build(self, tool: GoTool) -> Path:
        """Return the folder with the programs of a tool, building them if need be."""
        return self._cache.get(tool.name, self.key(tool), lambda out: self._build(tool, out))

    def _folder(self, tool: GoTool) -> Path:
        return self._paths.dev / "tools" / (tool.folder or tool.name)

    def _build(self, tool: GoTool, out: Path) -> None:
        go_mod = (self._folder(tool) / "go.mod").read_text(encoding="utf-8")
        flags = ["-s", "-w", *link_flags(tool, go_mod)]
        argv = [self._go(), "build", "-trimpath", _NO_DEBUGGING, f"-ldflags={' '.join(flags)}"]
        if tool.tags:
            argv.append(f"-tags={','.join(tool.tags)}")
        # The trailing slash makes it a folder of programs, also where there is only one.
        argv += ["-o", f"{out}/", *tool.packages]
        log = self._paths.logs / f"build-{tool.name}.log"
        log.unlink(missing_ok=True)
        shell.run(argv, log=log, cwd=self._folder(tool), env=self.environment())
        for made, name in tool.renames:
            (out / made).rename(out / name)

    def environment(self) -> dict[str, str]:
        """Return Go's settings: its own caches are below ours, so that one folder holds it all."""
        return {
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=readonly -buildvcs=false -modcacherw",
            "GOMODCACHE": str(self._paths.cache / "go" / "mod"),
            "GOCACHE": str(self._paths.cache / "go" / "build"),
            "GOWORK": "off",
        }


def pinned_version(go_mod: str, module: str) -> str:
    """Return the version that a go.mod requires of a module.

    Raises SetupError when the module is not required.
    """
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise SetupError(f"go.mod does not require {module}.")
    return found.group(1)


def link_flags(tool: GoTool, go_mod: str) -> Sequence[str]:
    """Return the linker's flags of a tool with the versions of its go.mod filled in."""
    version = pinned_version(go_mod, tool.module)
    major, minor = version.lstrip("v").split(".")[:2]
    known = {"version": version, "major": major, "minor": minor}
    if any("{kubernetes_minor}" in flag for flag in tool.link_flags):
        known["kubernetes_minor"] = pinned_version(go_mod, _KUBERNETES_LIBRARY).split(".")[1]
    return [flag.format_map(known) for flag in tool.link_flags]


def programs(folder: Path) -> list[Path]:
    """Return the programs in a tool's folder."""
    return sorted(path for path in folder.iterdir() if os.access(path, os.X_OK))
