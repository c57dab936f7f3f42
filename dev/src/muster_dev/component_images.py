"""Images of the cluster's own parts, from the binaries that were built for the node."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muster_dev import go_tools, image_archive, shell

if TYPE_CHECKING:
    from muster_dev.go_tools import GoTools

# Not the public repository: these are not its images, and nothing may be pulled by their names.
REPOSITORY = "localhost/muster-node"
PAUSE_TAG = "3.10.2"
_PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True)
class Tags:
    """Tags that say which version is in an image, as kubeadm is told to ask for them."""

    kubernetes: str
    etcd: str
    coredns: str
    local_path: str


def tags(tools: GoTools) -> Tags:
    """Return the tags of the pinned versions."""
    return Tags(
        kubernetes=tools.version(go_tools.KUBERNETES),
        # kubeadm expects a revision of the image after the version of etcd.
        etcd=f"{tools.version(go_tools.ETCD).lstrip('v')}-0",
        coredns=tools.version(go_tools.COREDNS),
        local_path=tools.version(go_tools.LOCAL_PATH),
    )


def build(tools: GoTools, root: Path, pause_source: Path, out: Path, log: Path) -> list[Path]:
    """Write the archives of all component images into a folder.

    ``root`` is the node's root file system, unpacked; some programs come from it.
    """
    names = tags(tools)
    kubernetes = tools.build(go_tools.KUBERNETES)
    maker = _Maker(out)
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        maker.image(f"{name}:{names.kubernetes}", name, {name: kubernetes / name})
    maker.image(f"etcd:{names.etcd}", "etcd", {"etcd": tools.build(go_tools.ETCD) / "etcd"})
    maker.image(
        f"coredns:{names.coredns}",
        "coredns",
        {"coredns": tools.build(go_tools.COREDNS) / "coredns"},
    )
    local_path = "local-path-provisioner"
    maker.image(
        f"{local_path}:{names.local_path}",
        local_path,
        {local_path: tools.build(go_tools.LOCAL_PATH) / local_path},
    )
    # In its nftables mode kube-proxy calls nft.
    maker.image(
        f"kube-proxy:{names.kubernetes}",
        "kube-proxy",
        {"kube-proxy": kubernetes / "kube-proxy"},
        with_libraries(root, "/usr/sbin/nft"),
    )
    busybox = root / "usr/bin/busybox"
    applets = {f"/bin/{applet}": busybox for applet in ("sh", "mkdir", "rm")}
    maker.image("busybox:local", "busybox", {"busybox": busybox}, applets)
    pause = out / "pause"
    shell.run(["cc", "-O2", "-static", "-s", "-o", str(pause), str(pause_source)], log=log)
    maker.image(f"pause:{PAUSE_TAG}", "pause", {"pause": pause})
    return sorted(out.glob("*.tar"))


class _Maker:
    def __init__(self, out: Path) -> None:
        self._out = out

    def image(
        self,
        reference: str,
        entrypoint: str,
        programs: dict[str, Path],
        files: dict[str, Path] | None = None,
    ) -> None:
        name = reference.split(":", maxsplit=1)[0]
        layer = self._out / f"{name}.layer"
        with image_archive.Layer(layer) as content:
            content.folder("tmp", 0o1777)
            for program, source in programs.items():
                content.file(f"usr/local/bin/{program}", source, 0o755)
            for place, source in (files or {}).items():
                content.file(place, source)
        config = {
            "Env": image_archive.environment(_PATH),
            "Entrypoint": [f"/usr/local/bin/{entrypoint}"],
        }
        archive = self._out / f"{name}.tar"
        image_archive.write(archive, f"{REPOSITORY}/{reference}", [layer], config)
        layer.unlink()


def with_libraries(root: Path, program: str) -> dict[str, Path]:
    """Return a program of a root file system and the libraries it is linked with, by place."""
    listed = shell.output(["chroot", str(root), "ldd", program])
    places = [program, *(word for word in listed.split() if word.startswith("/"))]
    return {place: _resolve(root, place) for place in places}


def _resolve(root: Path, place: str) -> Path:
    # Links have to be followed inside the root, not on this machine, where they may be absolute.
    current = Path("/")
    ahead = deque(Path(place).parts[1:])
    while ahead:
        part = ahead.popleft()
        inside = root / (current / part).relative_to("/")
        if part == "..":
            current = current.parent
        elif inside.is_symlink():
            target = inside.readlink()
            if target.is_absolute():
                current = Path("/")
            ahead.extendleft(reversed(target.parts[1 if target.is_absolute() else 0 :]))
        else:
            current /= part
    return root / current.relative_to("/")
