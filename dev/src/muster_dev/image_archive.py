"""Write container images as archives that ``docker load`` and ``ctr images import`` read.

Everything about them is fixed (order, owners, times), so the same files give the same image.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import stat
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 20
_FORMAT = tarfile.GNU_FORMAT
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
        self._tar = tarfile.open(path, "w", format=_FORMAT)  # noqa: SIM115
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
    with tarfile.open(path, "w", format=_FORMAT) as archive:
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
    with tarfile.open(fileobj=out, mode="w|", format=_FORMAT) as merged:
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


def find(source: Path, place: str) -> tuple[str, bytes]:
    """Return name and content of the topmost file of an image whose name matches a pattern.

    Raises SetupError when there is none.
    """
    with tarfile.open(source) as archive:
        for layer in reversed(_image(archive)["Layers"]):
            with tarfile.open(fileobj=_open(archive, layer), mode="r|*") as content:
                for member in content:
                    if re.fullmatch(place, member.name):
                        return member.name, _open(content, member).read()
    raise SetupError(f"{source} has no file {place}.")


def extend(source: Path, path: Path, name: str, layer: Path) -> None:
    """Write an image that is another one with one more layer on top (an uncompressed tar file)."""
    digest = _sha256(layer)
    with tarfile.open(source) as archive, tarfile.open(path, "w", format=_FORMAT) as extended:
        image = _image(archive)
        config = json.load(_open(archive, image["Config"]))
        config["rootfs"]["diff_ids"].append(f"sha256:{digest}")
        config.setdefault("history", []).append({"created_by": "muster"})
        body = json.dumps(config, sort_keys=True).encode()
        for member in archive:
            if member.name not in {_MANIFEST, image["Config"], *_OTHER_INDICES}:
                extended.addfile(member, archive.extractfile(member) if member.isfile() else None)
        extended.add(layer, f"{digest}/layer.tar")
        config_name = f"{hashlib.sha256(body).hexdigest()}.json"
        _add(extended, config_name, body)
        layers = [*image["Layers"], f"{digest}/layer.tar"]
        manifest = [{"Config": config_name, "RepoTags": [name], "Layers": layers}]
        _add(extended, _MANIFEST, json.dumps(manifest).encode())


def _image(archive: tarfile.TarFile) -> dict[str, Any]:
    (image,) = json.load(_open(archive, _MANIFEST))
    return dict(image)


def _open(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(member)
    if content is None:
        raise SetupError(f"{member} in {archive.name!s} is no file.")
    return content


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
