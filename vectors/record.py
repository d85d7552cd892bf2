"""Records live conversations with libsignal: `python -m vectors record`. Needs Node, see tests/interop/oracle.

`ratchet` is one side, with dice that the recording keeps, so its half can be made again to the byte anywhere. Libsignal
is the other, with dice of its own: its messages are input, and that it read ours was seen when the recording was made.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from tests.support.oracle import CURRENT, X3DH_ERA, Oracle
from tests.support.oracle_device import OracleDevice
from tests.support.oracle_keys import OracleKeys
from tests.support.oracle_values import OracleAddress
from vectors.files import FOLDER, VectorFile
from vectors.generators import safety_numbers, sender_keys, signatures
from vectors.generators.conversations import FLAGS as CONVERSATION_FLAGS
from vectors.generators.conversations import chatter
from vectors.generators.dice import Dice
from vectors.generators.form import valid, vector_file
from vectors.live import Recording
from vectors.reference.expectations import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.oracle_values import KemChoice
    from vectors.files import Json

LONG: Final = 300  # messages: at least two post-quantum epochs
SHORT: Final = 60
FLAGS: Final = CONVERSATION_FLAGS | {
    "WeInitiate": "The side with the private keys starts the session.",
    "LibsignalInitiates": "The recorded side starts the session.",
}


def recorded_files() -> Iterator[VectorFile]:
    """Talk with libsignal and return what was said. Raises OracleError or Mismatch if one side refuses the other."""
    with Oracle() as oracle:
        for name, title, release, tests in (
            ("conversation.json", "Conversations with libsignal", CURRENT, _conversations),
            ("conversation_older.json", "Conversations with an older libsignal", X3DH_ERA, _older_conversations),
        ):
            yield _conversation_file(name, title, release, tests(oracle))
        yield _group_file(oracle)
        yield _signature_file(oracle)
        yield _safety_number_file(oracle)


def _origin(release: str) -> Json:
    return {
        "made_by": "ratchet and libsignal, in a live conversation",
        "how": "python -m vectors record",
        "peer": f"libsignal-client {release} (npm)",
    }


# Conversations


def _conversation_file(name: str, title: str, release: str, tests: list[Json]) -> VectorFile:
    used = {flag for test in tests for flag in test["flags"]}
    flags = {flag: meaning for flag, meaning in FLAGS.items() if flag in used}
    groups = [{"comment": title, "tests": tests}]
    content = vector_file(kind="conversation", title=title, flags=flags, groups=groups, origin=_origin(release))
    return VectorFile(FOLDER / "libsignal" / name, content)


def _conversations(oracle: Oracle) -> list[Json]:
    tests = []
    cases: list[tuple[bool, KemChoice, str, int, int, tuple[str, ...]]] = [
        (True, "one_time", "full", LONG, 30, ("Epochs", "Loss", "OutOfOrder")),
        (False, "one_time", "full", LONG, 30, ("Epochs", "Loss", "OutOfOrder")),
        (True, "last_resort", "full", SHORT, 0, ("LastResort",)),
        (False, "last_resort", "last_resort", SHORT, 0, ("LastResort", "NoOneTimePreKey")),
    ]
    for ours_first, kem, variant, messages, loss, flags in cases:
        name = f"{ours_first} {kem}"
        script = Recording.with_peer(oracle, name, CURRENT, kem, {})
        _start(script, variant, ours_first=ours_first)
        chatter(script, messages=messages, loss=loss)
        role = "WeInitiate" if ours_first else "LibsignalInitiates"
        tests.append(valid(_comment(messages, loss), "Pqxdh", role, *flags, **script.test()))
    return tests


def _older_conversations(oracle: Oracle) -> list[Json]:
    tests = []
    cases: list[tuple[bool, str, KemChoice, dict[str, bool], dict[str, bool], str]] = [
        (True, "full", None, {"allow_x3dh": True}, {}, "X3dh"),
        (False, "x3dh_one_time", None, {"allow_x3dh": True}, {}, "X3dh"),
        (True, "full", "one_time", {"allow_without_spqr": True}, {"without_spqr": True}, "WithoutSpqr"),
        (False, "full", "one_time", {"allow_without_spqr": True}, {}, "WithoutSpqr"),
    ]
    for ours_first, variant, kem, options, start, flag in cases:
        script = Recording.with_peer(oracle, f"{ours_first} {flag}", X3DH_ERA, kem, options)
        _start(script, variant, ours_first=ours_first, **start)
        chatter(script, messages=SHORT, loss=30)
        role = "WeInitiate" if ours_first else "LibsignalInitiates"
        tests.append(valid(_comment(SHORT, 30), flag, role, "Loss", "OutOfOrder", **script.test()))
    return tests


def _start(script: Recording, variant: str, *, ours_first: bool, **extra: bool) -> None:
    if ours_first:
        script.initiate("alice", "full", **extra)
    else:
        script.peer_initiates(variant)


def _comment(messages: int, loss: int) -> str:
    return f"{messages} messages, {f'{loss} in a hundred lost' if loss else 'none lost'}"


# Everything else


def _group_file(oracle: Oracle) -> VectorFile:
    title = "Sender keys with libsignal"
    groups = [_libsignal_reads(oracle), _libsignal_sends(oracle)]
    flags = {
        "SeedKey": sender_keys.FLAGS["SeedKey"],
        "OutOfOrder": sender_keys.FLAGS["OutOfOrder"],
        "LibsignalSends": "The sender is libsignal, whose secrets are not known.",
    }
    content = vector_file(kind="sender_keys", title=title, flags=flags, groups=groups, origin=_origin(CURRENT))
    return VectorFile(FOLDER / "libsignal" / "sender_keys.json", content)


def _libsignal_reads(oracle: Oracle) -> Json:
    play = sender_keys.Play("recording")
    peer = OracleDevice.create(oracle, "bob")
    sender = OracleAddress("alice", 1)
    play.chain()
    play.distribute("bob")
    peer.process_distribution(sender, play.group.distributions[0])
    for message in play.dice.shuffled([play.encrypt() for _ in range(20)]):
        body, plaintext = play.group.messages[message]
        expect("plaintext at libsignal", peer.group_decrypt(sender, body), plaintext.hex())
        play.decrypt("bob", message)
    test = valid("Twenty messages, shuffled", "SeedKey", "OutOfOrder", steps=play.steps)
    return {"comment": "Libsignal reads", **play.content([test])}


def _libsignal_sends(oracle: Oracle) -> Json:
    dice = Dice("recording, libsignal sends")
    peer = OracleDevice.create(oracle, "bob")
    distribution_id = uuid.UUID(bytes=dice.bytes(16), version=4)
    steps: list[Json] = [
        {"do": "distribute", "body": peer.distribution_message(distribution_id).hex()},
        {"by": "alice", "do": "add", "distribution": 0},
    ]
    for number in range(20):
        plaintext = dice.bytes(number)
        body = peer.group_encrypt(distribution_id, plaintext)
        steps.append({"do": "encrypt", "plaintext": plaintext.hex(), "body": body.hex()})
    order = dice.shuffled(list(range(20)))
    steps += [{"by": "alice", "do": "decrypt", "message": message} for message in order]
    test = valid("Twenty messages, shuffled", "LibsignalSends", "OutOfOrder", steps=steps)
    return {"comment": "Libsignal sends", "distribution_id": str(distribution_id), "chains": [], "tests": [test]}


def _signature_file(oracle: Oracle) -> VectorFile:
    keys, dice = OracleKeys(oracle), Dice("recording, signatures")
    tests = []
    for size in (0, 1, 33, 64, 109, 1569):
        pair, message = keys.generate_key_pair(), dice.bytes(size)
        signature = keys.sign(pair.private_key, message)
        flag = "SignBit" if signature[63] & 0x80 else "NoSignBit"
        content = {"public_key": pair.public_key.hex(), "message": message.hex(), "signature": signature.hex()}
        tests.append(valid(f"A message of {size:,} bytes", flag, op="verify", **content))
    used = {flag for test in tests for flag in test["flags"]}
    flags = {flag: meaning for flag, meaning in signatures.FLAGS.items() if flag in used}
    groups = [{"comment": "Signatures by libsignal", "tests": tests}]
    title = "XEdDSA signatures by libsignal"
    content = vector_file(kind="xeddsa", title=title, flags=flags, groups=groups, origin=_origin(CURRENT))
    return VectorFile(FOLDER / "libsignal" / "xeddsa.json", content)


def _safety_number_file(oracle: Oracle) -> VectorFile:
    keys, dice = OracleKeys(oracle), Dice("recording, safety numbers")
    tests = []
    for version, flag, ids in (
        (2, "ServiceId", (dice.bytes(16), dice.bytes(16))),
        (1, "PhoneNumber", (b"+14155550101", b"+14155550102")),
    ):
        local, remote = (
            {"id": stable_id.hex(), "identity_key": keys.generate_key_pair().public_key.hex()} for stable_id in ids
        )
        shown = keys.fingerprint(
            ids[0],
            bytes.fromhex(local["identity_key"]),
            ids[1],
            bytes.fromhex(remote["identity_key"]),
            iterations=safety_numbers.ITERATIONS,
            version=version,
        )
        inputs = {"local": local, "remote": remote, "iterations": safety_numbers.ITERATIONS, "version": version}
        output = {"digits": shown.digits, "scannable": shown.scannable.hex()}
        tests.append(valid(f"Version {version}", flag, op="compute", **inputs, **output))
    flags = {flag: safety_numbers.FLAGS[flag] for flag in ("ServiceId", "PhoneNumber")}
    groups = [{"comment": "Safety numbers by libsignal", "tests": tests}]
    title = "Safety numbers by libsignal"
    content = vector_file(kind="safety_number", title=title, flags=flags, groups=groups, origin=_origin(CURRENT))
    return VectorFile(FOLDER / "libsignal" / "safety_number.json", content)
