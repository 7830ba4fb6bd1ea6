"""The TLS certificate of the runtime's API, made once per folder.

The API has to speak TLS although it only listens on loopback: kubectl and kn send no token over plain HTTP (client-go
`tools/clientcmd/client_config.go`, IsConfigTransportTLS). Called by the supervisor before it listens; clients find
the certificate in the kubeconfig and as `ca.crt` beside their token, as in a pod.
"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

_YEARS: Final = timedelta(days=3650)
_RENEW: Final = timedelta(days=30)
_NAMES: Final = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that vouches for itself."""

    ca: Path
    """PEM, for clients."""
    key: Path

    def context(self) -> ssl.SSLContext:
        """What a server listens with."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.ca, self.key)
        return context


def ensure(folder: Path) -> Certificate:
    """The certificate of `folder`; a new one when there is none, or it ends within a month. OSError."""
    found = Certificate(folder / "ca.crt", folder / "tls.key")
    if not (found.ca.exists() and found.key.exists() and _lasts(found.ca)):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(found)
    return found


def _lasts(file: Path) -> bool:
    from cryptography import x509

    return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc > datetime.now(UTC) + _RENEW


def _make(to: Certificate) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Torpor on this machine")])
    addresses = [x509.IPAddress(IPv4Address("127.0.0.1")), x509.IPAddress(IPv6Address("::1"))]
    names = x509.SubjectAlternativeName([*(x509.DNSName(each) for each in _NAMES), *addresses])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks of containers differ a little
        .not_valid_after(now + _YEARS)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    to.key.touch(mode=0o600)
    to.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    to.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
