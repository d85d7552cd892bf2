"""docs/conformance.md has all of libsignal's tests, and the tests and limits of ours that it names exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from ratchet import limits

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "conformance.md").read_text("utf-8")
FOLDERS = {"test_conformance_live.py": ROOT / "tests" / "interop"}

# Every test of libsignal whose name is known.
SESSION = [
    "test_basic_prekey",
    "test_chain_jump_over_limit",
    "test_chain_jump_over_limit_with_self",
    "test_bad_signed_pre_key_signature",
    "test_repeat_bundle_message",
    "test_bad_message_bundle",
    "test_optional_one_time_prekey",
    "test_basic_session",
    "test_message_key_limits",
    "test_basic_simultaneous_initiate",
    "test_simultaneous_initiate_with_lossage",
    "test_simultaneous_initiate_lost_message",
    "test_simultaneous_initiate_repeated_messages",
    "test_simultaneous_initiate_lost_message_repeated_messages",
    "test_zero_is_a_valid_prekey_id",
    "test_unacknowledged_sessions_eventually_expire",
    "prekey_message_failed_decryption_does_not_update_stores",
    "prekey_message_failed_decryption_does_not_update_stores_even_when_previously_archived",
    "prekey_message_to_archived_session",
    "test_signedprekey_not_saved",
    "test_longer_sessions",
    "test_duplicate_message_error_returned",
    "test_pqr_state_and_message_contents_nonempty",
    "x3dh_prekey_rejected_as_invalid_message_specifically",
    "x3dh_established_session_is_or_is_not_usable",
    "prekey_message_sent_from_different_user_is_rejected",
    "prekey_message_rejects_wrong_local_recipient_address",
    "proptest_session_resets",
]
RATCHET = [
    "test_alice_and_bob_agree_on_chain_keys_with_kyber",
    "test_bob_rejects_torsioned_basekey",
    "test_bob_rejects_highbit_basekey",
]
GROUPS = [
    "group_no_send_session",
    "group_no_recv_session",
    "group_basic_encrypt_decrypt",
    "group_sealed_sender",
    "group_sealed_sender_multiple_devices",
    "group_sealed_sender_multiple_devices_and_excluded_recipients",
    "group_large_messages",
    "group_basic_ratchet",
    "group_late_join",
    "group_out_of_order",
    "group_too_far_in_the_future",
    "group_message_key_limit",
]
SESSION_MANAGEMENT = [
    "encrypt_preserves_corruption_error_instead_of_session_not_found",
    "encrypt_ignores_corrupt_unused_receiver_chain",
    "decrypt_skips_corrupt_previous_session_and_uses_later_valid_previous",
    "decrypt_ignores_corrupt_unmatched_receiver_chain",
    "decrypt_fails_on_corrupt_matched_receiver_chain",
    "scenario_interleaved_delivery_with_gaps_and_recovery",
    "scenario_chain_jump_over_limit",
    "scenario_prekey_session_establishment_equivalence",
    "scenario_corrupted_ciphertext",
    "scenario_replay_message",
]
CROSS_VERSION = ["test_alice_lacks_spqr", "test_bob_lacks_spqr"]
SEALED_SENDER = [
    "test_server_cert",
    "test_sender_cert",
    "test_revoked_server_cert",
    "test_sealed_sender",
    "test_sender_key_in_sealed_sender",
    "test_sealed_sender_multi_recipient",
    "test_sealed_sender_multi_recipient_encrypt_with_archived_session",
    "test_sealed_sender_multi_recipient_encrypt_with_bad_registration_id",
    "test_decryption_error_in_sealed_sender",
    "parse_empty_multi_recipient_sealed_sender",
    "test_sealed_sender_multi_recipient_redundant_empty_devices",
]
# Files of which only what they check is known.
FILES = [
    "ratchet/keys.rs",
    "sender_keys.rs",
    "fingerprint.rs",
    "protocol.rs",
    "kem.rs",
    "identity_key.rs",
    "core/curve.rs",
    "curve25519.rs",
    "sealed_sender.rs",
    "src/lib.rs",
    "chain.rs",
    "encoding/*",
    "test/generic_dr",
    "test/messaging_scka",
    "test/orchestrator",
    "test/onlineoffline",
    "interaction",
    "session_management",
    "sealed_sender_v2",
]

OURS = re.compile(r"`([\w/]+\.py)::(\w+)`")
LIMIT = re.compile(r"^\| `([A-Z_]+)` \| ([\d,]+)(?: \w+)? \| (.*) \| (.*) \|$", re.MULTILINE)


def rows() -> list[list[str]]:
    """The cells of every row but headings."""
    lines = (line for line in TABLE.splitlines() if line.startswith("| "))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "---" not in line]


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the test functions of one file."""
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_")


def path_of(name: str) -> Path:
    """Where the table means a file to be."""
    return ROOT / name if "/" in name else FOLDERS.get(name, Path(__file__).parent) / name


def test_the_counts_are_those_that_libsignal_has() -> None:
    assert [len(names) for names in (SESSION, RATCHET, GROUPS, SEALED_SENDER)] == [28, 3, 12, 11]


@pytest.mark.parametrize(
    "name", [*SESSION, *RATCHET, *GROUPS, *SESSION_MANAGEMENT, *CROSS_VERSION, *SEALED_SENDER, *FILES]
)
def test_every_test_of_libsignal_has_a_row(name: str) -> None:
    assert any(f"`{name}`" in row[0] for row in rows())


@pytest.mark.parametrize("name", [*SESSION, *RATCHET, *GROUPS, *SESSION_MANAGEMENT, *CROSS_VERSION])
def test_every_row_names_a_test_of_ours_or_what_it_comes_with(name: str) -> None:
    (row,) = (row for row in rows() if row[0] == f"`{name}`")

    assert OURS.search(row[2]) or row[2] in ("comes with sealed sender", "the same three tests")
    assert ("sealed_sender" in name) == (row[2] == "comes with sealed sender")


@pytest.mark.parametrize("reference", sorted({match.group(0) for match in OURS.finditer(TABLE)}))
def test_every_test_of_ours_in_the_table_exists(reference: str) -> None:
    match = OURS.fullmatch(reference)
    assert match is not None

    assert match.group(2) in names_in(path_of(match.group(1)))


def test_every_difference_is_named_and_every_name_is_a_difference() -> None:
    defined = {row[0] for row in rows() if re.fullmatch("[A-Z]", row[0])}
    used = {letter for row in rows() if len(row) == 4 for letter in re.findall(r"\b([A-Z])\b", row[3].split(":")[0])}

    assert defined == {chr(ord("A") + number) for number in range(len(defined))}
    assert used <= defined


def protocol_limits() -> list[str]:
    """The constants of ratchet/limits.py that stand above *Ours*."""
    source = Path(limits.__file__).read_text("utf-8").partition("\n# Ours.")[0]
    return re.findall(r"^([A-Z_]+): Final", source, re.MULTILINE)


@pytest.mark.parametrize("name", protocol_limits())
def test_every_limit_of_the_protocol_is_tried_from_both_sides(name: str) -> None:
    (limit,) = (match for match in LIMIT.finditer(TABLE) if match.group(1) == name)

    assert OURS.search(limit.group(3))
    assert OURS.search(limit.group(4)) or limit.group(4) == "the same"


@pytest.mark.parametrize(("name", "value"), [match.group(1, 2) for match in LIMIT.finditer(TABLE)])
def test_every_limit_in_the_table_has_the_value_of_the_code(name: str, value: str) -> None:
    assert getattr(limits, name) == int(value.replace(",", ""))
