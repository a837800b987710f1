"""TLS files that are not what they should be are named, whoever reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from springtide.errors import ConfigError
from springtide.wire.channels import Tls

JUNK = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """ca, cert and key that belong together, the key of another certificate, junk, and a file of no PEM at all."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca")
    ours, other = authority.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.1")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    ours.private_key_pem.write_to_path(tmp_path / "key")
    other.private_key_pem.write_to_path(tmp_path / "another_key")
    (tmp_path / "junk").write_text(JUNK)
    (tmp_path / "empty").touch()
    return tmp_path


def tls(files: Path, ca: str | None, cert: str | None, key: str | None) -> Tls:
    return Tls(*(files / name if name else None for name in (ca, cert, key)))


@pytest.mark.parametrize("ca", ["ca", None])
def test_a_certificate_with_its_key_is_good(files: Path, ca: str | None) -> None:
    tls(files, ca, "cert", "key").server()


@pytest.mark.parametrize(
    ("ca", "cert", "key", "told"),
    [
        (
            "ca",
            "cert",
            "another_key",
            r"/cert \(cert\) and .*/another_key \(key\) are not a certificate and its own key",
        ),
        ("ca", "junk", "key", r"/junk \(cert\) and .*/key \(key\)"),
        ("ca", "cert", "junk", r"/cert \(cert\) and .*/junk \(key\)"),
        ("ca", "empty", "empty", r"/empty \(cert\)"),
        ("junk", "cert", "key", r"/junk \(ca\) holds no certificate"),
        ("empty", "cert", "key", r"/empty \(ca\) holds no certificate"),
        ("nowhere", "cert", "key", r"/nowhere cannot be read"),
        (None, "cert", None, "needs both"),
    ],
)
def test_what_is_not_is_named(files: Path, ca: str | None, cert: str | None, key: str | None, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        tls(files, ca, cert, key).server()


def test_nobody_is_asked_for_the_password_of_a_key(files: Path) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = serialization.load_pem_private_key((files / "key").read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    format = serialization.PrivateFormat.TraditionalOpenSSL
    (files / "locked").write_bytes(key.private_bytes(serialization.Encoding.PEM, format, secret))

    with pytest.raises(ConfigError, match="without a password"):
        tls(files, "ca", "cert", "locked").server()
