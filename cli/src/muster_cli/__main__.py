"""`python -m muster_cli` is `kubectl muster`."""

from muster_cli.app import main

main()
