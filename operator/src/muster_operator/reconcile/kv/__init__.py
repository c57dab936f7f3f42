"""Reconciling KVClusters."""
