"""What the models of state machines share: the engine beside them, and how long they walk."""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterator
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine

from muster_coordinator.engine.errors import EngineError
from muster_coordinator.engine.retry import Backoff, RetryPolicy

from .parts import Parts, Settings, parts

T = TypeVar("T")

LOSSES = 2
# Enough to find each of the mistakes that were planted; more takes longer than it is worth.
BOUNDED = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    # Thirty steps can be read as they are; making them fewer takes minutes.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Machine(RuleBasedStateMachine):
    """What both models have: the engine, and a loop that it runs on."""

    made: ClassVar[Parts]
    runner: ClassVar[asyncio.Runner]

    def does(self, what: Awaitable[T]) -> T:
        """Run one call of the engine to its end."""

        async def run() -> T:
            return await what

        return self.runner.run(run())

    def fails(self, what: Awaitable[Any], error: type[EngineError]) -> None:
        """Run a call that is refused."""
        with pytest.raises(error):
            self.does(what)

    def sql(self, query: str, *args: Any) -> list[Any]:
        """What the database holds."""
        return self.does(self.made.database.fetch(query, *args))


@contextlib.contextmanager
def engine(dsn: str, machine: type[Machine]) -> Iterator[None]:
    policy = RetryPolicy(Backoff(first=0, jitter=0), max_redistributions=LOSSES)
    with asyncio.Runner() as runner:
        opened = parts(dsn, Settings(policy=policy))
        machine.runner = runner
        machine.made = runner.run(opened.__aenter__())
        try:
            yield
        finally:
            runner.run(opened.__aexit__(None, None, None))
