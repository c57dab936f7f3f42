import hashlib
import io
import json
import tarfile
from pathlib import Path

from muster_dev import image_archive


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
    with tarfile.open(make(tmp_path / "a")) as archive:

        def read(name: str) -> bytes:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()

        (manifest,) = json.loads(read("manifest.json"))
        assert manifest["RepoTags"] == ["example/image:1"]
        config_text = read(manifest["Config"])
        assert manifest["Config"] == f"{hashlib.sha256(config_text).hexdigest()}.json"
        config = json.loads(config_text)
        assert config["config"] == {"Cmd": ["program"]}
        digests = [
            f"sha256:{hashlib.sha256(read(name)).hexdigest()}" for name in manifest["Layers"]
        ]
        assert config["rootfs"]["diff_ids"] == digests


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
