"""From a handshake to a ratchet: what the initiator and the responder of a session start with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import handshake
from .double_ratchet import DoubleRatchet
from .errors import UnsupportedVersion
from .keys import Entropy, KeyPair
from .limits import FORWARD_JUMP_MAX, SELF_FORWARD_JUMP_MAX
from .spqr.ratchet import PostQuantumRatchet
from .triple_ratchet import Ratchet

if TYPE_CHECKING:
    from .address import Address
    from .handshake import Encapsulate
    from .messages import PreKeyMessage
    from .prekeys import PreKeyBundle, PreKeySource, PreKeyUse

__all__ = ["accept_ratchet", "forward_max", "initiate_ratchet"]


def forward_max(local_identity: bytes, remote_identity: bytes, local: Address | None, remote: Address | None) -> int:
    """How many messages may be missing: more between devices of one user (the same identity and service id)."""
    local_id = None if local is None else local.service_id
    remote_id = None if remote is None else remote.service_id
    own = local_id is not None and local_id == remote_id and local_identity == remote_identity
    return SELF_FORWARD_JUMP_MAX if own else FORWARD_JUMP_MAX


def initiate_ratchet(
    account: PreKeySource,
    bundle: PreKeyBundle,
    *,
    forward_max: int,
    allow_x3dh: bool,
    without_spqr: bool,
    created_at: int,
    entropy: Entropy,
    encapsulate: Encapsulate,
) -> Ratchet:
    """Do the handshake with *bundle* and start the initiator's ratchet. Raises as `Session.initiate`."""
    started = handshake.initiate(
        account.identity,
        account.registration_id,
        bundle,
        allow_x3dh=allow_x3dh,
        entropy=entropy,
        encapsulate=encapsulate,
    )
    double = DoubleRatchet.initiate(
        started.secrets.root_key,
        started.secrets.chain_key,
        bundle.signed_prekey,
        KeyPair.generate(entropy),
        forward_max=forward_max,
    )
    key = None if without_spqr else started.secrets.post_quantum_key
    return Ratchet(
        version=started.version,
        base_key=started.pending.base_key,
        remote_registration_id=bundle.registration_id,
        double=double,
        post_quantum=None if key is None else PostQuantumRatchet.start(key, initiator=True, forward_max=forward_max),
        pending=started.pending,
        created_at=created_at,
        one_time_prekey_used=bundle.one_time_prekey is not None,
    )


def accept_ratchet(
    account: PreKeySource,
    message: PreKeyMessage,
    *,
    forward_max: int,
    allow_x3dh: bool,
    allow_without_spqr: bool,
    created_at: int,
) -> tuple[Ratchet, PreKeyUse]:
    """Do the handshake of a first message and start the responder's ratchet; say what it uses up.

    Nothing is consumed and nothing is verified yet: the message inside does both. Raises as `Session.accept`.
    """
    accepted = handshake.accept(account, message, allow_x3dh=allow_x3dh)
    key = accepted.secrets.post_quantum_key
    if key is not None and not message.message.pq_ratchet:
        if not allow_without_spqr:
            raise UnsupportedVersion("the peer has no post-quantum ratchet (SPQR), and that was not allowed")
        key = None
    double = DoubleRatchet.accept(
        accepted.secrets.root_key, accepted.secrets.chain_key, accepted.signed_prekey, forward_max=forward_max
    )
    ratchet = Ratchet(
        version=message.version,
        base_key=message.base_key,
        remote_registration_id=message.registration_id,
        double=double,
        post_quantum=None if key is None else PostQuantumRatchet.start(key, initiator=False, forward_max=forward_max),
        pending=None,
        created_at=created_at,
        one_time_prekey_used=message.one_time_prekey_id is not None,
    )
    return ratchet, accepted.use
