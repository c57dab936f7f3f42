"""Benches that compare Muster with what others use, in one run on one machine."""
