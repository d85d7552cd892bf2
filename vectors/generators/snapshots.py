"""Stored states in the middle of conversations. Once a release has written a form, its file here is not made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vectors.generators.conversations import chatter
from vectors.generators.form import valid, vector_file
from vectors.generators.script import Script
from vectors.generators.sender_keys import Play

if TYPE_CHECKING:
    from vectors.files import Json

FLAGS: Final = {
    "Account": "One device's own keys.",
    "Session": "Everything shared with one peer device.",
    "SenderKey": "A chain of a group, at its sender or at a member.",
    "Pending": "The session has not been answered.",
    "Skipped": "Keys of messages that have not arrived are kept.",
    "Archived": "The session has earlier ratchets.",
    "X3dh": "Version 3.",
    "Epochs": "The state is in the middle of a post-quantum key agreement.",
}
FORM: Final = 2  # of the stored states: the highest byte that one says of itself


def files() -> dict[str, Json]:
    """Return the files by name."""
    title = f"Stored states, form {FORM}"
    groups = [
        {"comment": "Accounts and sessions", "tests": [_pending(), _skipped(), _archived(), _x3dh(), _epochs()]},
        {"comment": "Sender keys", "tests": [_sender_key()]},
    ]
    return {f"snapshots/form_{FORM}.json": vector_file(kind="snapshot", title=title, flags=FLAGS, groups=groups)}


def _test(comment: str, script: Script, snapshots: list[Json], *flags: str) -> Json:
    return valid(comment, *flags, **script.test(), snapshots=snapshots)


def _pending() -> Json:
    script = Script.start("stored, pending").initiate("alice")
    snapshots = [script.snapshot("bob", "account"), script.snapshot("alice", "session")]
    first = script.encrypt("alice")
    snapshots.append(script.snapshot("alice", "session"))
    second = script.encrypt("alice")
    script.decrypt("bob", second)
    snapshots += [script.snapshot("bob", "session"), script.snapshot("bob", "account")]
    script.decrypt("bob", first).say("bob")
    snapshots.append(script.snapshot("alice", "session"))
    script.say("alice").initiate("bob").say("bob")
    return _test("First messages", script, snapshots, "Account", "Session", "Pending")


def _skipped() -> Json:
    script = Script.start("stored, skipped").initiate("alice").say("alice").say("bob")
    late = []
    for _ in range(4):
        late += [script.encrypt("alice") for _ in range(3)]
        script.say("alice").say("bob")
    snapshots = [script.snapshot("bob", "session"), script.snapshot("alice", "session")]
    for message in late[::2]:
        script.decrypt("bob", message)
    snapshots.append(script.snapshot("bob", "session"))
    for message in late[1::2]:
        script.decrypt("bob", message)
    return _test("Late messages of four chains", script, snapshots, "Session", "Skipped")


def _archived() -> Json:
    script = Script.start("stored, archived").initiate("alice").initiate("bob")
    from_alice, from_bob = script.encrypt("alice"), script.encrypt("bob")
    old = script.encrypt("bob")
    script.decrypt("alice", from_bob).decrypt("bob", from_alice).archive("bob")
    snapshots = [script.snapshot("alice", "session"), script.snapshot("bob", "session")]
    script.say("alice").decrypt("alice", old).say("bob").say("alice")
    return _test("Two ratchets in each session", script, snapshots, "Session", "Archived", "Pending")


def _x3dh() -> Json:
    script = Script.start("stored, x3dh", options={"allow_x3dh": True}).initiate("alice", "x3dh_one_time")
    script.say("alice").say("bob")
    late = script.encrypt("alice")
    script.say("alice")
    snapshots = [script.snapshot("alice", "session"), script.snapshot("bob", "session")]
    script.decrypt("bob", late).say("bob").say("alice")
    return _test("A session of version 3", script, snapshots, "Session", "Skipped", "X3dh")


def _epochs() -> Json:
    script = Script.start("stored, epochs").initiate("alice", "last_resort")
    snapshots = []
    # Seven stops of fourteen messages pass through the states of one and a half epochs.
    for _ in range(7):
        chatter(script, messages=14, loss=10)
        snapshots += [script.snapshot("alice", "session"), script.snapshot("bob", "session")]
    chatter(script, messages=14, loss=0)
    return _test("A post-quantum key agreement", script, snapshots, "Session", "Epochs", "Skipped")


def _sender_key() -> Json:
    play = Play("stored")
    snapshots = []

    def store(party: str, what: str) -> None:
        live = play.group.chains[0] if what == "own_sender_key" else play.group.members[party]
        snapshots.append({"after": len(play.steps), "party": party, "object": what, "bytes": live.to_bytes().hex()})

    play.chain()
    store("sender", "own_sender_key")
    play.distribute("bob")
    late = play.encrypt()
    play.decrypt("bob", play.encrypt())
    store("bob", "peer_sender_key")
    store("sender", "own_sender_key")
    play.chain()
    play.distribute("bob", chain=1)
    store("bob", "peer_sender_key")
    play.decrypt("bob", late, play.encrypt(chain=1), play.encrypt(chain=0))
    content = {
        "distribution_id": str(play.distribution_id),
        "chains": play.chains,
        "steps": play.steps,
        "snapshots": snapshots,
    }
    return valid("A sender and a member", "SenderKey", "Skipped", **content)
