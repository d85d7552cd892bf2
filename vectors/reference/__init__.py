"""The protocol a second time, written for reading.

Nothing here imports `ratchet`, `store` or `e2ee`, and nothing here is fast or constant-time: it shows what the bytes of
the vectors must be, from the published descriptions of the protocol alone. Where `ratchet` uses a library, another one
is used here, so that a fault of one shows: elliptic-curve arithmetic in plain Python, ML-KEM and round-3 Kyber from
`kyber-py`, the erasure code by Lagrange interpolation.
"""
