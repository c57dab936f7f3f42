"""A ceremony with snarkjs on a circuit of ours, small and with one contribution to each phase."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muster_proving import CircuitSpec, Curve, export_r1cs

from . import installed

HERE = Path(__file__).parent / "snarkjs"
_NAMES = {Curve.BN254: "bn128", Curve.BLS12_381: "bls12-381"}


@dataclass(frozen=True)
class Ceremony:
    """What it leaves: the key, snarkjs' own verification key of it, and the key before phase 2."""

    spec: CircuitSpec
    zkey: bytes
    verification_key: dict[str, Any]
    without_contribution: bytes
    accepted: bool
    """What `snarkjs zkey verify` says of the key."""


def hold(spec: CircuitSpec, power: int, node_folder: Path) -> Ceremony:
    """Run it, or find what it left when it was run on the same constraints with the same snarkjs.

    Args:
        power: of two, that is no less than the number of constraints.
        node_folder: has snarkjs installed.
    """
    script, curve = HERE / "ceremony.cjs", _NAMES[spec.curve]
    constraints = export_r1cs(spec)

    def run(folder: Path) -> None:
        (folder / "circuit.r1cs").write_bytes(constraints)
        done = subprocess.run(
            ["node", str(script), curve, str(power), str(folder)],
            cwd=node_folder,
            check=True,
            stdout=subprocess.PIPE,
            timeout=280,
        )
        (folder / "answer.json").write_bytes(done.stdout)

    programs = [script.read_bytes(), (HERE / "package-lock.json").read_bytes()]
    parts = [*programs, f"{curve} {power}".encode(), constraints]
    folder = installed.made("ceremony", parts, run)
    answer = json.loads((folder / "answer.json").read_bytes())
    return Ceremony(
        spec,
        (folder / "final.zkey").read_bytes(),
        answer["verificationKey"],
        (folder / "first.zkey").read_bytes(),
        answer["accepted"],
    )
