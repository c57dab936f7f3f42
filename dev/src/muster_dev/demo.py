"""The whole of Muster once, on a real cluster, with its proofs checked by others' verifiers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING

from muster_dev import apt, cache, clusters, image_loading, images, shell, virtualenv
from muster_dev.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

    from muster_dev.workspace import Workspace

NODE_PROGRAMS = {"node": "nodejs", "npm": "npm"}
_POOL = "demo"
_SYSTEM = "muster-system"
_READY_TIMEOUT = "300s"


class Demo:
    """Installs Muster on a cluster and has it make proofs."""

    def __init__(self, work: Workspace, cluster: str) -> None:
        self._work = work
        self._home = work.paths.cluster(cluster)
        self._programs = clusters.link_programs(work, cluster)
        self._log = work.paths.logs / f"demo-{cluster}.log"
        path = os.pathsep.join([str(self._programs), os.environ.get("PATH", "")])
        self._env = {"KUBECONFIG": str(work.paths.kubeconfig(cluster)), "PATH": path}

    def install(self) -> None:
        """Install the chart with the images that were loaded."""
        values, chart = self._home / "values.json", self._work.paths.repo / "charts" / "muster"
        options = [f"--namespace={_SYSTEM}", "--create-namespace", f"--values={values}"]
        with self._work.steps.step("Install Muster with helm"):
            self._run("helm", "upgrade", "--install", "muster", str(chart), *options, "--wait")

    def apply(self) -> None:
        """Apply the example and wait until its workers are ready."""
        example = self._work.paths.repo / "examples" / "proverpool.yaml"
        with self._work.steps.step("Apply examples/proverpool.yaml and wait until it is Ready"):
            self._run("kubectl", "apply", f"--filename={example}")
            wait = ["--for=condition=Ready", f"--timeout={_READY_TIMEOUT}"]
            self._run("kubectl", "wait", f"proverpool/{_POOL}", *wait)

    def prove(self, count: int) -> Path:
        """Have the workers make proofs; return the folder that they are saved in."""
        out = self._home / "proofs"
        shutil.rmtree(out, ignore_errors=True)
        self._attend("prove", "merkle", "--pool", _POOL, "--count", str(count), "--out", str(out))
        return out

    def verify(self, proofs: Path) -> None:
        """Check the proofs with py_ecc and with snarkjs, which share no code with the prover.

        Raises SetupError when one of them refuses a proof.
        """
        self._attend("verify", str(proofs))
        home = _snarkjs(self._work)
        claims = [_claim(folder) for folder in sorted(proofs.iterdir()) if folder.is_dir()]
        with self._work.steps.step("Verify with snarkjs") as step:
            script = self._work.paths.repo / "packages/muster-proving/tests/snarkjs/verify.cjs"
            said = shell.output(["node", str(script)], cwd=home, stdin=json.dumps(claims))
            verdicts = json.loads(said)
            step.note(f"snarkjs accepts {sum(verdicts)} of {len(claims)} proofs")
            if len(verdicts) != len(claims) or not all(verdicts):
                raise SetupError("snarkjs refuses a proof.")

    def _run(self, program: str, *arguments: str) -> None:
        argv = [str(self._programs / program), *arguments]
        shell.run(argv, log=self._log, env=self._env, timeout=600)

    def _attend(self, *arguments: str) -> None:
        title = f"kubectl muster {' '.join(arguments)}"
        program = str(self._work.paths.venv / "bin" / "kubectl-muster")
        with self._work.steps.attended(title):
            if shell.attend([program, *arguments], env=self._env) != 0:
                raise SetupError(f"`{title}` failed, see above.")


def run(work: Workspace, cluster: str, count: int) -> None:
    """Install Muster on a cluster and show proofs that two independent verifiers accept."""
    virtualenv.ensure(work)
    image_loading.load(work, cluster, images.NAMES)
    demo = Demo(work, cluster)
    demo.install()
    demo.apply()
    demo.verify(demo.prove(count))
    work.steps.say(
        f"\nLook around:  export KUBECONFIG={work.paths.kubeconfig(cluster)}"
        f" PATH={work.paths.cluster(cluster) / 'bin'}:{work.paths.venv / 'bin'}:$PATH"
        "\n              kubectl get proverpools,coordinators,pods; kubectl muster status"
        "\nRemove it:    make cluster-down"
    )


def _claim(folder: Path) -> dict[str, object]:
    names = {"key": "verification_key", "public": "public", "proof": "proof"}
    return {
        name: json.loads((folder / f"{file}.json").read_text(encoding="utf-8"))
        for name, file in names.items()
    }


def _snarkjs(work: Workspace) -> Path:
    # The same folder as that of the tests.
    log = work.paths.logs / "apt.log"
    apt.ensure(apt.missing_programs(NODE_PROGRAMS), work.steps, log, "Verifying with snarkjs")
    pins = work.paths.repo / "packages" / "muster-proving" / "tests" / "snarkjs"
    key = hashlib.sha256((pins / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = work.paths.cache / f"snarkjs-{key}"
    with cache.lock(work.paths.cache / "snarkjs.lock"):
        if not folder.exists():
            with work.steps.step("Install snarkjs"):
                _install_snarkjs(work, pins, folder)
    return folder


def _install_snarkjs(work: Workspace, pins: Path, folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(pins / name, partial)
    options = ["--no-audit", "--no-fund", "--ignore-scripts"]
    shell.run(["npm", "ci", *options], cwd=partial, log=work.paths.logs / "snarkjs.log")
    partial.rename(folder)
