"""Identity tokens of the local cloud: what Google signs in the cloud is signed here by a key of this machine.

The functions run the same verification code against the same shapes: RS256 tokens of issuer
``https://accounts.google.com`` and certificates as ``{key id: x509 PEM}``, the form of ``/oauth2/v1/certs``.
The key never leaves the state folder (mode 0600) and is worth nothing outside loopback.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

ISSUER = "https://accounts.google.com"
LIFE_SECONDS = 3600
RENEW_SECONDS = 900
KEPT_MAX = 256
KEY_FILE, CERTIFICATE_FILE = "oidc.key.pem", "oidc.crt.pem"


class Tokens:
    """Signs tokens with the key under ``folder``; makes key and certificate on first use."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key_file, certificate_file = folder / KEY_FILE, folder / CERTIFICATE_FILE
        if not (key_file.exists() and certificate_file.exists()):
            _make(key_file, certificate_file)
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{key_file} holds no RSA key")
        self._key = key
        self._certificate = certificate_file.read_text(encoding="ascii")
        self.key_id = hashlib.sha256(self._certificate.encode()).hexdigest()[:40]
        self._header = _part({"alg": "RS256", "kid": self.key_id, "typ": "JWT"})
        self._kept: dict[tuple[str, str], tuple[float, str]] = {}

    def certificates(self) -> dict[str, str]:
        """``{key id: x509 PEM}``, as google-auth's ``jwt.decode(certs=…)`` takes it."""
        return {self.key_id: self._certificate}

    def token(self, email: str, audience: str) -> str:
        """A token for this caller and audience, valid for at least 45 more minutes of real time; kept and reused."""
        now = time.time()
        kept = self._kept.get((email, audience))
        if kept is not None and kept[0] > now:
            return kept[1]
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        token = self.sign(email=email, audience=audience, issued=now)
        self._kept[email, audience] = (now + RENEW_SECONDS, token)
        return token

    def sign(self, *, email: str, audience: str, issued: float, claims: Mapping[str, Any] | None = None) -> str:
        """One token issued at ``issued`` (epoch seconds); ``claims`` override, so that tests can make bad ones."""
        subject = str(int(hashlib.sha256(email.encode()).hexdigest()[:16], 16))
        payload = {
            "iss": ISSUER,
            "aud": audience,
            "azp": subject,
            "sub": subject,
            "email": email,
            "email_verified": True,
            "iat": int(issued),
            "exp": int(issued) + LIFE_SECONDS,
            **(claims or {}),
        }
        signed = self._header + b"." + _part(payload)
        signature = self._key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return (signed + b"." + _b64(signature)).decode("ascii")


def _make(key_file: Path, certificate_file: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fillbook-local")])
    now = datetime.fromtimestamp(time.time(), UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _part(document: dict[str, Any]) -> bytes:
    return _b64(json.dumps(document, separators=(",", ":")).encode())


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
