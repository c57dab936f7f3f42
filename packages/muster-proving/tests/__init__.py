"""Tests of circuits, inputs, keys, proofs and verifiers."""
