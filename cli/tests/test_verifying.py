import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from muster_cli import statements
from muster_cli.app import main
from muster_proving import (
    generate_insecure_key,
    load_proving_key,
    load_verifying_key,
    parse_circuit,
    parse_inputs,
)


@pytest.fixture(scope="module")
def proved() -> tuple[dict[str, Any], dict[str, Any]]:
    """A task as the API shows it, and its verifying key."""
    spec = parse_circuit("addition")
    key = generate_insecure_key(spec)
    made = load_proving_key(spec, key.proving_key, key.version).prove(
        parse_inputs(spec, {"a": 2, "b": 3})
    )
    verifier = load_verifying_key(spec, key.verifying_key, key.version)
    proof, verifying_key, public = verifier.to_snarkjs(made.public, made.proof)
    return {"task_id": "one", "proof": proof, "public_inputs": public}, verifying_key


def _verify(folder: Path) -> Result:
    return CliRunner().invoke(main, ["verify", str(folder)])


def test_a_saved_proof_is_accepted(
    tmp_path: Path, proved: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    statements.save(tmp_path, *proved)
    said = _verify(tmp_path)
    assert said.exit_code == 0, said.output
    assert "py_ecc accepts 1 of 1 proofs" in said.output


def test_an_altered_statement_is_refused_by_its_name(
    tmp_path: Path, proved: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    statements.save(tmp_path, *proved)
    public = tmp_path / "one" / "public.json"
    public.write_text(json.dumps([*json.loads(public.read_text())[:-1], "6"]))
    said = _verify(tmp_path)
    assert said.exit_code == 1
    assert "refused: one" in said.output


def test_a_folder_without_proofs_says_how_to_make_some(tmp_path: Path) -> None:
    said = _verify(tmp_path)
    assert said.exit_code == 1
    assert "make some with `prove`" in said.output


def test_wrong_inputs_are_named_before_any_cluster_is_asked() -> None:
    wrong = json.dumps({"leaves": ["0xzz"], "leaf_index": 0})
    said = CliRunner().invoke(
        main, ["prove", "merkle", "--pool", "demo", "--input", "-"], input=wrong
    )
    assert said.exit_code == 1
    assert "leaves[0]" in said.output
