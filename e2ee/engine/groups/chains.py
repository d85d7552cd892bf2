"""Chains of other devices: taken when they come in a pairwise session, asked for when a message comes without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from e2ee.content import ContentKind
from e2ee.engine.receipts import KEY_DUE, due
from e2ee.errors import MalformedFrame
from e2ee.group_content import KeyRequest, decode_key_request, decode_sender_key, encode_body
from e2ee.ids import UserId
from e2ee.limits import GROUP_ID_SIZE
from ratchet import MalformedMessage, PeerSenderKey, UnsupportedVersion
from ratchet.messages import DistributionMessage
from store import ASKED_FOR

from .lane import group_lane
from .old_chains import KEPT_CONNECTED_S, chains_ended, older_ended
from .state import membership

if TYPE_CHECKING:
    from uuid import UUID

    from e2ee.content import Content
    from e2ee.engine.step import Step
    from e2ee.groups import Membership

__all__ = [
    "TakenKey",
    "arrived",
    "ask_again",
    "ask_for",
    "chains_awaited",
    "identity_of",
    "key_name",
    "log_name",
    "logs_awaited",
    "member_name",
    "names_of_group",
    "strangers",
    "take_key",
    "take_key_request",
]

REQUEST_INTERVAL_S: Final = 600.0  # seconds between two requests for one chain, while messages of it come
REQUESTS_PER_USER_MAX: Final = 20  # chains of one member asked for within it: one of each of its devices
REQUESTS_USERS_MAX: Final = 1_000  # members asked within it: a whole group, after a store was restored
ANSWER_INTERVAL_S: Final = 60.0  # seconds between two answers to one device
_CHAIN: Final = b"chain:"
_LOG: Final = b"log:"
_MEMBER: Final = b"member:"
_CHAIN_SIZE: Final = 20  # bytes of a distribution id and a chain id
DISTRIBUTIONS_PER_DEVICE_MAX: Final = 4  # distribution ids of one device in one group: one, and what it lost


def key_name(group_id: bytes, user_id: str, device_id: int, distribution_id: UUID, chain_id: int) -> bytes:
    """What a message that waits for a chain waits for."""
    return _of_device(group_id, device_id) + distribution_id.bytes + chain_id.to_bytes(4, "big") + user_id.encode()


def _of_device(group_id: bytes, device_id: int) -> bytes:
    return _CHAIN + group_id + device_id.to_bytes(1, "big")


def log_name(group_id: bytes) -> bytes:
    """What a message that is ahead of the log waits for."""
    return _LOG + group_id


def member_name(group_id: bytes, user_id: str) -> bytes:
    """What a message waits for whose sender is no member by our log, which may be behind."""
    return _MEMBER + group_id + user_id.encode()


def _left_name(group_id: bytes, user_id: str) -> bytes:
    """What a message waits for, while it is asked for itself, whose sender has no seat by the whole log."""
    return ASKED_FOR + group_id + user_id.encode()


def arrived(step: Step, group_id: bytes) -> list[bytes]:
    """What messages wait for that entries have settled.

    Senders who were no members when their messages came, and are now; chains of those who are none any more, and all
    chains of a group that is over: nobody answers for these.
    """
    group = membership(step, group_id)
    if group is None:
        return []
    chains = step.unit.pending.names(_CHAIN + group_id)
    over = [name for name in chains if group.deleted or not _may_ask(step, group, _chain_of(name).user_id)]
    members = [
        name
        for start in (_MEMBER, ASKED_FOR)
        for name in step.unit.pending.names(start + group_id)
        if _may_ask(step, group, _user_of(start, name))
    ]
    return over + members


def strangers(step: Step, group_id: bytes) -> list[tuple[bytes, bytes]]:
    """What messages wait for of senders whom we know, and who are no members by our log; and their `_left_name`.

    If the log is whole they have left, and answer for no chain any more; for a message they do.
    """
    group = membership(step, group_id)
    if group is None:
        return []
    waiting = [(name, _user_of(_MEMBER, name)) for name in step.unit.pending.names(_MEMBER + group_id)]
    return [
        (name, _left_name(group_id, user_id))
        for name, user_id in waiting
        if identity_of(step, user_id) is not None and not _may_ask(step, group, user_id)
    ]


def _user_of(start: bytes, name: bytes) -> str:
    """The sender that a `member_name` or a `_left_name` is of."""
    return name[len(start) + GROUP_ID_SIZE :].decode()


class _Named(NamedTuple):
    """What a `key_name` says."""

    group_id: bytes
    device_id: int
    user_id: str
    chain_id: int


def _chain_of(name: bytes) -> _Named:
    """Whose chain a `key_name` is of, and which."""
    rest = name[len(_CHAIN) :]
    group_id, rest = rest[:GROUP_ID_SIZE], rest[GROUP_ID_SIZE:]
    chain_id = int.from_bytes(rest[_CHAIN_SIZE - 3 : _CHAIN_SIZE + 1], "big")
    return _Named(group_id, rest[0], rest[_CHAIN_SIZE + 1 :].decode(), chain_id)


def _may_ask(step: Step, group: Membership, user_id: str) -> bool:
    """Whether a member's keys may be asked for: under the key of the seat, or to see the first of a user."""
    identity_key = identity_of(step, user_id)
    return UserId(user_id) in group.members if identity_key is None else group.is_member(user_id, identity_key)


def logs_awaited(step: Step) -> list[bytes]:
    """The groups of whose logs messages wait for more than there is here."""
    names = [name[len(start) :] for start in (_LOG, _MEMBER) for name in step.unit.pending.names(start)]
    return list(dict.fromkeys(name[:GROUP_ID_SIZE] for name in names))


def names_of_group(step: Step, group_id: bytes) -> list[bytes]:
    """Everything that messages of a group wait for."""
    return [name for start in (_CHAIN, _LOG, _MEMBER, ASKED_FOR) for name in step.unit.pending.names(start + group_id)]


def ask_for(step: Step, name: bytes, group_id: bytes, user_id: str, device_id: int, chain_id: int) -> bool:
    """Ask a device for its chain, and return True; False: it was asked lately, or too much was asked for.

    Nothing has proved yet that the chain is there, or the message its device's: who delivers can make up both.
    """
    asked, whose = step.memory.key_requests, (group_id, user_id)
    lately = {one: at for one, at in asked.get(whose, {}).items() if step.now < at + REQUEST_INTERVAL_S}
    if name in lately or len(lately) >= REQUESTS_PER_USER_MAX:
        return False
    if whose not in asked and len(asked) >= REQUESTS_USERS_MAX:
        for one in [one for one, times in asked.items() if step.now >= max(times.values()) + REQUEST_INTERVAL_S]:
            del asked[one]
        if len(asked) >= REQUESTS_USERS_MAX:
            return False
    asked[whose] = {**lately, name: step.now}
    step.memory.chains_wanted.soon(step.now + REQUEST_INTERVAL_S)
    step.queue(ContentKind.KEY_REQUEST, user_id, encode_body(KeyRequest(device_id, group_id, chain_id)))
    return True


def chains_awaited(step: Step) -> list[bytes]:
    """What messages wait for that begins as a chain's name does."""
    return step.unit.pending.names(_CHAIN)


def ask_again(step: Step, name: bytes) -> bool:
    """Ask for a chain that messages wait for, if its device's user is a member and can be written to."""
    chain = _chain_of(name)
    group = membership(step, chain.group_id)
    # In a lane that is held, requests would gather.
    if group is None or not _may_ask(step, group, chain.user_id) or step.memory.lane(chain.user_id).held is not None:
        return False
    return ask_for(step, name, chain.group_id, chain.user_id, chain.device_id, chain.chain_id)


@dataclass(frozen=True, slots=True)
class TakenKey:
    """A chain that was given, by what messages wait for."""

    opens: tuple[bytes, ...] = ()
    passed_over: tuple[bytes, ...] = ()  # other chains of its device, which it has erased: they do not come any more


def take_key(step: Step, content: Content) -> TakenKey:
    """Take a chain that a member has given us, if it is of use. Raises MalformedFrame."""
    body = decode_sender_key(content.body)
    sender, device = content.sender_user_id, content.sender_device_id
    try:
        message = DistributionMessage.parse(body.distribution)
    except (MalformedMessage, UnsupportedVersion) as cause:
        raise MalformedFrame("not a distribution message") from cause
    is_member = _group_of_member(step, body.group_id, sender) is not None
    if not is_member and not _has_left_lately(step, body.group_id, sender):
        return TakenKey()  # of a stranger to the group; a member whom we learn of later is asked for it then
    if step.unit.erased_chains.contains(sender, device, message.distribution_id, message.chain_id):
        return TakenKey()
    loaded = step.unit.sender_keys.load_peer(sender, device, message.distribution_id)
    if loaded is None:
        _make_room(step, body.group_id, sender, device)
        key = PeerSenderKey.from_distribution_message(body.distribution)
        loaded = step.unit.sender_keys.add_peer(sender, device, body.group_id, key)
    elif loaded.group_id != body.group_id:
        raise MalformedFrame("the distribution id is another group's")
    else:
        before = loaded.key.chain_ids
        loaded.key.add_distribution_message(body.distribution)
        for gone in set(before) - set(loaded.key.chain_ids):
            step.unit.erased_chains.add(sender, device, message.distribution_id, gone)
        loaded = step.unit.sender_keys.save_peer(loaded)
        if loaded.key.chain_ids[0] == message.chain_id:
            older_ended(step, loaded, message.chain_id)
    if is_member:
        due(step, sender, device, message.chain_id, KEY_DUE, conversation=group_lane(body.group_id).encode())
    else:
        chains_ended(step, loaded)
    name = key_name(body.group_id, sender, device, message.distribution_id, message.chain_id)
    step.memory.groups.passed_over.discard(name)
    start = _of_device(body.group_id, device)
    waited_for = [one for one in step.unit.pending.names(start) if one[len(start) + _CHAIN_SIZE :] == sender.encode()]
    opens = (name, member_name(body.group_id, sender), _left_name(body.group_id, sender))
    return TakenKey(opens, tuple(one for one in waited_for if one != name))


def _make_room(step: Step, group_id: bytes, user_id: str, device_id: int) -> None:
    """Let a device have few distribution ids in a group: it needs one, and another whenever it lost its store."""
    known = step.unit.sender_keys.distributions_of(group_id, user_id, device_id)
    for distribution_id in known[: max(0, len(known) + 1 - DISTRIBUTIONS_PER_DEVICE_MAX)]:
        step.unit.sender_keys.delete_peer(user_id, device_id, distribution_id)


def identity_of(step: Step, user_id: str) -> bytes | None:
    """The identity key that a user's sessions have, and so its chains; None: it has not shown any."""
    if user_id == step.user_id:
        return step.account.identity.public_key
    record = step.unit.identities.current(user_id)
    return None if record is None else record.identity_key


def _group_of_member(step: Step, group_id: bytes, user_id: str) -> Membership | None:
    """The group, if the user is a member now under the identity key that its sessions have."""
    group, identity_key = membership(step, group_id), identity_of(step, user_id)
    if group is None or identity_key is None or not group.is_member(user_id, identity_key):
        return None
    return group


def _has_left_lately(step: Step, group_id: bytes, user_id: str) -> bool:
    """Whether an entry took the user's seat, and what was sent before it may still come: the chain as the messages.

    What opens on it names an entry by which the user was a member, or is refused. When it was made nobody can say, so
    this lasts no longer than chains are kept that were there before.
    """
    left = step.memory.groups.left_lately.get((group_id, user_id))
    if left is None:
        return False
    identity_key, since = left
    return 0 <= step.now - since < KEPT_CONNECTED_S and identity_key == identity_of(step, user_id)


def take_key_request(step: Step, content: Content) -> None:
    """Let a member have the chain in use, whichever it asks for: the others are erased. Raises MalformedFrame.

    What the key does not open, because it was sent before that position or on an older chain, the asking device then
    asks for by itself: so it gets the messages, or learns that they are gone.
    """
    request = decode_key_request(content.body)
    if request.device_id != step.account.device_id:
        return
    sender = content.sender_user_id
    group = _group_of_member(step, request.group_id, sender)
    if group is None or group.deleted or not group.is_member(step.user_id, step.account.identity.public_key):
        return
    who = (request.group_id, sender, content.sender_device_id)
    answered = step.memory.key_answers.get(who)
    if answered is not None and step.now < answered + ANSWER_INTERVAL_S:
        return
    step.memory.key_answers[who] = step.now
    step.memory.lane_to(request.group_id).requested.add(sender)
    step.memory.active_groups[request.group_id] = None
