"""The engine: what a queue of work is and how it moves, without SQL, gRPC or HTTP.

It decides; adapters behind the protocols of `ports` store, deliver and measure. The same engine
serves proofs and any other kind of work: a proof is a workload of type `prove.<circuit>`.
"""
