"""libsignal (Rust, through its Node package), timed inside its Node process: the pipe is not in its figures.

Its stores are in memory and hold libsignal's own objects, so nothing is serialised but messages:
the package at its best. Every call is asynchronous there, which is how a Node program has to use it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from benchmarks.peer import Operation, Peer, UnavailableError, payload
from tests.support.oracle import CURRENT, Oracle, why_unavailable
from tests.support.oracle_device import OracleDevice

if TYPE_CHECKING:
    from benchmarks.harness import Run

BENCHMARKS: Final = {
    Operation.ENCRYPT: "encrypt",
    Operation.DECRYPT: "decrypt",
    Operation.ROUND_TRIP: "encrypt_decrypt",
    Operation.PING_PONG: "ping_pong",
    Operation.INITIATE_AND_ENCRYPT: "initiate",
    Operation.ACCEPT: "accept",
    Operation.GROUP_ENCRYPT: "sender_key_encrypt",
    Operation.GROUP_DECRYPT: "sender_key_decrypt",
}


def open_peer() -> Peer:
    """Start Node. Raises UnavailableError where it or the package is missing."""
    reason = why_unavailable()
    if reason is not None:
        raise UnavailableError(reason)
    oracle = Oracle()
    operations = {operation: partial(benchmark, oracle, name) for operation, name in BENCHMARKS.items()}
    about = "the official library through its Node package, timed inside Node; stores in memory hold its objects"
    return Peer("libsignal", CURRENT, about, operations, partial(record_sizes, oracle), oracle.close)


def benchmark(oracle: Oracle, name: str, size: int) -> Run:
    """Open one of the benchmarks of tests/interop/oracle/benchmark.mjs; libsignal checks the tags itself."""
    handle = oracle.new_handle("benchmark")
    oracle.call("benchmark_open", benchmark=handle, name=name, size=size)

    def run(operations: int) -> float:
        return sum(oracle.call("benchmark_run", benchmark=handle, count=operations).numbers("nanoseconds")) / 1e9

    return run


def record_sizes(oracle: Oracle, messages: int) -> list[int]:
    """Return the size of the receiver's session record after each message of a ping-pong."""
    sender, receiver = OracleDevice.create(oracle, "alice"), OracleDevice.create(oracle, "bob")
    sender.process_bundle(receiver, receiver.bundle())
    sizes = []
    for _ in range(messages):
        receiver.decrypt(sender, sender.encrypt(receiver, payload(256)))
        sizes.append(len(receiver.export_session(sender)))
        sender, receiver = receiver, sender
    return sizes
