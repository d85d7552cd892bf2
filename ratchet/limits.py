"""Every limit of the protocol core, with its unit, its reason and its side.

*The protocol's* limits are libsignal's too, so a peer may rely on them; *ours* may change in
any release.
"""

from __future__ import annotations

from typing import Final

# The protocol's (libsignal has the same).
FORWARD_JUMP_MAX: Final = 25_000  # messages one chain may be ahead; bounds the work of one forged counter
SKIPPED_KEYS_MAX: Final = 2_000  # kept per receiving chain (and per SPQR epoch); the oldest go first
RECEIVING_CHAINS_MAX: Final = 5  # per ratchet, newest first: a later message on an older chain is gone
ARCHIVED_RATCHETS_MAX: Final = 40  # per session; the oldest go first
SENDER_KEY_STATES_MAX: Final = 5  # per sender and distribution id; the oldest go first
UNACKNOWLEDGED_AGE_MAX_S: Final = 30 * 24 * 3600  # an initiation nobody answered is not used for sending any longer
SAFETY_NUMBER_ITERATIONS_MIN: Final = 2
SAFETY_NUMBER_ITERATIONS_MAX: Final = 1_000_000  # hashes; bounds the time of one call
DEVICE_ID_MAX: Final = 127  # device ids are 1 to 127: one byte in the address binding
PREKEY_ID_MAX: Final = 0xFFFFFF  # 24 bits, as the official clients; ids wrap to 0 (a valid id)
REGISTRATION_ID_MAX: Final = 0x3FFF  # 14 bits, so that sealed sender v2 can carry it
CHUNK_INDEX_MAX: Final = 0xFFFF  # of one erasure-coded blob; an encoder wraps to 0 after it
COUNTER_MAX: Final = 0xFFFFFFFF  # counters and iterations are 32 bits on the wire; overflow is an error

# Ours.
FIELDS_MAX: Final = 64  # fields of one protobuf message, known or not; Signal's have 8: bounds work before any check
ARCHIVED_FORWARD_JUMP_MAX: Final = 2_000  # in a new chain of an archived ratchet: see below
SELF_FORWARD_JUMP_MAX: Final = 250_000  # in sessions with oneself, where libsignal has no limit: about a second of work
PLAINTEXT_SIZE_MAX: Final = 16 * 1024 * 1024  # bytes in one message: bounds memory, far above any real message
MESSAGE_SIZE_MAX: Final = PLAINTEXT_SIZE_MAX + 8 * 1024  # bytes of a received message, headers included
BUNDLE_SIZE_MAX: Final = 4 * 1024  # bytes of a packed bundle, which has at most 1,900
SENDER_KEY_SIZE_MAX: Final = 1024 * 1024  # bytes; 5 chains with 2,000 skipped keys each are 350 kB
SESSION_SIZE_MAX: Final = 64 * 1024 * 1024  # bytes; 41 ratchets with all skipped keys that fit are 25 MB
ACCOUNT_SIZE_MAX: Final = 64 * 1024 * 1024  # bytes; 10,000 one-time prekeys of both kinds are 3 MB
SIGNED_PREKEYS_MAX: Final = 1_000  # kept at once, current and replaced: one rotation in 43 minutes for 30 days
ONE_TIME_PREKEYS_MAX: Final = 10_000  # of each kind held by one account: bounds one upload and one snapshot
USED_BASE_KEYS_MAX: Final = 10_000  # remembered for one last-resort key; at the limit it opens no new session: rotate
USED_BASE_KEYS_TOTAL_MAX: Final = 100_000  # remembered by one account for all its last-resort keys: 4 MB
REPLACED_KEY_AGE_S: Final = 30 * 24 * 3600  # replaced signed and last-resort prekeys still open first messages
USER_ID_SIZE_MAX: Final = 1024  # bytes of an address name or of a stable id in a safety number

# What one forged message of a hundred bytes may cost whoever lets strangers deliver: at most 25,000 steps of both
# chains of the active ratchet (0.1 s; 1 s in a session with oneself), and 2,000 of each of 40 archived ones (0.3 s).
# Without the lower limit for the archived, which libsignal does not have, it would be 5 s.
