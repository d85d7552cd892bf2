"""Why a message is refused: the one fault, and the class of error that a receiver reports for it."""

from __future__ import annotations

from enum import Enum, unique


@unique
class Fault(Enum):
    """One thing that is wrong with an input: (class of error, what is wrong).

    A vector names its fault as :attr:`label`, for example `not-authentic-mac`; several faults share a class of error,
    and a verifier that meets another fault than the named one has found a bad vector.
    """

    TRUNCATED = "MalformedMessage", "the message ends before its shortest possible form"
    WIRE = "MalformedMessage", "the protobuf or varint is not well-formed"
    FIELD_MISSING = "MalformedMessage", "a required field is absent"
    FIELD_SIZE = "MalformedMessage", "a field of fixed size has another size"
    KEY_TYPE = "MalformedMessage", "the first byte of a serialised key or KEM ciphertext is not the type in use"
    BASE_KEY_NOT_CANONICAL = "NotAuthentic", "the base key has its high bit set, or is 2^255-19 or more"
    BASE_KEY_TORSION = "NotAuthentic", "the base key is not in the prime-order subgroup"
    LOW_ORDER = "NotAuthentic", "a Diffie-Hellman result is all zeros"
    PQ_TYPE = "MalformedMessage", "the type of the post-quantum message is above 6"
    PQ_CHUNK = "MalformedMessage", "a chunk has fewer than 32 bytes, or an index above 65,535"
    PQ_EPOCH_ZERO = "MalformedMessage", "the epoch of the post-quantum message is 0"
    PQ_INDEX_ZERO = "MalformedMessage", "the index of the post-quantum message is 0"

    VERSION_OLD = "UnsupportedVersion", "the version is below 3"
    VERSION_NEW = "UnsupportedVersion", "the version is above 4 (above 3 for sender keys)"
    VERSION_OTHER = "MalformedMessage", "the message inside a first message has another version"
    X3DH_REFUSED = "UnsupportedVersion", "a version 3 first message, and version 3 was not asked for"
    PQ_VERSION = "UnsupportedVersion", "a post-quantum message of another version than 1, or none at all"

    SIGNATURE = "NotAuthentic", "the signature does not verify"
    MAC = "NotAuthentic", "the tag of the message does not verify"
    ADDRESSES = "NotAuthentic", "the addresses inside the message are not those of sender and receiver"
    PADDING = "NotAuthentic", "the ciphertext is empty, not whole blocks, or wrongly padded"
    BASE_KEY_REUSED = "MessageKeyGone", "a last-resort KEM key was used before with the same base key"
    PQ_EPOCH_AHEAD = "MalformedMessage", "the post-quantum epoch lies ahead of what this side can have reached"
    PQ_HEADER_MAC = "NotAuthentic", "the tag of the encapsulation key's header does not verify"
    PQ_KEY_HASH = "NotAuthentic", "the encapsulation key is not the one that its header announced"
    PQ_KEY_COEFFICIENT = "MalformedMessage", "a coefficient of the encapsulation key is 3,329 or more"
    PQ_CIPHERTEXT_MAC = "NotAuthentic", "the tag of the KEM ciphertext does not verify"

    KEY_GONE = "MessageKeyGone", "the key of this message was used before or is no longer kept"
    PQ_KEY_GONE = "MessageKeyGone", "the post-quantum key of this message was used before or is no longer kept"
    TOO_FAR_AHEAD = "TooFarAhead", "more messages are missing in the chain than may be skipped"
    PQ_TOO_FAR_AHEAD = "TooFarAhead", "more keys of the post-quantum chain are missing than may be skipped"

    PRE_KEY_UNKNOWN = "UnknownPreKey", "the first message names a prekey that the receiver does not have"
    SENDER_KEY_UNKNOWN = "UnknownSenderKey", "the group message names a chain that was not distributed"
    IDENTITY_CHANGED = "IdentityChanged", "the session's peer shows another identity key than before"
    NO_SESSION = (
        "NoActiveSession",
        "no ratchet to send with, or none of the message's version; or never answered for 30 days",
    )
    SAFETY_NUMBER_VERSION = "SafetyNumberMismatch", "the scanned code has another version"
    SAFETY_NUMBER_OTHER = "SafetyNumberMismatch", "the scanned code is about other identities"

    @property
    def error(self) -> str:
        """The class of error, by its name in `ratchet`."""
        return self.value[0]

    @property
    def meaning(self) -> str:
        """What is wrong, in words."""
        return self.value[1]

    @property
    def label(self) -> str:
        """The fault's name in the vector files."""
        return self.name.lower().replace("_", "-")


class Refused(Exception):
    """The input has a fault; whatever received it is as before."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault.label}: {fault.meaning}" + (f" ({detail})" if detail else ""))
        self.fault = fault
