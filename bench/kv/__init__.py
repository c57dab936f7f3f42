"""Muster's key-value store beside etcd and Cassandra: durable writes and reads by a quorum."""
