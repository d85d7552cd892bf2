"""Speed and size, ours beside others', measured in one run: ``python -m benchmarks ratchet handshake groups``.

`docs/benchmarks.md` says how the figures are made and how to read them.
"""
