"""Certificates for servers on loopback, signed by themselves and made anew for each run: the project keeps no key."""

import atexit
import ipaddress
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


@cache
def certificates() -> Path:
    """Return a folder with `own.pem`, `expired.pem`, `other-host.pem`, and their `key.pem`."""
    folder = Path(tempfile.mkdtemp(prefix="mushu-certificates-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    key = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(pem)
    here, elsewhere = x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("elsewhere.example")
    now = datetime.now(UTC)
    for name, subject, until in (
        ("own", here, now + _DAY),
        ("expired", here, now - _DAY),
        ("other-host", elsewhere, now + _DAY),
    ):
        certificate = _signed_by_itself(key, subject, until)
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return folder


def _signed_by_itself(key: ec.EllipticCurvePrivateKey, subject: x509.GeneralName, until: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(subject.value))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(until - 10 * _DAY).not_valid_after(until)
    builder = builder.add_extension(x509.SubjectAlternativeName([subject]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256())
