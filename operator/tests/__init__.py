"""A package, or pytest would take the folder above it for the standard library's `operator`."""
