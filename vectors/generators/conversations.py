"""Conversations: first messages, disorder and loss, sessions that cross, post-quantum epochs, limits."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from vectors.generators.form import valid, vector_file
from vectors.generators.script import Script, other_party

if TYPE_CHECKING:
    from vectors.files import Json
    from vectors.generators.dice import Dice

PQXDH: Final = "Pqxdh"
FLAGS: Final = {
    PQXDH: "Version 4: PQXDH, double ratchet, and the post-quantum ratchet beside it.",
    "X3dh": "Version 3: X3DH, double ratchet, no post-quantum ratchet. Refused unless it is asked for.",
    "WithoutSpqr": "Version 4 without the post-quantum ratchet. Refused unless it is asked for.",
    "Traced": "Steps state the secrets behind each message, to find where an implementation goes another way.",
    "NoOneTimePreKey": "The handshake has three Diffie-Hellman results instead of four.",
    "LastResort": "The KEM prekey is one that is used more than once.",
    "Unbound": "No addresses in first messages, because a name is not a service id.",
    "OutOfOrder": "Messages overtake each other.",
    "Loss": "Some messages never arrive.",
    "OldChain": "Messages arrive after the sender's ratchet key has changed.",
    "Crossing": "Both sides start a session before they hear of the other's.",
    "Archived": "A ratchet that is no longer used for sending still reads, or comes back into use.",
    "Epochs": "The post-quantum key agreement completes at least two epochs.",
    "Limit": "The last message that a limit still allows.",
    "SelfSession": "Both ends are devices of one user, so there is no limit on lost messages.",
    "Padding": "Texts around the cipher's block size.",
}


def files() -> dict[str, Json]:
    """Return the files by name."""
    return {
        "conversation.json": _file(
            "Conversations of two devices, version 4",
            [_first_messages(), _order_and_loss(), _several_ratchets()],
        ),
        "conversation_epochs.json": _file("Conversations over several post-quantum epochs", [_epochs()]),
        "conversation_older.json": _file("Conversations as older releases hold them", [_x3dh(), _without_spqr()]),
        "conversation_limits.json": _file("Conversations at their limits", [_limits()]),
    }


def _file(title: str, groups: list[Json]) -> Json:
    used = {flag for group in groups for test in group["tests"] for flag in test["flags"]}
    flags = {flag: meaning for flag, meaning in FLAGS.items() if flag in used}
    return vector_file(kind="conversation", title=title, flags=flags, groups=groups)


def _test(comment: str, script: Script, *flags: str) -> Json:
    return valid(comment, *flags, **script.test())


def _first_messages() -> Json:
    tests = [
        _test(
            "One message each way, with all secrets",
            Script.start("traced")
            .initiate("alice")
            .say("alice", b"hello bob")
            .say("bob", b"hello alice")
            .with_traces(),
            PQXDH,
            "Traced",
        ),
        _test(
            "No one-time prekey, last-resort KEM prekey",
            Script.start("last resort").initiate("alice", "last_resort").say("alice").say("bob").say("alice"),
            PQXDH,
            "NoOneTimePreKey",
            "LastResort",
        ),
        _test(
            "A one-time prekey with a last-resort KEM prekey",
            Script.start("mixed").initiate("alice", "last_resort_one_time").say("alice").say("bob"),
            PQXDH,
            "LastResort",
        ),
        _test(
            "Names that are not service ids",
            Script.start("unbound", names=("alice", "+14155550100")).initiate("alice").say("alice").say("bob"),
            PQXDH,
            "Unbound",
        ),
        _test(
            "A name that is the service id of a phone number",
            Script.start("pni", names=(ACI, "PNI:" + ACI)).initiate("alice").say("alice").say("bob").say("alice"),
            PQXDH,
        ),
        _test(
            "Prekey ids of zero", _with_zero_ids(Script.start("zero")).initiate("alice").say("alice").say("bob"), PQXDH
        ),
    ]
    script = Script.start("unanswered").initiate("alice")
    first, second, third = (script.encrypt("alice") for _ in range(3))
    script.decrypt("bob", third).decrypt("bob", first).say("bob").decrypt("bob", second).say("alice")
    tests.append(_test("Three first messages, the last one delivered first", script, PQXDH, "OutOfOrder"))
    script = Script.start("padding").initiate("alice")
    for size in (0, 1, 15, 16, 17, 31, 32, 160, 1024):
        script.say("alice", script.dice.bytes(size)).say("bob", script.dice.bytes(size))
    tests.append(_test("Texts of 0 to 1,024 bytes", script, PQXDH, "Padding"))
    return {"comment": "First messages and answers", "tests": tests}


ACI: Final = "9d0652a3-dcc3-4d11-975f-74d61598733f"


def _with_zero_ids(script: Script) -> Script:
    """Return the script with every prekey id of bob's 0; no signature covers an id."""
    for kind in ("signed_prekeys", "one_time_prekeys", "kem_prekeys"):
        del script.parties["bob"][kind][1:]
        script.parties["bob"][kind][0]["id"] = 0
    full = script.bundles["bob"]["full"]
    full |= {"signed_prekey_id": 0, "one_time_prekey_id": 0, "kem_prekey_id": 0}
    return Script(script.parties, script.bundles, script.dice)


def _order_and_loss() -> Json:
    script = Script.start("shuffled").initiate("alice").say("alice").say("bob")
    for _ in range(2):
        for sender, receiver in (("alice", "bob"), ("bob", "alice")):
            for message in script.dice.shuffled([script.encrypt(sender) for _ in range(12)]):
                script.decrypt(receiver, message)
    tests = [_test("Twelve messages in a row, shuffled, four times", script, PQXDH, "OutOfOrder")]

    script = Script.start("old chains").initiate("alice").say("alice").say("bob")
    late = []
    for _ in range(4):
        late.append(script.encrypt("alice"))
        script.say("alice").say("bob")
    script.say("alice")
    for message in late:
        script.decrypt("bob", message)
    script.say("bob").say("alice")
    tests.append(_test("Messages of the last four chains arrive late", script, PQXDH, "OldChain", "OutOfOrder"))

    script = Script.start("lossy").initiate("alice")
    chatter(script, messages=60, loss=30)
    tests.append(
        _test("Three in ten messages are lost, others overtake", script, PQXDH, "OutOfOrder", "Loss", "OldChain")
    )
    return {"comment": "Disorder and loss", "tests": tests}


def chatter(script: Script, *, messages: int, loss: int, bias: int = 50, reorder: bool = True) -> None:
    """Let both talk at random: *loss* percent vanish, *bias* percent are alice's, the rest may be overtaken."""
    dice = script.dice
    waiting: dict[str, list[int]] = {"alice": [], "bob": []}
    counter = count()
    while next(counter) < messages:
        sender = "alice" if dice.chance(bias) else "bob"
        if not script.can_speak(sender):
            sender = other_party(sender)
        receiver = other_party(sender)
        message = script.encrypt(sender)
        if not dice.chance(loss):
            waiting[receiver].append(message)
        for party, queue in waiting.items():
            while queue and dice.chance(60):
                script.decrypt(party, queue.pop(_position(dice, queue) if reorder else 0))
    for party, queue in waiting.items():
        for message in queue:
            script.decrypt(party, message)


def _position(dice: Dice, queue: list[int]) -> int:
    """Pick a place in the queue, mostly near its head."""
    return min(dice.below(4), dice.below(4), len(queue) - 1)


def _several_ratchets() -> Json:
    tests = []
    script = Script.start("crossing").initiate("alice").initiate("bob")
    from_alice, from_bob = script.encrypt("alice"), script.encrypt("bob")
    script.decrypt("alice", from_bob).decrypt("bob", from_alice)
    # Each now sends with the ratchet that the other started; what arrives next decides for one of them.
    script.say("alice").say("bob").say("alice").say("bob")
    tests.append(_test("Both start at once", script, PQXDH, "Crossing", "Archived"))

    script = Script.start("crossing, one lost").initiate("alice").initiate("bob")
    script.encrypt("alice")
    from_bob = script.encrypt("bob")
    script.decrypt("alice", from_bob).say("alice").say("bob")
    tests.append(_test("Both start at once, and one first message is lost", script, PQXDH, "Crossing", "Loss"))

    script = Script.start("crossing, late").initiate("alice").initiate("bob")
    late, from_bob = script.encrypt("alice"), script.encrypt("bob")
    script.decrypt("alice", from_bob).say("alice").say("bob").say("alice")
    script.decrypt("bob", late).say("bob").say("alice").say("bob")
    tests.append(_test("Both start at once, and one first message is very late", script, PQXDH, "Crossing", "Archived"))

    script = Script.start("renewed").initiate("alice").say("alice").say("bob")
    old, older = script.encrypt("bob"), script.encrypt("alice")
    script.initiate("alice", "last_resort").say("alice").decrypt("alice", old).decrypt("bob", older)
    script.say("alice").say("bob")
    tests.append(
        _test("A new session while messages of the old one are under way", script, PQXDH, "Archived", "LastResort")
    )

    script = Script.start("archived").initiate("alice").say("alice").say("bob")
    from_bob = script.encrypt("bob")
    script.archive("alice").decrypt("alice", from_bob).say("alice").say("bob")
    tests.append(_test("An archived ratchet comes back with the next message", script, PQXDH, "Archived"))

    script = Script.start("first message twice").initiate("alice")
    first, second = script.encrypt("alice"), script.encrypt("alice")
    script.decrypt("bob", first).initiate("bob").decrypt("bob", second).say("bob").say("alice")
    tests.append(_test("A second first message brings an archived ratchet back", script, PQXDH, "Archived"))
    return {"comment": "Several ratchets in one session", "tests": tests}


def _epochs() -> Json:
    script = Script.start("ping-pong").initiate("alice")
    for _ in range(96):
        script.say("alice").say("bob")
    tests = [_test("Strict turns", script, PQXDH, "Epochs")]
    script = Script.start("lossy epochs").initiate("alice", "last_resort")
    chatter(script, messages=330, loss=30)
    tests.append(
        _test("Three in ten messages are lost, others overtake", script, PQXDH, "Epochs", "Loss", "OutOfOrder")
    )
    script = Script.start("one-sided epochs").initiate("alice")
    chatter(script, messages=480, loss=10, bias=80)
    tests.append(_test("Four messages one way for one the other way", script, PQXDH, "Epochs", "Loss", "OutOfOrder"))
    return {"comment": "Long conversations", "tests": tests}


def _x3dh() -> Json:
    options = {"allow_x3dh": True}
    traced = (
        Script.start("x3dh", options=options).initiate("alice", "x3dh_one_time").say("alice").say("bob").with_traces()
    )
    tests = [
        _test("One message each way, with all secrets", traced, "X3dh", "Traced"),
        _test(
            "No one-time prekey",
            Script.start("x3dh short", options=options).initiate("alice", "x3dh").say("alice").say("bob"),
            "X3dh",
            "NoOneTimePreKey",
        ),
    ]
    script = Script.start("x3dh lossy", options=options).initiate("alice", "x3dh_one_time")
    chatter(script, messages=50, loss=30)
    tests.append(_test("Three in ten messages are lost, others overtake", script, "X3dh", "Loss", "OutOfOrder"))
    return {"comment": "Version 3", "tests": tests}


def _without_spqr() -> Json:
    options = {"allow_without_spqr": True}
    script = Script.start("without spqr", options=options).initiate("alice", without_spqr=True)
    chatter(script, messages=30, loss=20)
    return {
        "comment": "Version 4 without the post-quantum ratchet",
        "tests": [_test("Two in ten messages are lost, others overtake", script, "WithoutSpqr", "Loss", "OutOfOrder")],
    }


def _limits() -> Json:
    tests = []
    script = Script.start("far").initiate("alice").say("alice").say("bob")
    script.say("alice").skip("alice", 24_999).say("alice").say("bob")
    tests.append(_test("24,999 messages are lost in version 4", script, PQXDH, "Limit", "Loss"))

    script = Script.start("far x3dh", options={"allow_x3dh": True}).initiate("alice", "x3dh").say("alice").say("bob")
    script.skip("alice", 25_000).say("alice").say("bob")
    tests.append(_test("25,000 messages are lost in version 3", script, "X3dh", "Limit", "Loss"))

    script = Script.start("kept").initiate("alice").say("alice").say("bob")
    _, kept = script.encrypt("alice"), script.encrypt("alice")
    script.skip("alice", 1_999).say("alice").decrypt("bob", kept)
    tests.append(
        _test("Of 2,001 keys that one message skips, the second oldest is kept", script, PQXDH, "Limit", "OutOfOrder")
    )

    script = _self_session().skip("alice", 30_000).say("alice").say("bob")
    tests.append(_test("30,000 messages to another device of one's own are lost", script, PQXDH, "SelfSession", "Loss"))
    return {"comment": "Limits", "tests": tests}


def _self_session() -> Script:
    """Return a script in which bob is another device of alice's."""
    script = Script.start("self", names=(ACI, ACI), one_identity=True)
    return script.initiate("alice").say("alice").say("bob")
