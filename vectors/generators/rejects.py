"""Input that a session must refuse, one fault in each, and odd input that it must read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vectors.generators import reject_first, reject_signal
from vectors.generators.form import invalid, vector_file
from vectors.generators.script import Script
from vectors.reference.faults import Fault

if TYPE_CHECKING:
    from vectors.files import Json

FLAGS: Final = {
    "Wire": "The bytes do not have the form of a message.",
    "Version": "A version that is not spoken, or not in this place.",
    "Authentication": "A tag, or what it covers, is wrong. Where the fault lies in what is covered, the tag is right.",
    "InsideTag": "Only somebody with the session's keys can make it: the tag is right.",
    "Handshake": "The outer part of a first message does not lead to the sender's secrets.",
    "PreKey": "A prekey is unknown, or was used before.",
    "Replay": "The message's key was used, or is no longer kept.",
    "Limit": "The first message that a limit no longer allows; the files of conversations have the last that it does.",
    "NoSession": "There is nothing to encrypt or decrypt with.",
    "Tolerated": "Not what an honest sender writes, and still read.",
}
DAY: Final = 24 * 60 * 60  # seconds


def files() -> dict[str, Json]:
    """Return the files by name."""
    groups = [*reject_signal.groups(), *reject_first.groups(), *_states()]
    return {
        "rejects.json": vector_file(
            kind="rejects", title="What a session must refuse, and odd things it must read", flags=FLAGS, groups=groups
        )
    }


def _group(comment: str, script: Script, tests: list[Json], then: list[Json]) -> Json:
    return {"comment": comment, "parties": script.parties, "steps": script.steps, "then": then, "tests": tests}


def _refusal(comment: str, fault: Fault, flag: str, step: Json) -> Json:
    stated = {**step, "error": fault.error, "fault": fault.label}
    return invalid(comment, fault.error, fault.label, flag, steps=[stated])


def _delivery(by: str, message: int) -> Json:
    return {"by": by, "do": "decrypt", "message": message}


def _states() -> list[Json]:
    """Return faults that lie in what the receiver still has, or in what the sender may still do."""
    return [_other_identity(), _replays(), _old_chain(), _dropped_key(), *_too_far(), *_prekeys(), *_without_session()]


def _other_identity() -> Json:
    script = Script.start("another identity").initiate("alice").say("alice").say("bob")
    following = script.encrypt("alice")
    # Somebody else under alice's name: genuine for anybody who does not know alice yet.
    other = Script.start("another identity, the other")
    other.bundles["bob"] = script.bundles["bob"]
    other.initiate("alice", "last_resort")
    body = other.encrypted_body(other.encrypt("alice"))
    bundle = other.bundles["alice"]["full"]
    first = {"by": "bob", "do": "decrypt", "kind": 3, "body": body.hex()}
    tests = [
        _refusal("A first message under another identity", Fault.IDENTITY_CHANGED, "Handshake", first),
        _refusal(
            "A bundle of another identity",
            Fault.IDENTITY_CHANGED,
            "Handshake",
            {"by": "bob", "do": "initiate", "bundle": bundle},
        ),
    ]
    return _group("A peer whose identity is known", script, tests, [script.delivery("bob", following)])


def _replays() -> Json:
    script = Script.start("replay").initiate("alice").say("alice").say("bob").say("alice")
    late = script.encrypt("alice")
    script.say("alice").decrypt("bob", late)
    following = script.encrypt("alice")
    tests = [
        _refusal("The newest message again", Fault.KEY_GONE, "Replay", _delivery("bob", late + 1)),
        _refusal("A late message again", Fault.KEY_GONE, "Replay", _delivery("bob", late)),
        _refusal("The first message again", Fault.KEY_GONE, "Replay", _delivery("bob", 0)),
        _refusal("A message of an earlier chain again", Fault.KEY_GONE, "Replay", _delivery("alice", 1)),
    ]
    return _group("Messages that were read before", script, tests, [script.delivery("bob", following)])


def _old_chain() -> Json:
    script = Script.start("sixth chain").initiate("alice").say("alice").say("bob")
    late = script.encrypt("alice")
    for _ in range(6):
        script.say("alice").say("bob")
    following = script.encrypt("alice")
    refusal = _refusal("Five newer chains are known", Fault.MAC, "Limit", _delivery("bob", late))
    return _group(
        "A late message whose chain is no longer kept", script, [refusal], [script.delivery("bob", following)]
    )


def _dropped_key() -> Json:
    script = Script.start("dropped").initiate("alice").say("alice").say("bob")
    dropped, kept = script.encrypt("alice"), script.encrypt("alice")
    script.skip("alice", 1_999).say("alice")
    refusal = _refusal("2,001 keys were skipped at once", Fault.KEY_GONE, "Limit", _delivery("bob", dropped))
    return _group("A late message whose key was dropped", script, [refusal], [script.delivery("bob", kept)])


def _too_far() -> list[Json]:
    groups = []
    for version, fault, variant, options, lost in (
        (4, Fault.PQ_TOO_FAR_AHEAD, "full", {}, 25_000),
        (3, Fault.TOO_FAR_AHEAD, "x3dh", {"allow_x3dh": True}, 25_001),
    ):
        script = Script.start(f"too far {version}", options=options).initiate("alice", variant)
        script.say("alice").say("bob").say("alice")
        following = script.encrypt("alice")
        script.skip("alice", lost - 1)
        message = script.encrypt("alice")
        refusal = _refusal(f"{lost:,} messages are missing", fault, "Limit", _delivery("bob", message))
        groups.append(
            _group(
                f"A gap that is too long for version {version}", script, [refusal], [script.delivery("bob", following)]
            )
        )
    return groups


def _prekeys() -> list[Json]:
    """Return what a device refuses that has accepted a first message and lost the session."""
    groups = []
    for variant, fault, comment in (
        ("full", Fault.PRE_KEY_UNKNOWN, "The one-time prekey is used up"),
        ("last_resort", Fault.BASE_KEY_REUSED, "The last-resort KEM prekey was used with this base key"),
    ):
        script = Script.start(f"again {variant}").initiate("alice", variant)
        first, second = script.encrypt("alice"), script.encrypt("alice")
        script.decrypt("bob", first).forget("bob")
        tests = [
            _refusal(f"{comment}: the same message", fault, "PreKey", _delivery("bob", first)),
            _refusal(f"{comment}: another message", fault, "PreKey", _delivery("bob", second)),
        ]
        groups.append(_group("A first message to a device that lost the session", script, tests, []))
    return groups


def _without_session() -> list[Json]:
    script = Script.start("no session").initiate("alice").say("alice")
    answer = script.encrypt("bob")
    script.forget("alice")
    lost = _group(
        "A device that lost the session",
        script,
        [_refusal("A message within a session", Fault.NO_SESSION, "NoSession", _delivery("alice", answer))],
        [],
    )
    encrypt = {"by": "alice", "do": "encrypt", "plaintext": "00"}
    script = Script.start("archived, sending").initiate("alice").say("alice").say("bob").archive("alice")
    following = script.encrypt("bob")
    archived = _group(
        "An archived session",
        script,
        [_refusal("Encrypting without an active ratchet", Fault.NO_SESSION, "NoSession", encrypt)],
        [script.delivery("alice", following)],
    )
    script = Script.start("unanswered for long").initiate("alice").say("alice")
    script.encrypt("alice", now=30 * DAY)
    answer = script.encrypt("bob")
    late = {**encrypt, "now": 30 * DAY + 1}
    unanswered = _group(
        "A session that was never answered",
        script,
        [_refusal("Encrypting after 30 days", Fault.NO_SESSION, "Limit", late)],
        [script.delivery("alice", answer)],
    )
    script = Script.start("x3dh unasked", options={"allow_x3dh": True}).initiate("alice", "x3dh")
    first = script.encrypt("alice")
    del script.parties["bob"]["allow_x3dh"]
    refused = _group(
        "Version 3 where it was not asked for",
        script,
        [
            _refusal("A first message", Fault.X3DH_REFUSED, "Version", _delivery("bob", first)),
            _refusal(
                "A bundle without a KEM prekey",
                Fault.X3DH_REFUSED,
                "Version",
                {"by": "bob", "do": "initiate", "bundle": script.bundles["alice"]["x3dh"]},
            ),
        ],
        [],
    )
    return [lost, archived, unanswered, refused]
