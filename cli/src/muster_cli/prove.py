"""Have a fleet make proofs, and check that each is a proof of what was asked."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from muster_cli.api import ProofApi
from muster_proving import CircuitSpec, public_signals

_IN_FLIGHT = 100


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be proved, and by which pool; `inputs` as `parse_inputs` returns them."""

    spec: CircuitSpec
    pool: str
    inputs: Mapping[str, Any]

    def body(self) -> dict[str, Any]:
        """The request body."""
        chosen: dict[str, Any] = {"curve": self.spec.curve.value, "pool": self.pool}
        if self.spec.size:
            chosen["size"] = self.spec.size
        return {**self.inputs, **chosen}


async def prove(
    api: ProofApi, orders: Sequence[Order], done: Callable[[], None]
) -> list[dict[str, Any]]:
    """Submit all `orders` and return their tasks, in order; `done` is called after each.

    Raises:
        click.ClickException: a task failed, or its proof states something else than was asked.
    """
    slots = asyncio.Semaphore(_IN_FLIGHT)

    async def one(order: Order) -> dict[str, Any]:
        async with slots:
            task_id = await api.submit(order.spec.name, order.body())
            task = await api.result(task_id)
        _check(task, order)
        done()
        return task

    return await asyncio.gather(*(one(order) for order in orders))


def _check(task: Mapping[str, Any], order: Order) -> None:
    if task["status"] != "completed":
        raise click.ClickException(f"task {task['task_id']} {task['status']}: {task['error']}")
    asked = public_signals(order.spec, order.inputs)
    if task["public_inputs"] != asked:
        raise click.ClickException(
            f"task {task['task_id']}: the proof states {task['public_inputs']}, not {asked}"
        )
