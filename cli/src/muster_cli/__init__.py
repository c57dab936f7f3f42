"""kubectl muster: look at fleets, make proofs on them and verify them."""
