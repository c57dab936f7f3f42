"""The prover and the verifiers against gnark and py_ecc: `python -m bench.proving`."""
