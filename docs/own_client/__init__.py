"""A client of the relay made from `docs/protocol.md` alone, for whoever writes one in another language.

It shares no code with `e2ee` and `store`: msgpack, a WebSocket, SHA-256, and the Signal Protocol itself (`ratchet`
here; any implementation of it will do). It shows what goes over the wire and in which order, not how to be safe: it
keeps nothing on disk, trusts every first key, and answers no retry request.
`tests/e2ee/test_a_client_of_your_own.py` lets it talk with ours.
"""
