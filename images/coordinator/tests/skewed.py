"""A coordinator whose clock is wrong: `python skewed.py SECONDS --config ...`.

The clock of the process is moved before anything of the coordinator is read; time that only passes
(`time.monotonic`) goes on as it does.
"""

import datetime
import sys
import time
from typing import Self

_SECONDS = float(sys.argv.pop(1))
_TRUE = time.time
_TRUE_NS = time.time_ns


class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Self:
        return cls.fromtimestamp(time.time(), tz)


vars(time)["time"] = lambda: _TRUE() + _SECONDS
vars(time)["time_ns"] = lambda: _TRUE_NS() + round(_SECONDS * 1e9)
vars(datetime)["datetime"] = _Datetime

from muster_coordinator.cli import main  # noqa: E402 - with that clock

sys.exit(main())
