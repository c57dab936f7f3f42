"""What a KVCluster becomes."""
