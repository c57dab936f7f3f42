"""The worker: takes tasks from a coordinator, executes them in child processes, reports back."""

import os
from importlib.metadata import version

# gRPC reads these when it is imported. It need not prepare for forks, since what this process
# starts is a new program; and its own lines would stand between the JSON of the log.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

__version__ = version("muster-worker")
