from pathlib import Path

import pytest

from muster_dev import root_filesystem
from muster_dev.component_images import with_libraries
from muster_dev.errors import SetupError

DEB822 = """Types: deb
URIs: http://mirror.example/debian/
Suites: bookworm
Components: main
"""


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (DEB822, "http://mirror.example/debian"),
        ("deb http://mirror.example/debian bookworm main\n", "http://mirror.example/debian"),
        (
            "# deb http://a.example/debian x y\ndeb [arch=amd64] https://b.example/debian x y\n",
            "https://b.example/debian",
        ),
        ("deb https://mirror.example/cloud-sdk bookworm main\n", None),
        ("URIs: http://mirror.example/debian-security\n", None),
    ],
)
def test_the_mirror_is_the_one_of_apt(sources: str, found: str | None) -> None:
    assert root_filesystem.find_mirror(sources) == found


def test_other_archives_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "cloud.list").write_text("deb https://mirror.example/cloud stable main\n")
    (folder / "debian.sources").write_text(DEB822)
    assert root_filesystem.mirror(tmp_path, {}) == "http://mirror.example/debian"


def test_without_a_mirror_one_sentence_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="apt has no Debian mirror") as caught:
        root_filesystem.mirror(tmp_path, {})
    assert "MUSTER_DEBIAN_MIRROR" in caught.value.hint
    chosen = {"MUSTER_DEBIAN_MIRROR": "http://chosen.example/debian"}
    assert root_filesystem.mirror(tmp_path, chosen) == "http://chosen.example/debian"


def test_another_recipe_is_another_key() -> None:
    recipes = (root_filesystem.NODE, root_filesystem.PYTHON, root_filesystem.POSTGRES)
    assert len({root_filesystem.key(recipe) for recipe in recipes}) == 3


def test_links_of_a_root_file_system_are_followed_inside_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("/usr/lib")
    (tmp_path / "usr/lib/libx.so.1.2").write_text("x")
    (tmp_path / "usr/lib/libx.so.1").symlink_to("libx.so.1.2")
    (tmp_path / "usr/nft").write_text("nft")
    listed = "\tlinux-vdso.so.1 (0x0)\n\tlibx.so.1 => /lib/libx.so.1 (0x1)\n"
    monkeypatch.setattr("muster_dev.shell.output", lambda *_, **__: listed)
    assert with_libraries(tmp_path, "/usr/nft") == {
        "/usr/nft": tmp_path / "usr/nft",
        "/lib/libx.so.1": tmp_path / "usr/lib/libx.so.1.2",
    }
