"""Executing processes: each runs one task at a time, and dies alone."""
