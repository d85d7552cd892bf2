"""Every limit of the client's store, with its unit and its reason; all are ours and may change in any release.

Counts and ages are enforced in the transactions that add rows, by `store.retention`.
"""

from __future__ import annotations

from typing import Final

_DAY_S: Final = 24 * 3600
_MIB: Final = 1024 * 1024

# Values.
USER_ID_SIZE_MAX: Final = 128  # bytes of UTF-8 (messaging.md section 1)
DEVICE_ID_MAX: Final = 127  # ids are 1 to 127, as in the protocol
CONTENT_SIZE_MAX: Final = 256 * 1024 + 4096  # bytes of one sealed-in content: 256 KiB and its envelope inside
CIPHERTEXT_SIZE_MAX: Final = CONTENT_SIZE_MAX + 16 * 1024  # bytes of one envelope: content, padding, handshake
TEXT_SIZE_MAX: Final = 4096  # bytes of a reason or cause that is stored: enough for a redacted traceback

# Queues that refuse when they are full: what is in them must not be dropped.
OUTGOING_MAX: Final = 10_000  # messages that are not final; then `Full`, the application waits
OUTGOING_SIZE_MAX: Final = 256 * _MIB  # bytes of content in them
INBOX_MAX: Final = 10_000  # durable events not yet acknowledged; then the client stops taking mail
INBOX_SIZE_MAX: Final = 256 * _MIB  # bytes of content in them

# What is remembered, the oldest going first; by count and age.
SEEN_MAX: Final = 200_000  # ids, two a message: 100,000 messages; 15 MB of memory when there are as many
SEEN_AGE_S: Final = 30 * _DAY_S  # as long as the relay keeps mail, and ids after acknowledgement
PENDING_MAX: Final = 2_000  # messages that do not open yet
PENDING_SIZE_MAX: Final = 64 * _MIB  # bytes of ciphertext in them
PENDING_PER_DEVICE_MAX: Final = 200  # of one sender device: no more than one retry request names
PENDING_AGE_S: Final = 14 * _DAY_S  # the sender's send log forgets then
SEND_LOG_MAX: Final = 5_000  # messages kept for being sent again
SEND_LOG_SIZE_MAX: Final = 64 * _MIB  # bytes of content in them
SEND_LOG_AGE_S: Final = 14 * _DAY_S
SENT_ENVELOPES_MAX: Final = 100_000  # ids of envelopes: which message each carried
SENT_ENVELOPES_AGE_S: Final = 44 * _DAY_S  # an envelope waits 30 days at the relay, then 14 as pending
QUARANTINE_MAX: Final = 1_000  # envelopes on which our own code failed
QUARANTINE_AGE_S: Final = 90 * _DAY_S  # time to report the bug
RECEIPTS_MAX: Final = 100_000  # receipts due; more are due only to peers never reached
RETRY_ATTEMPTS_AGE_S: Final = SEND_LOG_AGE_S  # nothing to retry after that
ERASED_CHAINS_MAX: Final = 10_000  # ids of erased sender-key chains: a replay of one is a duplicate
ERASED_CHAINS_AGE_S: Final = 90 * _DAY_S
IDENTITIES_PER_USER_MAX: Final = (
    100  # identity keys in one user's history beside those verified; the oldest undecided go first
)
GAPS_MAX: Final = 200  # runs of missing numbers in one conversation of one sender device
SEAL_KEYS_MAX: Final = 65_536  # salts, one per opening that wrote; then everything is sealed anew

# Prekeys.
REPLACED_PREKEY_AGE_S: Final = 30 * _DAY_S  # replaced signed and last-resort keys still open first messages
USED_BASE_KEYS_MAX: Final = 10_000  # remembered per pair of long-lived keys; then that pair opens no new session
ONE_TIME_PREKEYS_MAX: Final = 10_000  # of each kind: bounds one upload

# Work.
SEALINGS_PER_SALT_MAX: Final = 2**30  # random 96-bit nonces collide with a chance of 2^-37 by then
SWEEP_INTERVAL_S: Final = 3600  # seconds between removals by age: a limit by age is exact to the hour
CHECKPOINT_INTERVAL_S: Final = 60  # seconds that an overwritten state may stay in SQLite's write-ahead log
SESSIONS_KEPT_SIZE_MAX: Final = (
    1 * _MIB
)  # bytes of records kept in memory unpacked: some 400, or 7 with 2,000 keys each
RECEIVED_KEPT_MAX: Final = 1_000  # conversations of one sender device kept in memory, about 1 kB each
UNSEALED_KEYS_CACHED_MAX: Final = 1_024  # derived keys kept in memory, about 1 kB each
