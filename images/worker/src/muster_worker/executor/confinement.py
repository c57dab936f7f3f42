"""What an executing process does to itself before it runs foreign work."""

import ctypes
import os
import resource
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_OOM_SCORE_STEP = 500
_OOM_SCORE_MOST = 1000


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the process `parent` dies.

    Raises:
        OSError: the kernel refuses.
        SystemExit: the parent is dead already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise SystemExit(1)


def keep_orphans() -> None:
    """Have processes whose parent has died become children of this one, so that they are found.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def volunteer_for_oom(process: Path = Path("/proc/self")) -> None:
    """Make this process a better victim for the kernel's OOM killer than its parent is."""
    score = process / "oom_score_adj"
    raised = min(_OOM_SCORE_MOST, int(score.read_text(encoding="ascii")) + _OOM_SCORE_STEP)
    score.write_text(str(raised), encoding="ascii")


def limit_memory(limit: int) -> None:
    """Refuse this process more than `limit` bytes of private memory, and core dumps.

    RLIMIT_DATA, because RLIMIT_AS also counts libraries, and address space that is only reserved.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
