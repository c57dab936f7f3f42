"""The node image where the public one cannot be had: Debian, systemd, containerd, Kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster_dev import (
    cache,
    component_images,
    go_tools,
    image_archive,
    preload,
    root_filesystem,
    shell,
)
from muster_dev.mounts import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

    from muster_dev.go_tools import GoTools
    from muster_dev.paths import Paths

_FORMAT = "1"
_ENABLED = ("containerd.service", "kubelet.service", "node-cni.service")
# What would touch the machine itself, or has nothing to do in a container.
_MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty.target",
    "ldconfig.service",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-journal-catalog-update.service",
    "systemd-logind.service",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-timesyncd.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd.service",
    "systemd-update-done.service",
    "systemd-update-utmp.service",
)
_CONFIG = {
    "Env": image_archive.environment(
        {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "container": "docker",
        }
    ),
    "Entrypoint": ["/usr/local/bin/node-entrypoint"],
    "StopSignal": "SIGRTMIN+3",
}


class NodeImage:
    """Names the node image and builds its archive into the cache."""

    def __init__(self, paths: Paths, tools: GoTools) -> None:
        self._paths = paths
        self._tools = tools
        self._sources = paths.dev / "node-image"

    @property
    def key(self) -> str:
        """The version of Kubernetes and a hash of all that is in the image."""
        parts = [_FORMAT, repr(_ENABLED), repr(_MASKED), repr(root_filesystem.NODE)]
        parts += [self._tools.key(tool) for tool in go_tools.IN_THE_NODE]
        parts.append(cache.digest_tree(self._sources))
        return f"{self._tools.version(go_tools.KUBERNETES)}-{cache.digest(*parts)}"

    @property
    def reference(self) -> str:
        """The name of the image in Docker."""
        return f"{component_images.REPOSITORY}/node:{self.key}"

    @property
    def built(self) -> bool:
        """Whether the archive is in the cache."""
        return cache.Cache(self._paths.cache).find("node-image", self.key) is not None

    def build(self) -> Path:
        """Return the archive of the image, building it if need be.

        The binaries and the root file system are taken from the cache, or built as well.
        """
        folder = cache.Cache(self._paths.cache).get("node-image", self.key, self._build)
        return folder / "image.tar"

    def _build(self, out: Path) -> None:
        log = self._paths.logs / "node-image.log"
        log.unlink(missing_ok=True)
        work = out / "work"
        work.mkdir()
        rootfs = root_filesystem.build(root_filesystem.NODE, self._paths)
        store = self._store(work, rootfs, log)
        layers = [rootfs, store, self._programs(work), self._files(work)]
        image_archive.write(out / "image.tar", self.reference, layers, _CONFIG)
        remove_tree(work)

    def _store(self, work: Path, rootfs: Path, log: Path) -> Path:
        root, images = work / "root", work / "images"
        root.mkdir()
        images.mkdir()
        shell.run(["tar", "-C", str(root), "-xf", str(rootfs)], log=log)
        pause = self._sources / "pause.c"
        archives = component_images.build(self._tools, root, pause, images, log)
        containerd = self._tools.build(go_tools.CONTAINERD)
        preload.preload(containerd, archives, work / "var" / "lib", log)
        layer = work / "store.tar"
        shell.run(["tar", "-C", str(work), "-cf", str(layer), "var/lib/containerd"], log=log)
        return layer

    def _programs(self, work: Path) -> Path:
        path = work / "programs.tar"
        kubernetes = self._tools.build(go_tools.KUBERNETES)
        with image_archive.Layer(path) as layer:
            for program in go_tools.programs(self._tools.build(go_tools.CONTAINERD)):
                layer.file(f"usr/local/bin/{program.name}", program, 0o755)
            for name in ("kubelet", "kubeadm", "kubectl"):
                layer.file(f"usr/bin/{name}", kubernetes / name, 0o755)
        return path

    def _files(self, work: Path) -> Path:
        tree = work / "files"
        shell.run(["cp", "-r", str(self._sources / "files"), str(tree)])
        tags = component_images.tags(self._tools)
        storage = tree / "kind/manifests/default-storage.yaml"
        manifest = storage.read_text(encoding="utf-8")
        storage.write_text(
            manifest.replace("@LOCAL_PATH_VERSION@", tags.local_path), encoding="utf-8"
        )
        path = work / "files.tar"
        units = "etc/systemd/system"
        with image_archive.Layer(path) as layer:
            layer.tree(tree)
            layer.text("kind/version", tags.kubernetes)
            layer.folder("etc/kubernetes/manifests")
            for unit in _ENABLED:
                layer.link(f"{units}/multi-user.target.wants/{unit}", f"/{units}/{unit}")
            for unit in _MASKED:
                layer.link(f"{units}/{unit}", "/dev/null")
            layer.link(f"{units}/default.target", "/usr/lib/systemd/system/multi-user.target")
        return path
