"""The tables of packages say what each imports, no more and no less."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_PAGE = (ROOT / "docs" / "architecture.md").read_text()
_ROW = re.compile(r"^\| `(?P<package>muster_\w+)` \| .* \|(?P<needs>[^|]*)\|$", re.MULTILINE)
_IMPORT = re.compile(r"^\s*(?:from|import) (muster_\w+)", re.MULTILINE)
_PLACES = ("operator", "images/*", "packages/*", "cli")
# What tests stand on.
_OTHERS = {"muster_testing"}

LISTED = {row["package"]: set(re.findall(r"`(\w+)`", row["needs"])) for row in _ROW.finditer(_PAGE)}
SOURCES = {
    folder.name: folder
    for place in _PLACES
    for folder in ROOT.glob(f"{place}/src/muster_*")
    if folder.is_dir()
}


def test_every_package_is_listed() -> None:
    assert LISTED.keys() == SOURCES.keys() - _OTHERS


@pytest.mark.parametrize("package", LISTED)
def test_a_package_stands_on_what_is_said(package: str) -> None:
    texts = (file.read_text() for file in SOURCES[package].rglob("*.py"))
    imported = {name for text in texts for name in _IMPORT.findall(text)}
    assert imported - {package} == LISTED[package]
