"""Many runs by command: `python -m e2e.jepsen --runs 100`."""

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
from pathlib import Path

from e2e.jepsen.run import run


def main() -> int:
    """Run, tell of each run, and end with 1 where one showed a fault or a blind checker."""
    parser = argparse.ArgumentParser(prog="python -m e2e.jepsen", description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0, help="of faults in each run")
    parser.add_argument("--seed", type=int, help="of the first run; the next ones count on")
    options = parser.parse_args()
    # What was started ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    first = secrets.randbelow(10**6) if options.seed is None else options.seed
    bad = []
    for seed in range(first, first + options.runs):
        with tempfile.TemporaryDirectory(prefix="muster-jepsen-") as home:
            verdict = asyncio.run(run(seed, options.seconds, Path(home)))
        sys.stdout.write(verdict.text() + "\n")
        sys.stdout.flush()
        if verdict.faults or not verdict.control:
            bad.append(seed)
    sys.stdout.write(f"{options.runs} runs, bad seeds: {bad or 'none'}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
