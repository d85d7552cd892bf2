"""Every domain-separation label, each with exactly one use.

The protocol's labels are libsignal's to the byte, odd spacing included.
"""

from __future__ import annotations

from typing import Final

# Handshake (PQXDH section 3.3; X3DH section 3.3), HKDF info.
HANDSHAKE_X3DH: Final = b"WhisperText"
HANDSHAKE_PQXDH: Final = b"WhisperText_X25519_SHA-256_CRYSTALS-KYBER-1024"

# Double ratchet, HKDF info.
ROOT_STEP: Final = b"WhisperRatchet"
MESSAGE_KEYS: Final = b"WhisperMessageKeys"

# Both symmetric chains, the single byte under HMAC.
MESSAGE_SEED: Final = b"\x01"
NEXT_CHAIN_KEY: Final = b"\x02"

# Sender keys, HKDF info.
SENDER_MESSAGE_KEYS: Final = b"WhisperGroup"

# SPQR, HKDF info; "Start" really follows two spaces.
SPQR_CHAIN_START: Final = b"Signal PQ Ratchet V1 Chain  Start"
SPQR_CHAIN_NEXT: Final = b"Signal PQ Ratchet V1 Chain Next"
SPQR_ADD_EPOCH: Final = b"Signal PQ Ratchet V1 Chain Add Epoch"

# SPQR's braid: HKDF info for the first two, HMAC prefix for the last two; an epoch (8 bytes, big-endian) follows each.
BRAID_AUTHENTICATOR: Final = b"Signal_PQCKA_V1_MLKEM768:Authenticator Update"
BRAID_EPOCH_SECRET: Final = b"Signal_PQCKA_V1_MLKEM768:SCKA Key"
BRAID_HEADER: Final = b"Signal_PQCKA_V1_MLKEM768:ekheader"
BRAID_CIPHERTEXT: Final = b"Signal_PQCKA_V1_MLKEM768:ciphertext"

# Signatures by the identity key over anything but a prekey (`Account.sign`). A serialised public
# key starts with 0x05 or 0x08, so nothing signed under this prefix can pass for a signed prekey.
SIGNED_DATA: Final = b"e2ee\x00"

# The labels that this distribution itself passes to `Account.sign`.
SIGN_LOGIN: Final = "login v1"
SIGN_GROUP_ENTRY: Final = "e2ee group entry v1"

# XEdDSA: hash prefix of the nonce, 2^256 - 2 in little-endian (XEdDSA section 2.5, hash_1).
XEDDSA_NONCE: Final = b"\xfe" + b"\xff" * 31
