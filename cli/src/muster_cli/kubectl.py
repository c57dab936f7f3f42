"""The user's own kubectl: whatever context, proxy or login plugin it uses, this uses too."""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import click

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


def get(kind: str, name: str | None, namespace: str | None) -> dict[str, Any]:
    """Read an object, or with no name the list of a kind, in at most 30 seconds.

    Raises:
        click.ClickException: kubectl fails; with its own words.
    """
    words = ["get", kind, *([name] if name else []), "--output=json", "--request-timeout=30s"]
    done = subprocess.run(
        ["kubectl", *_in(namespace), *words],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise click.ClickException(done.stderr.strip() or f"kubectl {' '.join(words)} failed")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def port_forward(service: str, port: int, namespace: str | None) -> Iterator[str]:
    """Forward a free local port to a Service's `port` while the context is open.

    Yields the base URL.

    Raises:
        click.ClickException: there is no such Service, or no pod behind it.
    """
    process = subprocess.Popen(
        ["kubectl", *_in(namespace), "port-forward", f"service/{service}", f":{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for above
        said = process.stdout.readline()
        match = _FORWARDING.match(said)
        if match is None:
            raise click.ClickException(f"can't reach service {service}: {said.strip()}")
        yield f"http://127.0.0.1:{match[1]}"
    finally:
        process.kill()
        process.wait()


def _in(namespace: str | None) -> list[str]:
    return ["--namespace", namespace] if namespace else []
