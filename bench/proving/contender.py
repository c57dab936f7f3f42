"""A contender is a process that reads one JSON request a line and answers with one JSON line.

So each measures its own CPU time (getrusage), with nothing else running in its process.
"""

import contextlib
import json
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

_SECONDS_TO_END = 30.0


class Contender:
    """A running contender.

    Raises RuntimeError when it ends before it has answered; its own message is on stderr.
    """

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            bufsize=1,
        )

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request and its answer."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError(f"{self.name} was started without pipes")
        self._process.stdin.write(json.dumps(request) + "\n")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended during {request.get('do')}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Its requests end, and so does it, with all that it started; killed, it would leave that.
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
