"""Many runs by command: `python -m e2e.jepsen --runs 100`."""

import argparse
import asyncio
import logging
import secrets
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from e2e.jepsen.plan import Kind, Plan, plan
from e2e.jepsen.run import Verdict, run

# To start, to heal and to judge, on a machine that does other things too.
_JUDGING_SECONDS = 600.0


def main() -> int:
    """Run, tell of each run, and end with 1 where one showed a fault or a blind checker."""
    options = _options()
    # What was started ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # What is broken on purpose is no news.
    logging.getLogger("muster_kv").addHandler(logging.NullHandler())
    first = secrets.randbelow(10**6) if options.seed is None else options.seed
    seeds = range(first, first + options.runs)
    bad = [
        one
        for one in (plan(seed, options.seconds, options.nemeses) for seed in seeds)
        if not _is_good(one)
    ]
    _say(f"{options.runs} runs from seed {first}, {len(bad)} bad")
    for one in bad:
        told = f"--seed {one.seed} --nemeses {one.names} --seconds {one.seconds:g}"
        _say(f"  again: make jepsen ARGS='{told}'")
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.jepsen", description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0, help="of trouble in each run")
    parser.add_argument("--seed", type=int, help="of the first run; the next ones count on")
    names = ",".join(kind.value for kind in Kind)
    parser.add_argument(
        "--nemeses", type=_kinds, default=(), help=f"some of {names}; otherwise the seed says"
    )
    return parser.parse_args()


def _kinds(text: str) -> list[Kind]:
    return [Kind(name) for name in text.split(",")]


def _is_good(one: Plan) -> bool:
    """Carry out a plan; where it ends badly, what was logged is kept."""
    home = Path(tempfile.mkdtemp(prefix=f"muster-jepsen-{one.seed}-"))
    _say(f"seed {one.seed}: {one.names} ...")
    verdict = asyncio.run(_verdict(one, home))
    if isinstance(verdict, Verdict):
        _say(verdict.text())
        if not verdict.faults and not verdict.blind:
            shutil.rmtree(home)
            return True
    elif isinstance(verdict, Exception):
        _say(f"seed {one.seed} ({one.names}): did not end")
        _say("".join(traceback.format_exception(verdict)))
    else:
        raise verdict
    _say(f"  logs and history: {home}")
    return False


async def _verdict(one: Plan, home: Path) -> Verdict | BaseException:
    """What a run showed; or what ended it, so that the next one has its turn."""
    ended = asyncio.wait_for(run(one, home), one.seconds + _JUDGING_SECONDS)
    (verdict,) = await asyncio.gather(ended, return_exceptions=True)
    return verdict


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
