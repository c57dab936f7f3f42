"""Many runs by command: `python -m e2e.jepsen --runs 100`."""

import argparse
import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence

from e2e.jepsen.campaign import Ended, campaign
from e2e.jepsen.plan import Kind, Plan, plan
from e2e.jepsen.summary import summary


def main() -> int:
    """Run, tell of each run, and end with 1 where one showed a fault or a blind checker."""
    options = _options()
    first = secrets.randbelow(10**6) if options.seed is None else options.seed
    seeds = range(first, first + options.runs)
    plans = [plan(seed, options.seconds, options.nemeses) for seed in seeds]
    _say(f"from seed {first}, {options.at_once} at a time")
    progress = _Progress(len(plans))
    try:
        asyncio.run(_carried_out(plans, options.at_once, progress))
    finally:
        # Also of those that were over when somebody had no more time.
        progress.told_all()
    return 0 if progress.good else 1


async def _carried_out(plans: Sequence[Plan], at_once: int, progress: "_Progress") -> None:
    me = asyncio.current_task()
    if me is not None:
        # What was started ends with it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    await campaign(plans, at_once, progress.told)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.jepsen", description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="so many runs")
    parser.add_argument("--seconds", type=float, default=30.0, help="of trouble in each run")
    parser.add_argument("--seed", type=int, help="of the first run; the next ones count on")
    names = ",".join(kind.value for kind in Kind)
    parser.add_argument(
        "--nemeses", type=_kinds, default=(), help=f"some of {names}; otherwise the seed says"
    )
    return parser.parse_args()


def _kinds(text: str) -> list[Kind]:
    return [Kind(name) for name in text.split(",")]


class _Progress:
    """Tells of each run, and how long the others may take."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._begun = time.monotonic()
        self._ended: list[Ended] = []

    @property
    def good(self) -> bool:
        """Whether all runs are over, and good."""
        return len(self._ended) == self._runs and not self._bad

    @property
    def _bad(self) -> list[Plan]:
        plans = [one.plan for one in self._ended if not one.good]
        return sorted(plans, key=lambda one: one.seed)

    @property
    def _minutes(self) -> float:
        return (time.monotonic() - self._begun) / 60

    def told(self, ended: Ended) -> None:
        """One run is over."""
        self._ended.append(ended)
        over = len(self._ended)
        left = self._minutes / over * (self._runs - over)
        where = f"{over} of {self._runs}, {len(self._bad)} bad, {left:.0f} min left"
        if ended.verdict is None:
            _say(f"[{where}] seed {ended.plan.seed} ({ended.plan.names}): did not end")
            _say(ended.said)
        else:
            _say(f"[{where}] {ended.verdict.line()}")
            for sentence in ended.verdict.wrong():
                _say(f"  {sentence}")
        if not ended.good:
            _say(f"  logs and history: {ended.home}")

    def told_all(self) -> None:
        """No more runs will be over."""
        verdicts = [one.verdict for one in self._ended if one.verdict is not None]
        _say(f"\n{summary(verdicts)}\n")
        over, bad = len(self._ended), self._bad
        _say(
            f"{over} of {self._runs} runs in {self._minutes:.0f} min: "
            f"{over - len(bad)} good, {len(bad)} bad"
        )
        for one in bad:
            told = f"--seed {one.seed} --nemeses {one.names} --seconds {one.seconds:g}"
            _say(f"  again: make jepsen ARGS='{told}'")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
