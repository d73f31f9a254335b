"""Tokens of the local cloud are taken by google-auth and by our own verifier, and by neither when anything is off."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from google.auth import exceptions, jwt

from fillbook.runtime.auth import Certificates, OidcVerifier
from fillbook.runtime.errors import Rejected
from infra.local.tokens import Tokens

CALLER, AUDIENCE = "pubsub-push@fillbook-local.iam.gserviceaccount.com", "https://worker"


class Request:
    def __init__(self, token: str) -> None:
        self.headers = {"Authorization": f"Bearer {token}"}


def verifier(tokens: Tokens) -> OidcVerifier:
    return OidcVerifier(AUDIENCE, [CALLER], Certificates("unused", lambda _url: tokens.certificates()))


def test_google_auth_takes_a_token_with_the_certificates_as_served(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    claims = jwt.decode(tokens.token(CALLER, AUDIENCE), certs=tokens.certificates(), audience=AUDIENCE)
    assert claims["email"] == CALLER
    assert claims["exp"] - claims["iat"] == 3600


def test_our_verifier_takes_it_and_names_the_caller(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    assert verifier(tokens).check(Request(tokens.token(CALLER, AUDIENCE))) == CALLER


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"aud": "https://other"}, 401),
        ({"iss": "https://evil"}, 401),
        ({"exp": 1_000_000_000}, 401),
        ({"email": "eve@x"}, 403),
        ({"email_verified": False}, 403),
    ],
)
def test_our_verifier_refuses_what_is_off(tmp_path: Path, claims: dict[str, object], status: int) -> None:
    tokens = Tokens(tmp_path)
    token = tokens.sign(email=CALLER, audience=AUDIENCE, issued=time.time(), claims=claims)
    with pytest.raises(Rejected) as refused:
        verifier(tokens).check(Request(token))
    assert refused.value.status == status


def test_a_token_of_another_desk_is_refused(tmp_path: Path) -> None:
    ours, theirs = Tokens(tmp_path / "a"), Tokens(tmp_path / "b")
    with pytest.raises(exceptions.MalformedError):
        jwt.decode(theirs.token(CALLER, AUDIENCE), certs=ours.certificates(), audience=AUDIENCE)


def test_the_key_is_made_once_kept_private_and_reused(tmp_path: Path) -> None:
    first = Tokens(tmp_path)
    assert Tokens(tmp_path).key_id == first.key_id
    assert (tmp_path / "oidc.key.pem").stat().st_mode & 0o777 == 0o600


def test_one_caller_and_audience_share_a_token(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    assert tokens.token(CALLER, AUDIENCE) is tokens.token(CALLER, AUDIENCE)
    assert tokens.token(CALLER, AUDIENCE) != tokens.token(CALLER, "https://other")
