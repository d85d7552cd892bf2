"""Test vectors of the Signal Protocol, their schemas, generator, verifier and checker: `python -m vectors`."""
