"""`python -m muster_proving`: what a ceremony and a contract need of Muster, as files."""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from muster_proving.circuits import CircuitSpec, Curve, Hash, parse_circuit
from muster_proving.errors import InvalidInput, KeyMismatch
from muster_proving.keys import export_r1cs, import_key
from muster_proving.solidity import proof_calldata, verifier_contract
from muster_proving.verifier import load_verifying_key


def main(argv: Sequence[str] | None = None) -> int:
    """Do one thing; 0, or 1 with one sentence on standard error."""
    options = _parser().parse_args(argv)
    act: Callable[[argparse.Namespace], str] = options.act
    try:
        said = act(options)
    except (InvalidInput, KeyMismatch, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m muster_proving", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, act: Callable[[argparse.Namespace], str]) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=(act.__doc__ or "").splitlines()[0])
        made.set_defaults(act=act)
        return made

    r1cs = command("export-r1cs", _export_r1cs)
    _circuit_arguments(r1cs)
    r1cs.add_argument("out", type=Path, help="the .r1cs file to write")

    key = command("import-key", _import_key)
    _circuit_arguments(key)
    key.add_argument("file", type=Path, help=".zkey, or key file of Muster")
    key.add_argument("--out", type=Path, help="the key file of Muster to write")
    key.add_argument("--verification-key", type=Path, help="the verification_key.json to write")

    contract = command("export-solidity", _export_solidity)
    contract.add_argument("key", type=Path, help="verification_key.json")
    contract.add_argument("out", type=Path, help="the .sol file to write")
    contract.add_argument("--name", default="Groth16Verifier", help="of the contract")

    call = command("calldata", _calldata)
    call.add_argument("proof", type=Path, help="proof.json")
    call.add_argument("public", type=Path, help="public.json")
    return parser


def _circuit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("circuit", help="merkle, range or addition")
    size = parser.add_mutually_exclusive_group()
    for option, what in (("--depth", "of a merkle tree"), ("--bits", "of a range")):
        size.add_argument(option, dest="size", type=int, help=what)
    parser.add_argument("--curve", default=Curve.BN254.value, help="bn254 or bls12-381")
    parser.add_argument("--hash", default=Hash.POSEIDON.value, help="poseidon or mimc")


def _spec(options: argparse.Namespace) -> CircuitSpec:
    return parse_circuit(
        options.circuit, curve=options.curve, size=options.size, hash_with=options.hash
    )


def _export_r1cs(options: argparse.Namespace) -> str:
    """Write a circuit's constraints, from which a ceremony starts."""
    spec = _spec(options)
    options.out.write_bytes(export_r1cs(spec))
    return f"{spec.key_id} written to {options.out}"


def _import_key(options: argparse.Namespace) -> str:
    """Check the key of a ceremony, and tell its version and what a configuration says of it."""
    spec = _spec(options)
    data = options.file.read_bytes()
    key = import_key(spec, data)
    if options.out is not None:
        options.out.write_bytes(key.proving_key)
    if options.verification_key is not None:
        verifier = load_verifying_key(spec, key.verifying_key, key.version)
        document = json.dumps(verifier.verifying_key_json(), indent=1)
        options.verification_key.write_text(document + "\n", encoding="utf-8")
    facts = {
        "key_id": spec.key_id,
        "version": key.version,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return json.dumps(facts, indent=1)


def _export_solidity(options: argparse.Namespace) -> str:
    """Write a contract that verifies proofs of a key on BN254."""
    source = verifier_contract(_object(options.key), options.name)
    options.out.write_text(source, encoding="utf-8")
    return f"contract {options.name} written to {options.out}"


def _calldata(options: argparse.Namespace) -> str:
    """Tell the data, in hex, of a call that verifies a proof."""
    public = json.loads(options.public.read_text(encoding="utf-8"))
    if not isinstance(public, list):
        raise InvalidInput("public", type(public).__name__, "a list of decimal strings")
    return "0x" + proof_calldata(_object(options.proof), public).hex()


def _object(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise InvalidInput(str(path), type(document).__name__, "a JSON object")
    return document


if __name__ == "__main__":
    sys.exit(main())
