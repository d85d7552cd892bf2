"""Every limit of the relay's store, with its unit and its reason; all are ours and may change in any release.

Limits by count are enforced in the transactions that add rows, limits by age by `RelayUnit.sweep`.
"""

from __future__ import annotations

from typing import Final

_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S
_MIB: Final = 1024 * 1024

# Values.
USER_ID_SIZE_MAX: Final = 128  # bytes of UTF-8 (messaging.md section 1)
DEVICE_ID_MAX: Final = 127  # ids are 1 to 127, as in the protocol; so a user has at most 127 devices
REGISTRATION_ID_MAX: Final = 2**14 - 1  # 14 bits, as in the protocol
KEY_ID_MAX: Final = 2**32 - 1  # prekey ids; libsignal draws 24 bits
NUMBER_MAX: Final = 2**63 - 1  # what both databases hold in a column
KIND_MAX: Final = 255  # kinds and roles are the caller's numbers, one byte
IDENTITY_KEY_SIZE: Final = 33  # bytes
PREKEY_SIZE_MAX: Final = 2_048  # bytes of one public key: 33 of an EC key, 1,569 of a KEM key
SIGNATURE_SIZE_MAX: Final = 128  # bytes: 64 of XEdDSA
ID_SIZE: Final = 16  # bytes of an envelope id and of a request id
GROUP_ID_SIZE: Final = 32  # bytes, also of an entry's hash: SHA-256
GROUP_NAME_SIZE_MAX: Final = 256  # bytes of UTF-8
ENVELOPE_SIZE_MAX: Final = 320 * 1024  # bytes: 256 KiB of content, padding, handshake, header
GROUP_ENTRY_SIZE_MAX: Final = 16 * 1024  # bytes of one signed entry: two ids, two keys, a name, a signature
DIGEST_SIZE: Final = 16  # bytes of SHA-256: telling contents apart, against nobody who could choose both

# Mailboxes, one for each device.
MAILBOX_COUNT_MAX: Final = 10_000  # envelopes waiting; then outcome FULL
MAILBOX_SIZE_MAX: Final = 64 * _MIB  # bytes of content waiting
SHARE_DIVISOR: Final = 4  # one sending user fills at most this part: nobody shuts out everybody else
MAIL_AGE_S: Final = 30 * _DAY_S  # mail that nobody fetched
ENVELOPE_IDS_AGE_S: Final = 30 * _DAY_S  # ids, also after acknowledgement: how late a repeated submission may come
DELIVERY_COUNT_MAX: Final = 64  # envelopes in one answer: what a frame carries
DELIVERY_SIZE_MAX: Final = 1 * _MIB  # bytes of content in one answer; one envelope is always let through

# Devices.
# Of one device, those that are remembered. Whoever shows lower counters at the login is found by them; a clone that
# does not has used, unseen, as many numbers as the device since: more than four frames of them stay here.
SUBMISSIONS_REMEMBERED: Final = 256
DEVICE_IDLE_S: Final = 60 * _DAY_S  # a device not seen for so long is removed with its mail
ADDRESS_AGE_S: Final = 2 * MAIL_AGE_S  # the address of a removed device is kept until no mail from it can be left
REMOVED_LOOKED_AT_MAX: Final = (
    10_000  # removals that a login is compared with: who makes and deletes accounts slows none
)

# Prekeys.
ONE_TIME_PREKEYS_MAX: Final = 200  # of each kind and device: an upload of 100 and the one before, its fate unknown
HANDED_PREKEYS_AGE_S: Final = 30 * _DAY_S  # ids of keys handed out: how late an upload may be repeated
BUNDLES_MAX: Final = 100  # devices in one request
BUNDLE_ANSWER_AGE_S: Final = 600  # seconds: how late a request may be repeated
BUNDLE_ANSWERS_MAX: Final = 256  # requests remembered for each asking device; the oldest go first
ASKER_WINDOW_S: Final = 60  # over which one-time keys are counted for each asking user
TARGET_WINDOW_S: Final = _HOUR_S  # over which one-time keys taken by strangers are counted for each device

# Groups.
INVITED: Final = 128  # roles from here on are invitations: no seat, no messages, and only the entries about them
GROUP_MEMBERS_MAX: Final = 1_000  # seats
GROUP_ENTRIES_MAX: Final = 100_000  # entries of one log
GROUP_ENTRIES_READ_MAX: Final = 256  # entries in one answer

# Work.
SWEEP_ROWS_MAX: Final = 1_000  # rows of each table removed in one unit: bounds how long others wait for the lock
ANNOUNCEMENT_SIZE_MAX: Final = 5 * 1024  # bytes: 7 kB in the text that PostgreSQL passes on
CONNECTIONS: Final = 4  # of one worker to PostgreSQL, one for each unit open at a time; SQLite has one
STALLED_UNIT_MS: Final = 10_000  # after which PostgreSQL rolls back a worker that has stopped in a unit: others wait
