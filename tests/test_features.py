"""The tables of features name places and tests that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_PAGES = ("proving.md", "workloads.md", "workloads-api.md", "broker.md", "kv.md")
_TEXTS = [(ROOT / "docs" / name).read_text() for name in _PAGES]
_COMPONENT = re.compile(r"^### [^\n]*: (\S+)$", re.MULTILINE)
_ROW = re.compile(r"^\| .* \| (?P<places>`.*`) \| (?P<tests>`.*`) \|$", re.MULTILINE)


def _rows() -> Iterator[tuple[str, str, str]]:
    for document in _TEXTS:
        _, *parts = _COMPONENT.split(document)
        for component, text in zip(parts[::2], parts[1::2], strict=True):
            for row in _ROW.finditer(text):
                yield component, row["places"], row["tests"]


ROWS = list(_rows())


def test_every_component_has_features() -> None:
    listed = {component for text in _TEXTS for component in _COMPONENT.findall(text)}
    assert {component for component, _, _ in ROWS} == listed


@pytest.mark.parametrize(("component", "places", "tests"), ROWS)
def test_places_and_tests_exist(component: str, places: str, tests: str) -> None:
    sources = list((ROOT / component / "src").glob("muster_*"))
    for place in re.findall(r"`([^`]+)`", places):
        assert any((source / place).exists() for source in sources), place
    for test in re.findall(r"`([^`]+)`", tests):
        file, _, name = test.partition("::")
        folder = ROOT if file.startswith("e2e/") else ROOT / component / "tests"
        text = (folder / file).read_text()
        assert not name or re.search(rf"(class|def) {name}\b", text), test
