"""A device that runs official libsignal, with typed methods: bytes in, bytes out, OracleError for what is refused."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from tests.support.oracle import CURRENT, Field, Oracle, OracleError, Reply
from tests.support.oracle_values import OracleBundle, OracleBundleSecrets, OracleMessage, PrekeyIds, SessionInfo

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from tests.support.oracle_values import AddressLike, BundleLike, KemChoice, MessageLike


class OracleDevice:
    """One device run by libsignal, with stores in memory. It is also an address, for others to send to.

    Made by `OracleDevice.create`. Every method raises OracleError for what libsignal or a store refuses.
    `now_ms` is the moment at which something happens, in milliseconds since 1970; None is the present.
    """

    def __init__(
        self, oracle: Oracle, handle: str, *, release: str, name: str, device_id: int, registration_id: int, key: bytes
    ) -> None:
        """Describe a device that the oracle already has; *key* is its public identity key."""
        self._oracle = oracle
        self._handle = handle
        self.release = release
        self.name = name
        self.device_id = device_id
        self.registration_id = registration_id
        self.identity_key = key  # 33 bytes

    @classmethod
    def create(
        cls,
        oracle: Oracle,
        name: str,
        *,
        device_id: int = 1,
        release: str = CURRENT,
        registration_id: int = 1,
        identity_private_key: bytes | None = None,
        serialized: bool = False,
    ) -> OracleDevice:
        """Make a device with a new identity, or the given one (32 bytes).

        *serialized* makes its stores keep records as bytes, as an application with a database does.
        """
        handle = oracle.new_handle("device")
        reply = oracle.call(
            "create_device",
            device=handle,
            release=release,
            name=name,
            device_id=device_id,
            registration_id=registration_id,
            identity_private_key=identity_private_key,
            serialized=serialized,
        )
        return cls(
            oracle,
            handle,
            release=release,
            name=name,
            device_id=device_id,
            registration_id=registration_id,
            key=reply.data("identity_key"),
        )

    def drop(self) -> None:
        """Forget the device and everything in its stores."""
        self._call("drop_device")

    def prekey_ids(self) -> PrekeyIds:
        """Return the ids of the prekeys that are still in the stores."""
        reply = self._call("prekey_ids")
        return PrekeyIds(
            one_time=frozenset(reply.numbers("one_time_prekey_ids")),
            signed=frozenset(reply.numbers("signed_prekey_ids")),
            kem=frozenset(reply.numbers("kem_prekey_ids")),
        )

    # Bundles and sessions

    def bundle(
        self,
        *,
        one_time: bool = True,
        kem: KemChoice = "one_time",
        signed_prekey_id: int | None = None,
        one_time_prekey_id: int | None = None,
        kem_prekey_id: int | None = None,
    ) -> OracleBundle:
        """Make and publish a bundle. Without a *kem* prekey only release 0.60.2 can use it, for X3DH.

        The signed prekey, and a last-resort KEM prekey, is the one in use unless a new id is given; one-time keys are
        fresh each time, with the next unused id unless one is given.
        """
        reply = self._call(
            "make_bundle",
            one_time=one_time,
            kem=kem,
            signed_prekey_id=signed_prekey_id,
            one_time_prekey_id=one_time_prekey_id,
            kem_prekey_id=kem_prekey_id,
        )
        return OracleBundle(
            registration_id=reply.number("registration_id"),
            device_id=reply.number("device_id"),
            identity_key=reply.data("identity_key"),
            signed_prekey_id=reply.number("signed_prekey_id"),
            signed_prekey=reply.data("signed_prekey"),
            signed_prekey_signature=reply.data("signed_prekey_signature"),
            kem_prekey_id=reply.optional_number("kem_prekey_id"),
            kem_prekey=reply.optional_data("kem_prekey"),
            kem_prekey_signature=reply.optional_data("kem_prekey_signature"),
            one_time_prekey_id=reply.optional_number("one_time_prekey_id"),
            one_time_prekey=reply.optional_data("one_time_prekey"),
        )

    def bundle_secrets(self, bundle: BundleLike) -> OracleBundleSecrets:
        """Return the private halves of a bundle of this device, while its keys are in the stores: for recordings."""
        reply = self._call(
            "bundle_secrets",
            signed_prekey_id=bundle.signed_prekey_id,
            one_time_prekey_id=bundle.one_time_prekey_id,
            kem_prekey_id=bundle.kem_prekey_id,
        )
        return OracleBundleSecrets(
            identity=reply.data("identity"),
            signed_prekey=reply.data("signed_prekey"),
            one_time_prekey=reply.optional_data("one_time_prekey"),
            kem_prekey=reply.optional_data("kem_prekey"),
        )

    def process_bundle(self, remote: AddressLike, bundle: BundleLike, *, now_ms: int | None = None) -> None:
        """Start a session with *remote* from its bundle; a session that there was is archived."""
        public = {part.name: getattr(bundle, part.name) for part in fields(OracleBundle)}
        self._call("process_bundle", remote, now_ms=now_ms, **public)

    def encrypt(self, remote: AddressLike, plaintext: bytes, *, now_ms: int | None = None) -> OracleMessage:
        """Encrypt for *remote*: kind PREKEY until it has answered, then SIGNAL."""
        return _message(self._call("encrypt", remote, plaintext=plaintext, now_ms=now_ms))

    def decrypt(self, remote: AddressLike, message: MessageLike) -> bytes:
        """Decrypt a message of either kind from *remote*."""
        return self._call("decrypt", remote, kind=int(message.kind), body=message.body).data("plaintext")

    def encrypt_all(self, remote: AddressLike, plaintexts: Iterable[bytes]) -> list[OracleMessage]:
        """Encrypt several in one exchange. Raises the first OracleError."""
        outcomes = self._oracle.batch(self._request("encrypt", remote, plaintext=plaintext) for plaintext in plaintexts)
        return [_message(_succeeded(outcome)) for outcome in outcomes]

    def decrypt_all(self, remote: AddressLike, messages: Iterable[MessageLike]) -> list[bytes | OracleError]:
        """Decrypt several in one exchange; in place of a plaintext stands the error of a message that was refused."""
        outcomes = self._oracle.batch(
            self._request("decrypt", remote, kind=int(message.kind), body=message.body) for message in messages
        )
        return [_plaintext(outcome) for outcome in outcomes]

    def session_info(self, remote: AddressLike, *, now_ms: int | None = None) -> SessionInfo | None:
        """Return what libsignal says of the record with *remote*; None if there is no record."""
        reply = self._call("session_info", remote, now_ms=now_ms)
        if not reply.flag("exists"):
            return None
        return SessionInfo(
            has_current_state=reply.flag("has_current_state"),
            version=reply.optional_number("version"),
            archived=reply.number("archived"),
            local_registration_id=reply.optional_number("local_registration_id"),
            remote_registration_id=reply.optional_number("remote_registration_id"),
        )

    def archive_session(self, remote: AddressLike) -> None:
        """Put the current session with *remote* among the archived ones."""
        self._call("archive_session", remote)

    def export_session(self, remote: AddressLike) -> bytes:
        """Return the session record with *remote* as libsignal stores it."""
        return self._call("export_session", remote).data("record")

    def import_session(self, remote: AddressLike, record: bytes) -> None:
        """Replace the session record with *remote* by an exported one."""
        self._call("import_session", remote, record=record)

    def delete_session(self, remote: AddressLike) -> bool:
        """Remove the session record with *remote*; say whether there was one."""
        return self._call("delete_session", remote).flag("deleted")

    def ratchet_key_matches(self, remote: AddressLike, key: bytes) -> bool:
        """Say whether *key* (33 bytes) is the public key of the current session's own sending ratchet."""
        return self._call("ratchet_key_matches", remote, key=key).flag("matches")

    # Identities of others: trusted on first use

    def save_identity(self, remote: AddressLike, key: bytes) -> None:
        """Trust *key* (33 bytes) as the identity of *remote*, whatever was trusted before."""
        self._call("save_identity", remote, key=key)

    def known_identity(self, remote: AddressLike) -> bytes | None:
        """Return the identity key that is trusted for *remote*, None if none is known."""
        return self._call("get_identity", remote).optional_data("key")

    def forget_identity(self, remote: AddressLike) -> bool:
        """Trust the next key seen of *remote*, whichever; say whether one was known."""
        return self._call("forget_identity", remote).flag("forgotten")

    # Sender keys

    def distribution_message(self, distribution_id: UUID) -> bytes:
        """Return the distribution message of the own sender key, which is made if there is none."""
        return self._call("create_distribution", distribution_id=str(distribution_id)).data("body")

    def process_distribution(self, sender: AddressLike, body: bytes) -> None:
        """Take a sender key of *sender* from a distribution message."""
        self._call("process_distribution", sender, body=body)

    def group_encrypt(self, distribution_id: UUID, plaintext: bytes) -> bytes:
        """Encrypt with the own sender key; raises if there is none."""
        return self._call("group_encrypt", distribution_id=str(distribution_id), plaintext=plaintext).data("body")

    def group_decrypt(self, sender: AddressLike, body: bytes) -> bytes:
        """Decrypt a group message of *sender*."""
        return self._call("group_decrypt", sender, body=body).data("plaintext")

    def group_encrypt_all(self, distribution_id: UUID, plaintexts: Iterable[bytes]) -> list[bytes]:
        """Encrypt several with the own sender key in one exchange. Raises the first OracleError."""
        requests = (
            self._request("group_encrypt", distribution_id=str(distribution_id), plaintext=plaintext)
            for plaintext in plaintexts
        )
        return [_succeeded(outcome).data("body") for outcome in self._oracle.batch(requests)]

    def group_decrypt_all(self, sender: AddressLike, bodies: Iterable[bytes]) -> list[bytes | OracleError]:
        """Decrypt several group messages in one exchange; errors stand in place of plaintexts."""
        outcomes = self._oracle.batch(self._request("group_decrypt", sender, body=body) for body in bodies)
        return [_plaintext(outcome) for outcome in outcomes]

    def export_sender_key(self, sender: AddressLike, distribution_id: UUID) -> bytes:
        """Return the sender key record of *sender* (itself for the own one) as libsignal stores it."""
        return self._call("export_sender_key", sender, distribution_id=str(distribution_id)).data("record")

    def import_sender_key(self, sender: AddressLike, distribution_id: UUID, record: bytes) -> None:
        """Replace the sender key record of *sender* by an exported one."""
        self._call("import_sender_key", sender, distribution_id=str(distribution_id), record=record)

    def delete_sender_key(self, sender: AddressLike, distribution_id: UUID) -> bool:
        """Remove the sender key record of *sender* (deleting the own one rotates it); say whether there was one."""
        return self._call("delete_sender_key", sender, distribution_id=str(distribution_id)).flag("deleted")

    def _request(self, op: str, remote: AddressLike | None = None, **values: Field) -> dict[str, Field]:
        request: dict[str, Field] = {"op": op, "device": self._handle, **values}
        if remote is not None:
            request.update(remote_name=remote.name, remote_device_id=remote.device_id)
        return request

    def _call(self, op: str, remote: AddressLike | None = None, **values: Field) -> Reply:
        return self._oracle.run(self._request(op, remote, **values))


def _succeeded(outcome: Reply | OracleError) -> Reply:
    if isinstance(outcome, OracleError):
        raise outcome
    return outcome


def _message(reply: Reply) -> OracleMessage:
    return OracleMessage(reply.number("kind"), reply.data("body"))


def _plaintext(outcome: Reply | OracleError) -> bytes | OracleError:
    return outcome if isinstance(outcome, OracleError) else outcome.data("plaintext")
