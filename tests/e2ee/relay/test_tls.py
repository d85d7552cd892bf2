"""The relay with its own TLS."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from e2ee.frames import Ping, Pong
from e2ee.relay.server import Relay
from tests.support.relay_client import wire
from tests.support.relay_device import Device

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The relay's context with a certificate for 127.0.0.1, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay of a test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "relay.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    relay = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    relay.load_cert_chain(pem)
    client = ssl.create_default_context(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
    return relay, client


async def test_a_relay_with_a_certificate_is_dialled_by_wss(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    ours, theirs = contexts
    alice, bob = Device("alice"), Device("bob")
    async with Relay(store="sqlite://", ssl=ours) as relay:
        assert relay.url.startswith("wss://127.0.0.1:")
        async with wire(relay.url, ssl=theirs) as a, wire(relay.url, ssl=theirs) as b:
            await a.join(alice)
            await b.join(bob)
            await a.submitted(alice, bob, bytes(200_000))
            assert [one.body for one in await b.mail(1)] == [bytes(200_000)]


async def test_a_client_that_does_not_trust_the_certificate_does_not_get_in(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    ours, theirs = contexts
    async with Relay(store="sqlite://", ssl=ours) as relay:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with wire(relay.url, ssl=ssl.create_default_context()):
                pass
        async with wire(relay.url, ssl=theirs) as line:
            await line.log_in(Device("alice"))
            await line.send(Ping(0, 1))
            await line.one(Pong)
