import stat
from pathlib import Path

import pytest

from .helm_cli import ProgramMissingError, find_program


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_variable_names_it(tmp_path: Path) -> None:
    mine = program(tmp_path / "helm")
    assert find_program("helm", {"HELM": str(mine), "MUSTER_CACHE": "/nowhere"}) == mine


def test_else_it_is_the_one_in_the_cache(tmp_path: Path) -> None:
    built = program(tmp_path / "helm/v3.22.0-0123456789abcdef/helm")
    assert find_program("helm", {"MUSTER_CACHE": str(tmp_path)}) == built


def test_a_variable_that_names_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProgramMissingError, match=r"HELM is '/no/helm', which is no program"):
        find_program("helm", {"HELM": "/no/helm"})


def test_without_any_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProgramMissingError, match=rf"No helm below {tmp_path}: run `make cluster`"):
        find_program("helm", {"MUSTER_CACHE": str(tmp_path)})
