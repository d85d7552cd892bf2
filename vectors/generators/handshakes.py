"""Handshakes of both versions, bundles that must not be used, base keys that must not be accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ratchet import IdentityKeyPair, handshake, primitives
from vectors.generators.dice import Dice
from vectors.generators.form import invalid, valid, vector_file
from vectors.generators.script import bundles_json, make_account, party_json
from vectors.ours.conversation import encapsulation_of, read_bundle
from vectors.reference import edwards, kem
from vectors.reference import handshake as reference
from vectors.reference.faults import Fault
from vectors.reference.handshake import KeyPair
from vectors.reference.replay_conversation import read_bundle as reference_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vectors.files import Json

FLAGS: Final = {
    "Pqxdh": "Version 4.",
    "X3dh": "Version 3.",
    "NoOneTimePreKey": "Three Diffie-Hellman results instead of four.",
    "Bundle": "A prekey bundle, as its signatures and keys are checked before use.",
    "BaseKey": "A base key, as it is checked before a first message is accepted.",
}


def files() -> dict[str, Json]:
    """Return the files by name."""
    groups = [_agreements(), _bundles(), _base_keys()]
    title = "X3DH and PQXDH"
    return {"handshake.json": vector_file(kind="handshake", title=title, flags=FLAGS, groups=groups)}


def _agreements() -> Json:
    tests = []
    for comment, variant, flags in (
        ("All prekeys", "full", ("Pqxdh",)),
        ("No one-time prekey", "last_resort", ("Pqxdh", "NoOneTimePreKey")),
        ("A one-time prekey and a last-resort KEM prekey", "last_resort_one_time", ("Pqxdh",)),
        ("A one-time prekey", "x3dh_one_time", ("X3dh",)),
        ("No one-time prekey", "x3dh", ("X3dh", "NoOneTimePreKey")),
    ):
        tests.append(_agreement(comment, variant, flags))
    return {"comment": "Both roles, every secret", "tests": tests}


def _agreement(comment: str, variant: str, flags: tuple[str, ...]) -> Json:
    dice = Dice(f"handshake {variant}")
    responder = make_account(dice)
    party = party_json(responder, {"name": "responder", "device_id": 1})
    bundle = bundles_json(responder, 1)[variant]
    identity = IdentityKeyPair.generate(dice.bytes)
    base_private = primitives.clamp(dice.bytes(32))
    encapsulation = _encapsulation(bundle, dice)
    initiated = handshake.initiate(
        identity,
        registration_id=1,
        bundle=read_bundle(bundle),
        allow_x3dh=True,
        entropy=lambda _: base_private,
        encapsulate=encapsulation_of(read_bundle(bundle), encapsulation),
    )
    # `ratchet` tells the derived keys; the results that they come from are the reference implementation's.
    kem_secret = None if encapsulation is None else bytes.fromhex(encapsulation["secret"])
    agreement = reference.initiate(
        KeyPair.from_private(identity.private_key),
        KeyPair.from_private(base_private),
        reference_bundle(bundle),
        kem_secret,
    )
    secrets: Json = {
        "diffie_hellman": [result.hex() for result in agreement.diffie_hellman],
        "root_key": initiated.secrets.root_key.hex(),
        "chain_key": initiated.secrets.chain_key.hex(),
    }
    if kem_secret is not None and initiated.secrets.post_quantum_key is not None:
        secrets |= {"kem_secret": kem_secret.hex(), "pq_auth_key": initiated.secrets.post_quantum_key.hex()}
    return valid(
        comment,
        *flags,
        op="agree",
        version=initiated.version,
        initiator={"identity_private": identity.private_key.hex(), "base_private": base_private.hex()},
        responder=party,
        bundle=bundle,
        **({} if encapsulation is None else {"encapsulation": encapsulation}),
        secrets=secrets,
    )


def _encapsulation(bundle: Json, dice: Dice) -> Json | None:
    if "kem_prekey" not in bundle:
        return None
    randomness = dice.bytes(kem.RANDOMNESS_SIZE)
    ciphertext, secret = kem.kyber1024_encapsulate(bytes.fromhex(bundle["kem_prekey"])[1:], randomness)
    return {"randomness": randomness.hex(), "ciphertext": "08" + ciphertext.hex(), "secret": secret.hex()}


def _bundles() -> Json:
    dice = Dice("bundles")
    account, other = make_account(dice), make_account(dice)
    bundle, foreign = bundles_json(account, 1)["full"], bundles_json(other, 1)["full"]
    tests = [
        valid("All prekeys", "Bundle", op="check_bundle", bundle=bundle),
        valid("Ids of zero", "Bundle", op="check_bundle", bundle=bundle | _zero_ids()),
    ]
    for comment, fault, changed in _wrong_bundles(bundle, foreign):
        content = {"op": "check_bundle", "bundle": bundle | changed}
        tests.append(invalid(comment, fault.error, fault.label, "Bundle", **content))
    return {"comment": "Bundles", "tests": tests}


def _zero_ids() -> Json:
    return {"signed_prekey_id": 0, "kem_prekey_id": 0, "one_time_prekey_id": 0}


def _wrong_bundles(bundle: Json, foreign: Json) -> Iterator[tuple[str, Fault, Json]]:
    signed, signature = bundle["signed_prekey"], bundle["signed_prekey_signature"]
    kem_key, kem_signature = bundle["kem_prekey"], bundle["kem_prekey_signature"]
    yield "The identity of another", Fault.SIGNATURE, {"identity_key": foreign["identity_key"]}
    yield "The signed prekey of another", Fault.SIGNATURE, {"signed_prekey": foreign["signed_prekey"]}
    yield "The KEM prekey of another", Fault.SIGNATURE, {"kem_prekey": foreign["kem_prekey"]}
    yield (
        "The signatures exchanged",
        Fault.SIGNATURE,
        {"signed_prekey_signature": kem_signature, "kem_prekey_signature": signature},
    )
    yield (
        "The last bit of the signed prekey's signature",
        Fault.SIGNATURE,
        {"signed_prekey_signature": _last_bit(signature)},
    )
    yield (
        "The last bit of the KEM prekey's signature",
        Fault.SIGNATURE,
        {"kem_prekey_signature": _last_bit(kem_signature)},
    )
    yield "A signed prekey of type 6", Fault.KEY_TYPE, {"signed_prekey": "06" + signed[2:]}
    yield "A signed prekey of 32 bytes", Fault.FIELD_SIZE, {"signed_prekey": signed[:-2]}
    yield "An identity key of type 6", Fault.KEY_TYPE, {"identity_key": "06" + bundle["identity_key"][2:]}
    yield "A KEM prekey of type 7", Fault.KEY_TYPE, {"kem_prekey": "07" + kem_key[2:]}
    yield "A KEM prekey cut by a byte", Fault.FIELD_SIZE, {"kem_prekey": kem_key[:-2]}
    yield "A one-time prekey of type 6", Fault.KEY_TYPE, {"one_time_prekey": "06" + bundle["one_time_prekey"][2:]}


def _last_bit(text: str) -> str:
    data = bytearray.fromhex(text)
    data[-1] ^= 1
    return data.hex()


def _base_keys() -> Json:
    dice = Dice("base keys")
    tests = [
        valid("A base key", "BaseKey", op="check_base_key", base_key=_base_key(dice).hex()),
        valid("The base point", "BaseKey", op="check_base_key", base_key="0509" + bytes(31).hex()),
    ]
    key = _base_key(dice)
    high = key[:32] + bytes([key[32] | 0x80])
    for comment, fault, base_key in (
        ("The high bit", Fault.BASE_KEY_NOT_CANONICAL, high),
        ("2^255 - 19", Fault.BASE_KEY_NOT_CANONICAL, _encoded(edwards.P)),
        ("2^255 - 19 + 9, the base point in another form", Fault.BASE_KEY_NOT_CANONICAL, _encoded(edwards.P + 9)),
        ("2^255 - 1", Fault.BASE_KEY_NOT_CANONICAL, _encoded(2**255 - 1)),
        ("0, of order 2", Fault.BASE_KEY_TORSION, _encoded(0)),
        ("1, of order 4", Fault.BASE_KEY_TORSION, _encoded(1)),
        ("-1, of order 4 on the twist", Fault.BASE_KEY_TORSION, _encoded(edwards.P - 1)),
        ("Of order 8", Fault.BASE_KEY_TORSION, _encoded(ORDER_8)),
        ("On the twist", Fault.BASE_KEY_TORSION, _encoded(2)),
        ("The wrong type", Fault.KEY_TYPE, b"\x06" + key[1:]),
        ("32 bytes", Fault.FIELD_SIZE, key[:-1]),
    ):
        content = {"op": "check_base_key", "base_key": base_key.hex()}
        tests.append(invalid(comment, fault.error, fault.label, "BaseKey", **content))
    return {"comment": "Base keys of first messages", "tests": tests}


# One of the two u-coordinates of order 8 (RFC 7748's curve; listed in "May the Fourth Be With You", section 3).
ORDER_8: Final = 325606250916557431795983626356110631294008115727848805560023387167927233504


def _base_key(dice: Dice) -> bytes:
    return b"\x05" + primitives.x25519_public(dice.bytes(32))


def _encoded(u: int) -> bytes:
    return b"\x05" + u.to_bytes(32, "little")
