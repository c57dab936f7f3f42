"""The command line of `kubectl muster`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from muster_cli import kubectl, statements
from muster_cli.api import ProofApi
from muster_cli.prove import Order, prove
from muster_cli.status import store_table, table
from muster_cli.verify import verify
from muster_proving import InvalidInput, parse_circuit, parse_inputs

_HTTP_PORT = 8080
_console = Console()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="muster-cli")
@click.option("-n", "--namespace", help="Namespace; the current context's by default.")
@click.pass_context
def main(context: click.Context, namespace: str | None) -> None:
    """Look at Muster's fleets, make proofs on them and verify them."""
    context.obj = namespace


@main.command("status")
@click.pass_obj
def status_command(namespace: str | None) -> None:
    """Show the pools of workers and the stores: are they fine, how much do they do."""
    kinds = ("proverpools.muster.dev", "coordinators.muster.dev", "kvclusters.muster.dev")
    pools, coordinators, stores = (kubectl.get(kind, None, namespace) for kind in kinds)
    _console.print(table(pools, coordinators))
    if stores["items"]:
        _console.print(store_table(stores))


@main.command("prove")
@click.argument("circuit", type=click.Choice(["merkle", "range", "addition"]))
@click.option("--pool", required=True, help="The ProverPool that makes the proofs.")
@click.option("--curve", type=click.Choice(["bn254", "bls12-381"]), default="bn254")
@click.option("--size", type=int, help="Tree depth (merkle) or bits (range).")
@click.option("--input", "source", type=click.File(), help="JSON inputs; '-' reads them.")
@click.option("--count", type=click.IntRange(1, 10_000), default=1, help="How many random ones.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("proofs"), show_default=True)
@click.pass_obj
def prove_command(namespace: str | None, /, **options: Any) -> None:
    """Have a pool make proofs of CIRCUIT, and save them as snarkjs reads them."""
    source = options["source"]
    try:
        spec = parse_circuit(options["circuit"], curve=options["curve"], size=options["size"])
        wanted = (
            [json.load(source)]
            if source
            else [statements.random_inputs(spec.name) for _ in range(options["count"])]
        )
        orders = [Order(spec, options["pool"], parse_inputs(spec, inputs)) for inputs in wanted]
    except (InvalidInput, json.JSONDecodeError) as error:
        raise click.ClickException(str(error)) from error
    pool = kubectl.get("proverpools.muster.dev", options["pool"], namespace)
    coordinator = pool["spec"].get("coordinatorRef", {}).get("name", options["pool"])
    with kubectl.port_forward(f"{coordinator}-coordinator", _HTTP_PORT, namespace) as url:
        tasks = asyncio.run(_prove_and_save(url, orders, options["out"]))
    makers = sorted({task["worker_id"] for task in tasks})
    _console.print(f"{len(tasks)} proofs by {', '.join(makers)}, saved in {options['out']}/")


async def _prove_and_save(url: str, orders: list[Order], out: Path) -> list[dict[str, Any]]:
    api = ProofApi(url)
    spec, pool = orders[0].spec, orders[0].pool
    try:
        with Progress(console=_console) as progress:
            bar = progress.add_task(f"proving {spec.key_id}", total=len(orders))
            tasks = await prove(api, orders, lambda: progress.advance(bar))
        key = await api.verification_key(spec.name, spec.curve.value, spec.size, pool)
    finally:
        await api.aclose()
    for task in tasks:
        statements.save(out, task, key)
    return tasks


@main.command("verify")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def verify_command(folder: Path) -> None:
    """Check the proofs saved in FOLDER with py_ecc, which shares no code with the prover."""
    folders = statements.saved(folder)
    if not folders:
        raise click.ClickException(f"no proofs below {folder}/; make some with `prove`")
    wrong = []
    with Progress(console=_console) as progress:
        bar = progress.add_task("verifying with py_ecc", total=len(folders))
        for path, holds in verify(folders):
            progress.advance(bar)
            if not holds:
                wrong.append(path.name)
    if wrong:
        raise click.ClickException(f"refused: {', '.join(wrong)}")
    _console.print(f"py_ecc accepts {len(folders)} of {len(folders)} proofs")
