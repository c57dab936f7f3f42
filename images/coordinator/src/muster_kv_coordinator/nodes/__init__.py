"""The storage nodes: one connection to each member of the ring, and how they are."""
