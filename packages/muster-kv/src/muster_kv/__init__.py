"""The replicated key-value store's core: clocks, records, merging, ring, quorums; and its wire.

Everything outside `muster_kv.wire` is pure: no clock is read, no socket opened, nothing random.
"""
