"""Stored states put in the place of live objects, in the middle of what goes on."""

from __future__ import annotations

import ratchet
from vectors.ours.conversation import Conversation
from vectors.ours.group import Group
from vectors.reference.expectations import Json, place


def check_snapshots(test: Json) -> None:
    """Run the test once for each of its stored states, with that state loaded where it was taken. Raises Mismatch."""
    for number, snapshot in enumerate(test["snapshots"]):
        with place(f"snapshot {number} ({snapshot['party']}'s {snapshot['object']} after {snapshot['after']} steps)"):
            _run_with(test, snapshot)


def _run_with(test: Json, snapshot: Json) -> None:
    before, after = test["steps"][: snapshot["after"]], test["steps"][snapshot["after"] :]
    run: Conversation | Group
    if "parties" in test:
        run = Conversation.of(test["parties"])
        run.run(before)
        _load_into_conversation(run, snapshot)
    else:
        run = Group.of(test["distribution_id"], test["chains"])
        run.run(before)
        _load_into_group(run, snapshot)
    run.run(after)


def _load_into_conversation(conversation: Conversation, snapshot: Json) -> None:
    party = conversation.parties[snapshot["party"]]
    stored = bytes.fromhex(snapshot["bytes"])
    if snapshot["object"] == "account":
        party.prekeys = ratchet.Account.from_bytes(stored)
    else:
        party.session = ratchet.Session.from_bytes(stored)


def _load_into_group(group: Group, snapshot: Json) -> None:
    stored = bytes.fromhex(snapshot["bytes"])
    if snapshot["object"] == "own_sender_key":
        loaded = ratchet.OwnSenderKey.from_bytes(stored)
        group.chains = [loaded if chain.chain_id == loaded.chain_id else chain for chain in group.chains]
    else:
        group.members[snapshot["party"]] = ratchet.PeerSenderKey.from_bytes(stored)
