"""Write container images as archives that ``docker load`` and ``ctr images import`` read.

Everything about them is fixed (order, owners, times), so the same files give the same image.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import stat
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 20
_MANIFEST = "manifest.json"
# What newer Dockers write beside it, saying the same.
_OTHER_INDICES = {"index.json", "oci-layout", "repositories"}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def machine() -> str:
    """Return the name that images have for the machine's architecture."""
    return _MACHINES.get(platform.machine(), platform.machine())


class Layer:
    """Writes one layer: files, folders and links that belong to root."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar = tarfile.open(path, "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        self._folders: set[str] = set()

    def __enter__(self) -> Layer:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def file(self, name: str, source: Path, mode: int | None = None) -> None:
        """Add a file with the content of another, and its mode if none is given."""
        info = self._member(name)
        status = source.stat()
        info.mode = stat.S_IMODE(status.st_mode) if mode is None else mode
        info.size = status.st_size
        with source.open("rb") as content:
            self._tar.addfile(info, content)

    def text(self, name: str, content: str, mode: int = 0o644) -> None:
        """Add a file with a text."""
        info = self._member(name)
        info.mode = mode
        data = content.encode()
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data))

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        info = self._member(name)
        info.type = tarfile.SYMTYPE
        info.linkname = target
        self._tar.addfile(info)

    def folder(self, name: str, mode: int = 0o755) -> None:
        """Add an empty folder."""
        info = self._member(name)
        self._folders.add(info.name)
        info.type = tarfile.DIRTYPE
        info.mode = mode
        self._tar.addfile(info)

    def tree(self, root: Path) -> None:
        """Add all files below a folder at their places, readable by all."""
        for path in sorted(root.rglob("*")):
            if path.is_file():
                mode = 0o755 if os.access(path, os.X_OK) else 0o644
                self.file(path.relative_to(root).as_posix(), path, mode)

    def _member(self, name: str) -> tarfile.TarInfo:
        parts = name.strip("/").split("/")
        for depth in range(1, len(parts)):
            parent = "/".join(parts[:depth])
            if parent not in self._folders:
                self.folder(parent)
        return tarfile.TarInfo("/".join(parts))


def write(path: Path, name: str, layers: Sequence[Path], config: Mapping[str, object]) -> None:
    """Write an image of some layers (uncompressed tar files) with its run configuration."""
    digests = [_sha256(layer) for layer in layers]
    image = {
        "architecture": machine(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "muster"} for _ in digests],
    }
    body = json.dumps(image, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(body).hexdigest()}.json"
    members = [f"{digest}/layer.tar" for digest in digests]
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": members}]
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        _add(archive, config_name, body)
        for member, layer in dict(zip(members, layers)).items():
            info = tarfile.TarInfo(member)
            info.size = layer.stat().st_size
            with layer.open("rb") as content:
                archive.addfile(info, content)
        _add(archive, _MANIFEST, json.dumps(manifest).encode())


def merge(archives: Iterable[Path], out: BinaryIO) -> None:
    """Write several images as one archive, in which a layer that some have in common is once.

    ``out`` need not be seekable. The archives are those of ``docker save`` or of ``write``.
    """
    manifest: list[object] = []
    written: set[str] = set()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as merged:
        for path in archives:
            with tarfile.open(path) as archive:
                for member in archive:
                    content = archive.extractfile(member) if member.isfile() else None
                    if member.name == _MANIFEST:
                        manifest += json.load(content) if content else []
                    elif member.name not in {*written, *_OTHER_INDICES}:
                        written.add(member.name)
                        merged.addfile(member, content)
        _add(merged, _MANIFEST, json.dumps(manifest).encode())


def environment(values: Mapping[str, str]) -> list[str]:
    """Return variables as an image's configuration has them."""
    return [f"{name}={value}" for name, value in values.items()]


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def _sha256(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as content:
        for chunk in _chunks(content):
            state.update(chunk)
    return state.hexdigest()


def _chunks(content: io.BufferedReader) -> Iterable[bytes]:
    while chunk := content.read(_CHUNK):
        yield chunk
