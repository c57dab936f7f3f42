"""A ceremony with snarkjs on a circuit of ours, small and with one contribution to each phase."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muster_proving import CircuitSpec, Curve, export_r1cs

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


def hold(spec: CircuitSpec, power: int, node_folder: Path, folder: Path) -> Ceremony:
    """Run it; `node_folder` has snarkjs installed."""
    (folder / "circuit.r1cs").write_bytes(export_r1cs(spec))
    done = subprocess.run(
        ["node", str(HERE / "ceremony.cjs"), _NAMES[spec.curve], str(power), str(folder)],
        cwd=node_folder,
        check=True,
        stdout=subprocess.PIPE,
        timeout=280,
    )
    answer = json.loads(done.stdout)
    return Ceremony(
        spec,
        (folder / "final.zkey").read_bytes(),
        answer["verificationKey"],
        (folder / "first.zkey").read_bytes(),
        answer["accepted"],
    )
