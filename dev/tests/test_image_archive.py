import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from muster_dev import image_archive
from muster_dev.errors import SetupError


def read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None
    return member.read()


def make(folder: Path) -> Path:
    folder.mkdir()
    source = folder / "program"
    source.write_text("#!/bin/sh\n")
    with image_archive.Layer(folder / "layer.tar") as layer:
        layer.file("usr/local/bin/program", source, 0o755)
        layer.text("etc/name", "muster")
        layer.link("bin", "usr/local/bin")
        layer.folder("tmp", 0o1777)
    layers = [folder / "layer.tar", folder / "layer.tar"]
    image_archive.write(folder / "image.tar", "example/image:1", layers, {"Cmd": ["program"]})
    return folder / "image.tar"


def test_the_same_files_give_the_same_image(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_the_archive_says_truly_what_is_in_it(tmp_path: Path) -> None:
    config, _ = checked(make(tmp_path / "a"), "example/image:1")
    assert config == {"Cmd": ["program"]}


def checked(path: Path, name: str) -> tuple[dict[str, list[str]], list[str]]:
    """See that an archive's digests are those of its files; how the image runs, and its layers."""
    with tarfile.open(path) as archive:
        (manifest,) = json.loads(read(archive, "manifest.json"))
        assert manifest["RepoTags"] == [name]
        config_text = read(archive, manifest["Config"])
        assert manifest["Config"] == f"{hashlib.sha256(config_text).hexdigest()}.json"
        config = json.loads(config_text)
        layers = [read(archive, layer) for layer in manifest["Layers"]]
        digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        assert config["rootfs"]["diff_ids"] == digests
        assert len(config["history"]) == len(digests)
    return config["config"], digests


def test_a_layer_has_modes_links_and_folders_of_root(tmp_path: Path) -> None:
    make(tmp_path / "a")
    with tarfile.open(tmp_path / "a" / "layer.tar") as layer:
        members = {member.name: member for member in layer.getmembers()}
    assert members["usr/local/bin/program"].mode == 0o755
    assert members["etc/name"].mode == 0o644
    assert members["bin"].linkname == "usr/local/bin"
    assert members["tmp"].mode == 0o1777
    assert list(members) == [
        "usr",
        "usr/local",
        "usr/local/bin",
        "usr/local/bin/program",
        "etc",
        "etc/name",
        "bin",
        "tmp",
    ]
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


def test_merged_images_have_a_common_layer_once(tmp_path: Path) -> None:
    base = tmp_path / "base.tar"
    with image_archive.Layer(base) as layer:
        layer.text("etc/name", "base")
    archives = []
    for name in ("one", "two"):
        own = tmp_path / f"{name}-layer.tar"
        with image_archive.Layer(own) as layer:
            layer.text("etc/name", name)
        archives.append(tmp_path / f"{name}.tar")
        image_archive.write(archives[-1], f"example/{name}:1", [base, own], {"Cmd": [name]})
    out = io.BytesIO()
    image_archive.merge(archives, out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as merged:
        names = merged.getnames()
        content = merged.extractfile("manifest.json")
        assert content is not None
        manifest = json.load(content)
    assert [image["RepoTags"] for image in manifest] == [["example/one:1"], ["example/two:1"]]
    assert manifest[0]["Layers"][0] == manifest[1]["Layers"][0]
    needed = {name for image in manifest for name in (image["Config"], *image["Layers"])}
    assert sorted(names) == sorted([*needed, "manifest.json"])


def test_an_image_gets_one_more_layer(tmp_path: Path) -> None:
    before = make(tmp_path / "a")
    with image_archive.Layer(tmp_path / "more.tar") as layer:
        layer.text("etc/name", "another")
    after = tmp_path / "after.tar"
    image_archive.extend(before, after, "example/other:2", tmp_path / "more.tar")
    config, layers = checked(after, "example/other:2")
    old_config, old_layers = checked(before, "example/image:1")
    assert config == old_config
    assert layers[:-1] == old_layers
    assert image_archive.find(before, "etc/n.*") == ("etc/name", b"muster")
    assert image_archive.find(after, "etc/n.*") == ("etc/name", b"another")
    with pytest.raises(SetupError, match="has no file etc/other"):
        image_archive.find(after, "etc/other")
