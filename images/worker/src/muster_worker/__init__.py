"""The worker: takes tasks from a coordinator, executes them in child processes, reports back."""

from importlib.metadata import version

__version__ = version("muster-worker")
