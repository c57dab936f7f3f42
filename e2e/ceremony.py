"""A small ceremony with snarkjs, whose key nobody in the cluster has made."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from e2e.documents import ROOT
from muster_proving import CircuitSpec, Curve, export_r1cs

_SOURCES = ROOT / "packages" / "muster-proving" / "tests" / "snarkjs"
_NAMES = {Curve.BN254: "bn128", Curve.BLS12_381: "bls12-381"}


def hold(spec: CircuitSpec, power: int, folder: Path) -> Path:
    """Hold one for a circuit of at most 2^`power` constraints; the file with its key.

    One of BN254 and 2^10 takes half a minute.
    """
    (folder / "circuit.r1cs").write_bytes(export_r1cs(spec))
    script = _SOURCES / "ceremony.cjs"
    subprocess.run(
        ["node", str(script), _NAMES[spec.curve], str(power), str(folder)],
        cwd=_snarkjs(),
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=600,
    )
    return folder / "final.zkey"


def _snarkjs() -> Path:
    """The folder with snarkjs, which other tests and the demo have too."""
    lock = _SOURCES / "package-lock.json"
    cache = Path(os.environ.get("MUSTER_CACHE") or Path.home() / ".cache" / "muster")
    folder = cache / f"snarkjs-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}")
        partial.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_SOURCES / name, partial)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=partial, check=True, timeout=240)
        partial.rename(folder)
    return folder
