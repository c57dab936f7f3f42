"""Changes of the topology, and repair: what one coordinator, the maintenance leader, sees to."""
