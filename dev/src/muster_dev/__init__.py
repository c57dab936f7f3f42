"""The tool behind the Makefile: virtualenv, pinned tools, kind cluster, images.

It runs with the system's own Python and its standard library, before anything is installed.
"""

__version__ = "0.1.0"
