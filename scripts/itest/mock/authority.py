"""The mock's own certificate authority: made anew at every start, so that no key is in a repository or an image.

Clients get its certificate from the admin port, or from a volume, in the forms that Python, curl, Node and Java read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import mkdtemp

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore

TRUSTSTORE_PASSWORD = b"changeit"  # Java wants one; what it protects is public
AGE, TERM = timedelta(days=2), timedelta(days=365)  # clocks of containers and hosts differ, and tests turn them


@dataclass(frozen=True)
class Authority:
    """confdir: the folder in which mitmproxy finds certificate and key; certificate: PEM."""

    confdir: Path
    certificate: bytes


def make(published: Path) -> Authority:
    """A new authority. published: the folder for `ca.pem` and `truststore.p12`; without it there are none."""
    key = ec.generate_private_key(ec.SECP256R1())  # 2,000 times as fast to make as RSA, which a start would wait for
    certificate = certify(key)
    pem = certificate.public_bytes(Encoding.PEM)
    confdir = Path(mkdtemp(prefix="mock-"))  # 0700
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (confdir / "mitmproxy-ca.pem").write_bytes(private + pem)
    if published.is_dir():
        (published / "ca.pem").write_bytes(pem)
        store = serialize_java_truststore(
            [PKCS12Certificate(certificate, b"itest mock")], BestAvailableEncryption(TRUSTSTORE_PASSWORD)
        )
        (published / "truststore.p12").write_bytes(store)
    return Authority(confdir, pem)


def certify(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A certificate that says of itself that it may sign others (RFC 5280)."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "itest mock")])
    now = datetime.now(timezone.utc)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - AGE, now + TERM)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
