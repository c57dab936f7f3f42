"""The coordinator of the key-value store: quorums over storage nodes, tenants, and its faces."""
