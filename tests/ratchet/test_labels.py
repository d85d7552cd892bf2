"""The labels: every one has one use, and none can be taken for another."""

from __future__ import annotations

import ast
from collections import Counter
from itertools import permutations
from pathlib import Path

import ratchet
from ratchet import labels

PACKAGE = Path(ratchet.__file__).parent
NAMES = [name for name in vars(labels) if name.isupper()]


def test_no_two_labels_are_the_same() -> None:
    values = [getattr(labels, name) for name in NAMES]
    assert len(set(values)) == len(values) >= 16


def test_no_hkdf_label_is_the_beginning_of_another_but_the_two_handshakes() -> None:
    """Those differ in what follows as well: the version without KEM derives 64 bytes, the other 96."""
    infos = [
        name for name in NAMES if name.startswith(("HANDSHAKE", "ROOT", "MESSAGE_KEYS", "SENDER", "SPQR_", "BRAID_"))
    ]
    prefixes = {
        (one, other) for one, other in permutations(infos, 2) if getattr(labels, other).startswith(getattr(labels, one))
    }
    assert prefixes == {("HANDSHAKE_X3DH", "HANDSHAKE_PQXDH")}


def test_every_label_is_used_in_one_place_only() -> None:
    uses: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        if path.name != "labels.py":
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in NAMES:
                    uses[node.id] += 1
    # Those two are for the packages above.
    assert {name for name in NAMES if uses[name] == 0} == {"SIGN_LOGIN", "SIGN_GROUP_ENTRY"}
    assert {name for name, count in uses.items() if count > 1} == set()


def test_the_protocols_labels_are_libsignals_to_the_byte() -> None:
    assert labels.HANDSHAKE_X3DH == b"WhisperText"
    assert labels.HANDSHAKE_PQXDH == b"WhisperText_X25519_SHA-256_CRYSTALS-KYBER-1024"
    assert labels.ROOT_STEP == b"WhisperRatchet"
    assert labels.MESSAGE_KEYS == b"WhisperMessageKeys"
    assert labels.SENDER_MESSAGE_KEYS == b"WhisperGroup"
    assert labels.SPQR_CHAIN_START == b"Signal PQ Ratchet V1 Chain  Start"  # two spaces
    assert labels.SPQR_CHAIN_NEXT == b"Signal PQ Ratchet V1 Chain Next"
    assert labels.SPQR_ADD_EPOCH == b"Signal PQ Ratchet V1 Chain Add Epoch"
    assert labels.BRAID_AUTHENTICATOR == b"Signal_PQCKA_V1_MLKEM768:Authenticator Update"
    assert labels.BRAID_EPOCH_SECRET == b"Signal_PQCKA_V1_MLKEM768:SCKA Key"
    assert labels.BRAID_HEADER == b"Signal_PQCKA_V1_MLKEM768:ekheader"
    assert labels.BRAID_CIPHERTEXT == b"Signal_PQCKA_V1_MLKEM768:ciphertext"


def test_what_is_signed_under_a_label_starts_unlike_every_serialised_key() -> None:
    assert labels.SIGNED_DATA[0] not in (0x05, 0x07, 0x08, 0x0A, 0x33, 0xFF)


def test_the_prefix_of_a_signatures_nonce_is_2_to_the_256_less_2() -> None:
    assert int.from_bytes(labels.XEDDSA_NONCE, "little") == 2**256 - 2
