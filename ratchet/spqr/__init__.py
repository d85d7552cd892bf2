"""SPQR, the sparse post-quantum ratchet: one key per message, healed by ML-KEM (`signal-protocol` section 4).

`ratchet` is what the rest of the package uses; `braid` agrees on epoch secrets, `chain` turns them
into message keys, `erasure` and `kem` are the two pieces of mathematics, `wire` the message form.
"""
