"""PostgreSQL behind the engine's ports. All SQL of the coordinator is in here."""
