"""Promises that the tree as a whole keeps."""

import operator
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 500
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def test_the_folder_operator_does_not_hide_the_standard_library() -> None:
    assert Path(operator.__file__).is_relative_to(sysconfig.get_path("stdlib"))
    asked = "import operator, pathlib; print(pathlib.Path(operator.__file__).parent)"
    found = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert found == sysconfig.get_path("stdlib")


def test_no_source_file_is_too_long_to_know() -> None:
    generated = ROOT / "packages" / "muster-protos" / "src"
    long = {
        str(path.relative_to(ROOT)): lines
        for path in _tracked("*.py", "*.rs", "*.go", "*.sh", "*.sql")
        if generated not in path.parents
        and (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert long == {}


@pytest.mark.parametrize("page", _tracked("*.md"), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_nothing_pins_a_download_address() -> None:
    locks = _tracked("*.lock", "*lock.json", "*.pins", "go.sum", "requirements/*.txt")
    assert locks
    naming = [
        str(path.relative_to(ROOT)) for path in locks if "://" in path.read_text(encoding="utf-8")
    ]
    assert naming == []
