"""Proofs as a kind of work: circuits on offer, keys, and verification on receipt."""
