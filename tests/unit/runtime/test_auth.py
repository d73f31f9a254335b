"""Identity tokens and keys: closed unless configured, exact when it is."""

import base64
import hashlib
import hmac
import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from fillbook.runtime import auth, clock
from fillbook.runtime.auth import Certificates, Identity, OidcVerifier, identity_for, is_one_of, verifier_for, verify_key
from fillbook.runtime.config import OidcConfig
from fillbook.runtime.errors import Rejected, Unavailable
from tests.support.scripted import scripted
from tests.support.signer import Signer

AUDIENCE, CALLER = "https://worker.example", "push@desk.example"
NOW = 1_800_000_000


@pytest.fixture(scope="module")
def tokens():
    return Signer()


@pytest.fixture
def real(monkeypatch):
    """Real time for our checks and google-auth's."""
    now = {"at": float(NOW)}
    monkeypatch.setattr(clock, "real_epoch_seconds", lambda: now["at"])
    monkeypatch.setattr("google.auth._helpers.utcnow", lambda: datetime.fromtimestamp(now["at"], UTC).replace(tzinfo=None))
    return now


def request(token, scheme="Bearer"):
    return SimpleNamespace(headers={"Authorization": f"{scheme} {token}"} if token is not None else {})


def verifier(tokens, *, audience=AUDIENCE, callers=(CALLER,), **options):
    return OidcVerifier(audience, callers, Certificates("url", lambda url: tokens.certificates()), **options)


def status_of(check, *arguments):
    with pytest.raises(Rejected) as caught:
        check(*arguments)
    return caught.value.status


def test_a_caller_with_a_good_token_is_known_by_its_email(tokens, real):
    token = tokens.sign(audience=AUDIENCE, issued=NOW)
    assert verifier(tokens).check(request(token)) == CALLER
    assert verifier(tokens).check(request(token, "bearer")) == CALLER


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"iss": "https://evil.example"}, 401),
        ({"aud": "https://other.example"}, 401),
        ({"exp": NOW - 1}, 401),
        ({"iat": NOW + 3600, "exp": NOW + 7200}, 401),
        ({"email_verified": False}, 403),
        ({"email_verified": "true"}, 403),
        ({"email": "other@desk.example"}, 403),
        ({"email": None}, 403),
    ],
)
def test_a_token_with_one_wrong_claim_is_refused(tokens, real, claims, status):
    token = tokens.sign(audience=AUDIENCE, issued=NOW, **claims)
    assert status_of(verifier(tokens).check, request(token)) == status


@pytest.mark.parametrize("token", [None, "", "x", "a.b.c", "a.b", "....", "é.é.é", "x" * 9000, "eyJhbGciOiJub25lIn0.e30."])
def test_what_is_no_token_is_unauthorized(tokens, real, token):
    assert status_of(verifier(tokens).check, request(token)) == 401


def test_an_altered_token_is_unauthorized(tokens, real):
    head, payload, signature = tokens.sign(email="x@y", audience=AUDIENCE, issued=NOW).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "email": CALLER}).encode()).rstrip(b"=").decode()
    assert status_of(verifier(tokens).check, request(f"{head}.{forged}.{signature}")) == 401


def test_a_token_signed_by_another_key_is_unauthorized(tokens, real):
    token = Signer().sign(audience=AUDIENCE, issued=NOW)
    assert status_of(verifier(tokens).check, request(token)) == 401


@pytest.mark.parametrize("options", [{"audience": None}, {"audience": ""}, {"callers": ()}])
def test_what_is_not_configured_is_closed(tokens, real, options):
    token = tokens.sign(audience=AUDIENCE, issued=NOW)
    assert status_of(verifier(tokens, **options).check, request(token)) == 403


def test_a_known_token_is_not_verified_again_and_never_outlives_itself(tokens, real):
    fetched = []
    certificates = Certificates("url", lambda url: fetched.append(url) or tokens.certificates())
    one = OidcVerifier(AUDIENCE, (CALLER,), certificates)
    token = tokens.sign(audience=AUDIENCE, issued=NOW)
    assert [one.check(request(token)) for _ in range(3)] == [CALLER] * 3
    assert fetched == ["url"]
    real["at"] += 3601
    assert status_of(one.check, request(token)) == 401


def test_the_memory_for_tokens_is_bounded(tokens, real, monkeypatch):
    monkeypatch.setattr(auth, "REMEMBERED_MAX", 3)
    one = verifier(tokens)
    for second in range(5):
        one.check(request(tokens.sign(audience=AUDIENCE, issued=NOW - second)))
        assert len(one._known) <= 3


def removed(tokens, **claims):
    token = tokens.sign(audience=AUDIENCE, issued=NOW, **claims)
    return f"{token.rpartition('.')[0]}.SIGNATURE_REMOVED_BY_GOOGLE"


def test_a_token_without_signature_counts_only_where_the_platform_verified_it(tokens, real):
    assert status_of(verifier(tokens).check, request(removed(tokens))) == 401
    trusting = verifier(tokens, platform_verified=True)
    assert trusting.check(request(removed(tokens))) == CALLER
    assert status_of(trusting.check, request(removed(tokens, aud="x"))) == 401
    assert status_of(trusting.check, request(removed(tokens, exp=NOW - 1))) == 401
    assert status_of(trusting.check, request(removed(tokens, email="x@y"))) == 403
    assert status_of(trusting.check, request("a.W10.SIGNATURE_REMOVED_BY_GOOGLE")) == 401


def test_the_platform_is_believed_only_in_the_cloud(tokens, real):
    settings = {"fillbook_oidc_audience": AUDIENCE, "fillbook_oidc_callers": (CALLER,), "fillbook_oidc_platform_verified": True}
    assert verifier_for(OidcConfig(fillbook_env="cloud", **settings)).check(request(removed(tokens))) == CALLER
    local = OidcConfig(fillbook_env="local", fillbook_local_url="http://127.0.0.1:9", **settings)
    with pytest.raises((Rejected, Unavailable)):
        verifier_for(local).check(request(removed(tokens)))


class TestCertificates:
    def test_they_are_kept_for_their_life_and_fetched_again_for_a_new_key(self, monkeypatch):
        now = {"at": 0.0}
        monkeypatch.setattr(clock, "monotonic", lambda: now["at"])
        fetched = []
        kept = Certificates("u", lambda url: fetched.append(url) or {"a": "PEM"})
        for _ in range(3):
            kept.for_key("a")
        assert len(fetched) == 1
        kept.for_key("unknown")  # too soon: an attacker's made-up key ids must not make us fetch
        assert len(fetched) == 1
        now["at"] = 61.0
        kept.for_key("unknown")
        assert len(fetched) == 2
        now["at"] = 4000.0
        kept.for_key("a")
        assert len(fetched) == 3

    def test_what_is_held_stays_good_while_the_issuer_is_away(self, monkeypatch):
        now = {"at": 0.0}
        monkeypatch.setattr(clock, "monotonic", lambda: now["at"])
        answers = [{"a": "PEM"}]

        def fetch(url):
            if answers:
                return answers.pop()
            raise Unavailable("certificates_unavailable")

        kept = Certificates("u", fetch)
        kept.for_key("a")
        now["at"] = 5000.0
        assert kept.for_key("a") == {"a": "PEM"}
        with pytest.raises(Unavailable):
            kept.for_key("b")


@dataclass(frozen=True)
class Key:
    id: str
    sha256: str


KEYS = [Key(name, hashlib.sha256(f"key-{name}".encode()).hexdigest()) for name in "abc"]


def test_a_key_is_found_by_its_digest(monkeypatch):
    assert verify_key("key-b", KEYS) is KEYS[1]
    assert verify_key("key-x", KEYS) is None
    assert verify_key("", []) is None
    assert verify_key("\ud800", KEYS) is None


def test_every_key_is_compared_whether_or_not_one_was_found(monkeypatch):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(auth.hmac, "compare_digest", lambda a, b: compared.append(1) or real(a, b))
    verify_key("key-a", KEYS)
    assert len(compared) == 3
    assert is_one_of("one", ["one", "two", "three"])
    assert len(compared) == 6
    assert not is_one_of("four", ["one"])
    assert not is_one_of("x", [])


def test_our_own_identity_is_fetched_once_per_audience_and_renewed_before_it_ends(tokens, real):
    fetched = []

    def fetch(audience):
        fetched.append(audience)
        return tokens.sign(audience=audience, issued=real["at"])

    identity = Identity(fetch)
    first = identity.header("https://a")
    assert first["Authorization"].startswith("Bearer ")
    assert identity.header("https://a") == first
    identity.header("https://b")
    assert fetched == ["https://a", "https://b"]
    real["at"] += 3400
    assert identity.header("https://a") != first


def test_threads_share_one_fetch_of_certificates(tokens):
    fetched = []
    kept = Certificates("u", lambda url: fetched.append(url) or tokens.certificates())
    threads = [threading.Thread(target=kept.for_key, args=(tokens.key_id,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1


def test_the_local_clouds_certificates_are_asked_for_over_http(tokens, real):
    with scripted((200, json.dumps(tokens.certificates()))) as (url, seen):
        config = OidcConfig(
            fillbook_env="local", fillbook_local_url=url, fillbook_oidc_audience=AUDIENCE, fillbook_oidc_callers=(CALLER,)
        )
        checks = verifier_for(config)
        assert checks.check(request(tokens.sign(audience=AUDIENCE, issued=NOW))) == CALLER
    assert [path for path, *_ in seen] == ["/oauth2/v1/certs"]


@pytest.mark.parametrize("answer", [(500, "{}"), (200, "nonsense"), (200, "[]")])
def test_certificates_that_cannot_be_had_are_no_reason_to_refuse_for_good(tokens, real, answer):
    with scripted(answer) as (url, _):
        config = OidcConfig(
            fillbook_env="local", fillbook_local_url=url, fillbook_oidc_audience=AUDIENCE, fillbook_oidc_callers=(CALLER,)
        )
        with pytest.raises(Unavailable):
            verifier_for(config).check(request(tokens.sign(audience=AUDIENCE, issued=NOW)))


def test_locally_our_identity_comes_from_the_local_cloud(tokens, real):
    with scripted((200, json.dumps({"token": tokens.sign(audience=AUDIENCE, issued=NOW)}))) as (url, seen):
        config = OidcConfig(fillbook_env="local", fillbook_local_url=url)
        assert identity_for(config, account="fb-trade-tracker").header(AUDIENCE)["Authorization"].startswith("Bearer ey")
    assert seen[0][:2] == ("/token", {"email": "fb-trade-tracker@fillbook-local.iam.gserviceaccount.com", "audience": AUDIENCE})
    with scripted((400, "{}")) as (url, _), pytest.raises(Unavailable, match="identity_unavailable"):
        identity_for(OidcConfig(fillbook_env="local", fillbook_local_url=url), account="x").header(AUDIENCE)


def test_in_the_cloud_our_identity_comes_from_the_platform(tokens, real, monkeypatch):
    from google.auth import exceptions

    cloud = OidcConfig(fillbook_env="cloud")
    monkeypatch.setattr("google.oauth2.id_token.fetch_id_token", lambda _, audience: tokens.sign(audience=audience, issued=NOW))
    assert identity_for(cloud, account="ignored").header(AUDIENCE)["Authorization"].startswith("Bearer ey")

    def away(_, audience):
        raise exceptions.TransportError("metadata server")

    monkeypatch.setattr("google.oauth2.id_token.fetch_id_token", away)
    with pytest.raises(Unavailable, match="identity_unavailable"):
        identity_for(cloud, account="ignored").header(AUDIENCE)
