"""The executing process: reads requests, executes, replies, until its worker is gone."""

import argparse
import os
import queue
import resource
import socket
import threading
from collections.abc import Sequence

from muster_runtime import logs
from muster_sdk import Wish
from muster_worker.executor import confinement, messages
from muster_worker.executor.causes import OUT_OF_MEMORY_STATUS
from muster_worker.executor.run import Run
from muster_worker.executor.runner import Runner

_STACK_BYTES = 512 * 1024
"""Of the thread that listens; the whole of a usual one would count as memory of the task."""


def main(argv: Sequence[str]) -> None:
    """Serve the worker at the other end of the socket with the given file descriptor."""
    parser = argparse.ArgumentParser(prog="muster_worker.executor")
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--memory-limit", type=int)
    options = parser.parse_args(argv)

    confinement.die_with(options.parent)
    confinement.keep_orphans()
    confinement.volunteer_for_oom()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold witnesses
    if options.memory_limit is not None:
        confinement.limit_memory(options.memory_limit)
    logs.configure("worker-executor")

    with socket.socket(fileno=options.socket) as connection:
        try:
            _Server(connection).run()
        except MemoryError:
            os._exit(OUT_OF_MEMORY_STATUS)


class _Server:
    """Executes in the main thread, and listens in another one, so that a wish is heard at once."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._runner = Runner(self._send)
        self._requests: queue.SimpleQueue[tuple[messages.Message, Run | None] | None] = (
            queue.SimpleQueue()
        )

    def run(self) -> None:
        threading.stack_size(_STACK_BYTES)
        threading.Thread(target=self._listen, daemon=True).start()
        threading.stack_size(0)
        while (asked := self._requests.get()) is not None:
            self._send(self._runner.answer(*asked))
        self._runner.close()

    def _listen(self) -> None:
        """Each run is there before the next message is read: no wish meets the wrong one."""
        run: Run | None = None
        try:
            with self._connection.makefile("rb") as stream:
                while (message := messages.receive(stream.read)) is not None:
                    if isinstance(message, messages.Stop):
                        if run is not None:
                            run.wished(Wish(message.wish))
                        continue
                    run = None
                    if isinstance(message, messages.Execute):
                        run = self._runner.begin(message)
                    self._requests.put((message, run))
        except MemoryError:
            os._exit(OUT_OF_MEMORY_STATUS)
        finally:
            self._requests.put(None)

    def _send(self, message: messages.Message) -> None:
        with self._sending:
            self._connection.sendall(messages.frame(message))
