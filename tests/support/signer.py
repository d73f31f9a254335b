"""Signs identity tokens for tests, good ones and bad ones, with a key of its own."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID


def _part(document: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=")


class Signer:
    """One RSA key with its certificate; ``key_id`` is what tokens name."""

    def __init__(self, key_id: str = "test-key") -> None:
        self.key_id = key_id
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        begin = datetime(2020, 1, 1, tzinfo=UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key())
        builder = builder.serial_number(7).not_valid_before(begin).not_valid_after(begin + timedelta(days=36_500))
        self._certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def certificates(self) -> dict[str, str]:
        """``{key id: PEM}``."""
        return {self.key_id: self._certificate}

    def sign(self, *, audience: str, issued: float, email: str = "push@desk.example", **claims: Any) -> str:
        """A token of Google's shape, valid an hour; ``claims`` override."""
        payload = {"iss": "https://accounts.google.com", "aud": audience, "email": email, "email_verified": True}
        payload |= {"iat": int(issued), "exp": int(issued) + 3600, **claims}
        signed = _part({"alg": "RS256", "kid": self.key_id, "typ": "JWT"}) + b"." + _part(payload)
        signature = self._key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()
