from pathlib import Path

from muster_api.generate import generated, main, outdated, write

ROOT = Path(__file__).parents[3]


def test_the_committed_files_are_what_the_models_say() -> None:
    assert outdated(ROOT) == []


def test_a_changed_file_is_reported_and_written_anew(tmp_path: Path, capsys: object) -> None:
    write(tmp_path)
    assert outdated(tmp_path) == []
    changed = next(iter(generated()))
    (tmp_path / changed).write_text("edited by hand")
    assert outdated(tmp_path) == [changed]
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0


def test_the_chart_carries_the_same_definitions() -> None:
    files = generated()
    for path, text in files.items():
        if path.startswith("crds/"):
            assert files[f"charts/muster/files/{path}"] == text
