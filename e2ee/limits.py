"""Every limit of frames, client and relay, with its unit, its reason and its side.

*The wire's* limits hold at both ends: whoever speaks the protocol may rely on them. *Ours* may change
in any release; those of the relay are defaults of `RelayOptions`.
"""

from __future__ import annotations

from typing import Final

# The wire's.
FRAME_SIZE_MAX: Final = 1024 * 1024  # bytes of one frame: bounds what an unread connection can hold
LOGIN_SIZE_MAX: Final = 16 * 1024  # bytes of a frame before the login is accepted: a stranger gets no more memory
CONTENT_SIZE_MAX: Final = 256 * 1024  # bytes of an application's message; attachments are another mechanism
ENVELOPE_SIZE_MAX: Final = CONTENT_SIZE_MAX + 8 * 1024  # bytes of one ciphertext: content, padding, headers
ENVELOPES_PER_FRAME_MAX: Final = 64  # amortises the transaction, bounds the wait for one reply
DEVICES_PER_USER_MAX: Final = 20  # a message is encrypted for each
DEVICES_PER_REQUEST_MAX: Final = 100  # bundles in one answer: 340 kB
PREKEYS_PER_UPLOAD_MAX: Final = 100  # of each kind: 170 kB
CAPABILITIES_MAX: Final = 32  # names in a hello
CAPABILITY_SIZE_MAX: Final = 32  # bytes
TOKEN_SIZE_MAX: Final = 4 * 1024  # bytes of the application's own login token
TEXT_SIZE_MAX: Final = 1024  # bytes of an error's explanation
REQUEST_NUMBER_MAX: Final = 2**32 - 1  # numbers of requests on one connection
GROUP_ID_SIZE: Final = 32  # bytes: SHA-256 of the genesis entry
GROUP_NAME_SIZE_MAX: Final = 256  # bytes of UTF-8
GROUP_MEMBERS_MAX: Final = 1_000  # what one sender key is handed to, pairwise
GROUP_DEVICES_MAX: Final = 2_000  # devices of one group that an answer names: two a member
GROUP_LOG_MAX: Final = 100_000  # entries of one group's log: 50 MB that a newcomer verifies in a minute
GROUP_ENTRY_SIZE_MAX: Final = 2 * 1024  # bytes of one signed entry: two user ids, two keys, a name, a signature
GROUP_ENTRIES_PER_FRAME_MAX: Final = 256  # half a frame
GROUP_MESSAGE_SIZE_MAX: Final = ENVELOPE_SIZE_MAX - GROUP_ID_SIZE  # bytes of one sender-key message
CHANNEL_NAME_SIZE_MAX: Final = 256  # bytes of UTF-8
CHANNEL_DATA_SIZE_MAX: Final = 4 * 1024  # bytes published at once: what PostgreSQL passes on between workers
USERS_PER_FRAME_MAX: Final = 256  # notices of users: 34 kB
COUNTER_MAX: Final = 2**63 - 1  # submission, delivery and upload numbers

# Ours: the conversation.
CHALLENGE_AGE_MAX_S: Final = 10.0  # seconds to answer a challenge; an unauthenticated connection costs memory
HEARTBEAT_S: Final = 30.0  # seconds of silence after which the client asks for a sign of life
REPLY_AGE_MAX_S: Final = 30.0  # seconds to wait for a reply before the connection counts as dead
REQUESTS_OPEN_MAX: Final = 64  # unanswered requests of one connection: bounds both ends' memory
UNACKNOWLEDGED_DELIVERIES_MAX: Final = 256  # pushed and not yet acknowledged: the window of a slow reader
RECEIPT_RANGES_MAX: Final = 512  # in one control message: what a mailbox with gaps may need
READ_COPY_MESSAGES_MAX: Final = 200  # message ids in one copy of read marks: 3 kB
RETRY_ENVELOPES_MAX: Final = 200  # asked for at once (messaging section 9)
GAPS_TOLD_MAX: Final = 200  # runs of missing numbers in one event; no more are kept of one sender device
