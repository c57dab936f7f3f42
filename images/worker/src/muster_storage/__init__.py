"""A storage node of a KVCluster: records in RocksDB, served in batches to coordinators."""

from importlib.metadata import version

__version__ = version("muster-worker")
