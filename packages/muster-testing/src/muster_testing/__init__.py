"""Real servers and exact waiting for the tests."""
