"""The command line."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from muster_dev import (
    apt,
    checks,
    clusters,
    demo,
    image_loading,
    images,
    preparation,
    processes,
    virtualenv,
)
from muster_dev.errors import SetupError
from muster_dev.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_DEFAULT_CLUSTER = "muster-demo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; return its exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        work = open_workspace()
    except SetupError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    try:
        options.command(work, options)
    except SetupError as failure:
        work.steps.failed(failure)
        return 1
    except KeyboardInterrupt:
        work.steps.say("\ninterrupted; the next run goes on from here")
        return 130
    finally:
        processes.end_children()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="muster_dev", description="Build, run and test Muster.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    env = commands.add_parser("env", help="the virtualenv of the checkout, .venv")
    env.set_defaults(command=lambda work, _: virtualenv.ensure(work))
    lock = commands.add_parser("lock", help="pin all dependencies anew")
    lock.set_defaults(command=lambda work, _: virtualenv.lock(work))
    _cluster_commands(commands.add_parser("cluster", help="a real Kubernetes cluster here"))
    _image_commands(commands.add_parser("images", help="the container images"))
    _demo_command(commands.add_parser("demo", help="install Muster and show verified proofs"))
    _check_commands(commands)
    return parser


def _cluster_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="bring a cluster up, or use one that you name")
    up.set_defaults(command=_cluster_up)
    _cluster_options(up)
    up.add_argument(
        "--publish",
        type=_port_pair,
        action="append",
        default=[],
        metavar="[HOST:]NODEPORT",
        help="open a NodePort on 127.0.0.1, on a free port if none is given",
    )
    down = commands.add_parser("down", help="remove a cluster, or everything that was made")
    down.set_defaults(command=_cluster_down)
    which = down.add_mutually_exclusive_group()
    which.add_argument("--name", default=_DEFAULT_CLUSTER)
    which.add_argument("--all", action="store_true")
    status = commands.add_parser("status", help="show the clusters that are there")
    status.set_defaults(command=_cluster_status)
    status.add_argument("-o", "--output", choices=["text", "json"], default="text")


def _cluster_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default=_DEFAULT_CLUSTER)
    parser.add_argument("--nodes", type=_at_least_one, default=3)
    parser.add_argument("--context", help="use this context of yours; nothing is created")
    parser.add_argument("--kubeconfig", type=Path, help="the file that --context is in")
    parser.add_argument("--registry", default="", help="where images for --context are pushed")


def _image_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="build what has changed")
    build.set_defaults(command=_images_build)
    load = commands.add_parser("load", help="build, and put into a cluster what it lacks")
    load.set_defaults(command=_images_load)
    load.add_argument("--cluster", default=_DEFAULT_CLUSTER)
    for command in (build, load):
        command.add_argument("--only", nargs="+", choices=images.NAMES, default=images.NAMES)
    listing = commands.add_parser("list", help="show the names and tags of all images")
    listing.set_defaults(command=_images_list)
    listing.add_argument("-o", "--output", choices=["text", "json", "values"], default="text")


def _demo_command(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_demo)
    _cluster_options(parser)
    parser.add_argument("--count", type=_at_least_one, default=10, help="how many proofs")


def _passed_on(options: argparse.Namespace) -> list[str]:
    # Behind `--`, so that the next program's options are not taken for this one's.
    arguments: list[str] = options.arguments
    return arguments[1:] if arguments[:1] == ["--"] else arguments


def _check_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lint = commands.add_parser("lint", help="style, types, imports, generated files")
    lint.set_defaults(command=lambda work, _: checks.lint(work))
    unit = commands.add_parser("unit", help="tests without servers")
    unit.set_defaults(command=lambda work, options: checks.unit(work, _passed_on(options)))
    integration = commands.add_parser("integration", help="tests against real servers")
    integration.set_defaults(
        command=lambda work, options: checks.integration(work, _passed_on(options))
    )
    e2e = commands.add_parser("e2e", help="end-to-end tests on a cluster of their own")
    e2e.set_defaults(command=lambda work, options: checks.e2e(work, _passed_on(options)))
    for command in (unit, integration, e2e):
        command.add_argument("arguments", nargs=argparse.REMAINDER, help="for pytest")
    everything = commands.add_parser("test", help="lint, unit, integration and e2e")
    everything.set_defaults(command=lambda work, _: checks.test(work))


def _cluster_up(work: Workspace, options: argparse.Namespace) -> None:
    _bring_up(work, options, tuple(options.publish))
    print(f"export KUBECONFIG={work.paths.kubeconfig(options.name)}")


def _bring_up(
    work: Workspace, options: argparse.Namespace, publish: tuple[tuple[int, int], ...] = ()
) -> None:
    if options.context:
        clusters.adopt(work, options.name, options.context, options.kubeconfig, options.registry)
    else:
        clusters.up(work, options.name, options.nodes, publish)


def _cluster_down(work: Workspace, options: argparse.Namespace) -> None:
    if options.all:
        clusters.down_all(work)
    else:
        clusters.down(work, options.name)


def _cluster_status(work: Workspace, options: argparse.Namespace) -> None:
    found = clusters.status(work)
    if options.output == "json":
        print(json.dumps(found, indent=2))
        return
    if not found:
        print("no cluster")
    for cluster in found:
        state = "ready" if cluster["answers"] else "does not answer"
        print(f"{cluster['name']}: {state}, {cluster['nodes']} nodes, {cluster['kubeconfig']}")


def _images_build(work: Workspace, options: argparse.Namespace) -> None:
    print("\n".join(images.build(work, options.only)))


def _images_load(work: Workspace, options: argparse.Namespace) -> None:
    print("\n".join(image_loading.load(work, options.cluster, options.only)))


def _images_list(work: Workspace, options: argparse.Namespace) -> None:
    found = images.references(work)
    if options.output == "json":
        print(json.dumps(found, indent=2))
    elif options.output == "values":
        print(images.chart_values(found), end="")
    else:
        print("\n".join(f"{name:<12} {reference}" for name, reference in found.items()))


def _demo(work: Workspace, options: argparse.Namespace) -> None:
    if options.context:
        image_loading.require_registry(options.context, options.registry)
    prepared = preparation.begin(work, apt.missing_programs(demo.NODE_PROGRAMS))
    _bring_up(work, options)
    prepared.wait()
    demo.run(work, options.name, options.count)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return number


def _port_pair(text: str) -> tuple[int, int]:
    here, _, there = text.rpartition(":")
    pair = (int(here or 0), int(there))
    if not all(0 <= port < 65536 for port in pair):
        raise argparse.ArgumentTypeError(f"{text}: ports are below 65536")
    return pair


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
