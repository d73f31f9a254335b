"""Who is calling: identity tokens of service accounts, and keys compared in constant time.

Closed unless configured: without an audience or callers every token is refused. Certificates are fetched when first
needed, kept for their lifetime and fetched again (at most once a minute) when a token names an unknown key. A verified
token is remembered until it expires, so RSA is done once per token, not once per message; the memory is bounded.

Cloud Run with IAM verifies a token itself and hands it on with its signature cut off. Only where the deployment says so
(``FILLBOOK_OIDC_PLATFORM_VERIFIED``, set for services without a public invoker) is such a token read without signature;
its issuer, audience, expiry and e-mail are checked all the same.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from fillbook.runtime import clock, logs
from fillbook.runtime.config import Config, OidcConfig
from fillbook.runtime.errors import Rejected, Unavailable

GOOGLE_CERTIFICATES = "https://www.googleapis.com/oauth2/v1/certs"
ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})
SIGNATURE_REMOVED = "SIGNATURE_REMOVED_BY_GOOGLE"
SKEW_SECONDS = 60
CERTIFICATE_SECONDS = 3600.0
REFETCH_SECONDS = 60.0
REMEMBERED_MAX = 256
TOKEN_LENGTH_MAX = 8192
FETCH_SECONDS = 3.0

_log = logs.get("auth")


class Certificates:
    """The signing certificates ``{key id: PEM}`` behind a URL, fetched lazily and kept an hour."""

    def __init__(self, url: str, fetch: Callable[[str], Mapping[str, str]] | None = None) -> None:
        self._url = url
        self._fetch = fetch or _fetch_certificates
        self._lock = threading.Lock()
        self._fetched_at: float | None = None
        self._kept: Mapping[str, str] = {}

    def for_key(self, key_id: str) -> Mapping[str, str]:
        """Return certificates that hold ``key_id`` if the issuer has it; raises ``Unavailable`` when they cannot be had."""
        with self._lock:
            age = None if self._fetched_at is None else clock.monotonic() - self._fetched_at
            is_unknown = key_id not in self._kept
            if age is None or age > CERTIFICATE_SECONDS or (is_unknown and age > REFETCH_SECONDS):
                try:
                    self._kept = self._fetch(self._url)
                    self._fetched_at = clock.monotonic()
                except Unavailable:
                    if is_unknown:  # what we hold stays good while the issuer cannot be reached
                        raise
            return self._kept


def _fetch_certificates(url: str) -> Mapping[str, str]:
    import requests

    from fillbook.runtime.outgoing import read_json, session  # requests costs 60 ms that a start without tokens need not pay

    try:
        with session() as http, http.get(url, timeout=(FETCH_SECONDS, FETCH_SECONDS), stream=True) as response:
            if response.status_code != 200:
                raise Unavailable("certificates_unavailable", f"status {response.status_code}")
            document = read_json(response, seconds=FETCH_SECONDS)
    except requests.RequestException as error:
        raise Unavailable("certificates_unavailable", type(error).__name__) from error
    if not isinstance(document, dict):
        raise Unavailable("certificates_unavailable", "not a JSON object")
    return {str(key): str(value) for key, value in document.items()}


class HasHeaders(Protocol):
    """A request, as far as its headers."""

    @property
    def headers(self) -> Any: ...  # noqa: D102 -- werkzeug's Headers


class OidcVerifier:
    """Checks the bearer token of a request: signature, issuer, audience, expiry, verified e-mail among ``callers``."""

    def __init__(
        self, audience: str | None, callers: Iterable[str], certificates: Certificates, *, platform_verified: bool = False
    ) -> None:
        self._audience = audience
        self._callers = frozenset(callers)
        self._certificates = certificates
        self._platform_verified = platform_verified
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, str]] = {}

    def check(self, request: HasHeaders) -> str:
        """Return the e-mail of the request's caller; raises ``Rejected`` 401 (no or bad token) or 403 (not a caller of ours).

        Raises ``Unavailable`` when certificates cannot be had.
        """
        token = bearer(request.headers.get("Authorization"))
        if not self._audience or not self._callers:
            raise Rejected("forbidden", "no audience or no caller is configured", status=403)
        digest = hashlib.sha256(token.encode()).digest()
        now = clock.real_epoch_seconds()
        with self._lock:
            known = self._known.get(digest)
        if known is not None and known[0] > now:
            return known[1]
        claims = self._claims(token)
        email = claims.get("email")
        if not isinstance(email, str) or claims.get("email_verified") is not True or email not in self._callers:
            raise Rejected("forbidden", "the token's e-mail is not a caller of this function", status=403)
        with self._lock:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            self._known[digest] = (float(claims["exp"]), email)
        return email

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            if self._platform_verified and token.endswith(f".{SIGNATURE_REMOVED}"):
                claims = _unsigned_claims(token)
            else:
                claims = self._signed_claims(token)
            if claims.get("iss") not in ISSUERS or claims.get("aud") != self._audience:
                raise ValueError("issuer or audience")
            now = clock.real_epoch_seconds()
            if not int(claims["iat"]) - SKEW_SECONDS <= now <= int(claims["exp"]):
                raise ValueError("not valid at this time")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Rejected("unauthorized", f"{type(error).__name__} in the identity token", status=401) from None
        return claims

    def _signed_claims(self, token: str) -> Mapping[str, Any]:
        from google.auth import exceptions, jwt

        try:
            key_id = jwt.decode_header(token).get("kid")  # type: ignore[no-untyped-call]
            certificates = self._certificates.for_key(str(key_id))
            claims: Mapping[str, Any] = jwt.decode(  # type: ignore[no-untyped-call]
                token, certs=certificates, audience=self._audience, clock_skew_in_seconds=SKEW_SECONDS
            )
        except exceptions.GoogleAuthError as error:
            raise ValueError(type(error).__name__) from error
        return claims


def _unsigned_claims(token: str) -> Mapping[str, Any]:
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    if not isinstance(claims, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 -- caught with the other shapes of a bad token
    return claims


def bearer(authorization: str | None) -> str:
    """Return the token of an Authorization header; raises ``Rejected('unauthorized')`` 401 for any other value."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_LENGTH_MAX or not token.isascii():
        raise Rejected("unauthorized", "no bearer token", status=401)
    return token


def verifier_for(config: OidcConfig) -> OidcVerifier:
    """Return the verifier of a configuration: Google's certificates in the cloud, the local cloud's locally."""
    url = f"{config.fillbook_local_url}/oauth2/v1/certs" if config.fillbook_local_url else GOOGLE_CERTIFICATES
    return OidcVerifier(
        config.fillbook_oidc_audience,
        config.fillbook_oidc_callers,
        Certificates(url),
        platform_verified=config.fillbook_env == "cloud" and config.fillbook_oidc_platform_verified,
    )


# --- keys -------------------------------------------------------------------------------------------------------------


class Hashed(Protocol):
    """An entry of a key list: it holds the SHA-256 of the key in hex, never the key."""

    @property
    def sha256(self) -> str: ...  # noqa: D102 -- a protocol's field


Entry = TypeVar("Entry", bound=Hashed)


def verify_key(presented: str, entries: Sequence[Entry]) -> Entry | None:
    """Return the entry whose digest is that of ``presented``; every entry is compared, in constant time, found or not."""
    digest = hashlib.sha256(presented.encode(errors="surrogatepass")).hexdigest()
    found: Entry | None = None
    for entry in entries:
        if hmac.compare_digest(digest, entry.sha256.lower()):
            found = entry
    return found


def is_one_of(presented: str, secrets: Iterable[str]) -> bool:
    """Say whether ``presented`` is one of ``secrets``; digests are compared in constant time, all of them."""
    digest = hashlib.sha256(presented.encode(errors="surrogatepass")).digest()
    matches = [hmac.compare_digest(digest, hashlib.sha256(secret.encode()).digest()) for secret in secrets]
    return any(matches)


# --- our own identity -------------------------------------------------------------------------------------------------

RENEW_SECONDS = 300.0
TOKEN_SECONDS = 1.0


class Identity:
    """Identity tokens for calling another function: from the metadata server in the cloud, from the local cloud locally."""

    def __init__(self, fetch: Callable[[str], str]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[float, str]] = {}

    def header(self, audience: str) -> dict[str, str]:
        """Return ``{"Authorization": "Bearer …"}`` for ``audience``; raises ``Unavailable`` when no token can be had."""
        with self._lock:
            valid_until, token = self._tokens.get(audience, (0.0, ""))
            if clock.real_epoch_seconds() >= valid_until - RENEW_SECONDS:
                token = self._fetch(audience)
                self._tokens[audience] = (float(_unsigned_claims(token)["exp"]), token)
        return {"Authorization": f"Bearer {token}"}


def identity_for(config: Config, *, account: str) -> Identity:
    """Return our identity; ``account`` is the service account's short name (used locally; the cloud knows who we are)."""
    local_url = config.fillbook_local_url
    if local_url is not None:
        return Identity(lambda audience: _local_token(local_url, account, audience))
    return Identity(_cloud_token)


def _local_token(local_url: str, account: str, audience: str) -> str:
    import requests

    from fillbook.runtime.outgoing import read_json, session

    wanted = {"email": f"{account}@fillbook-local.iam.gserviceaccount.com", "audience": audience}
    try:
        with (
            session() as http,
            http.post(f"{local_url}/token", json=wanted, timeout=(1.0, FETCH_SECONDS), stream=True) as response,
        ):
            response.raise_for_status()
            return str(read_json(response, seconds=FETCH_SECONDS)["token"])
    except (requests.RequestException, KeyError, TypeError) as error:
        raise Unavailable("identity_unavailable", type(error).__name__) from error


def _cloud_token(audience: str) -> str:
    import google.auth.transport.requests
    from google.auth import exceptions
    from google.oauth2 import id_token

    try:
        token = id_token.fetch_id_token(google.auth.transport.requests.Request(), audience)  # type: ignore[no-untyped-call]
    except exceptions.GoogleAuthError as error:
        raise Unavailable("identity_unavailable", type(error).__name__) from error
    return str(token)


class AccessToken:
    """An access token of our service account for APIs of the platform, from google-auth's default credentials.

    Called by any thread; renewed when it expires. Raises ``Unavailable(reason)`` when none can be had.
    """

    def __init__(self, scope: str, reason: str) -> None:
        self._scope, self._reason = scope, reason
        self._lock = threading.Lock()
        self._credentials: Any = None

    def __call__(self) -> str:
        """Return the token."""
        import google.auth
        import google.auth.transport.requests
        from google.auth import exceptions

        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials, _ = google.auth.default(scopes=[self._scope])
                if not self._credentials.valid:
                    ask = functools.partial(google.auth.transport.requests.Request(), timeout=TOKEN_SECONDS)
                    self._credentials.refresh(ask)
            except exceptions.GoogleAuthError as error:
                raise Unavailable(self._reason, type(error).__name__) from error
            return str(self._credentials.token)
