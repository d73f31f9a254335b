"""The door: who may enter, what is read of whom, what is told, and that no token ever leaves it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.signal.ingest import ADDRESSES_MAX, REFUSALS_MAX, Guard, masked_body
from fillbook.signal.receipt import instant
from tests.support.doors import OTHER_TOKEN, TOKEN, Entrance
from tests.support.receipts import R_HASH, R_TS, body, encoded, text_of

NOW = instant(R_TS + 60_000)
R = text_of("R").encode()


@pytest.fixture
def entrance() -> Entrance:
    return Entrance(NOW)


def with_token(token: object) -> bytes:
    return encoded(body("R", token=token))


def test_the_token_is_taken_from_header_key_header_path_query_or_body(entrance: Entrance) -> None:
    """Scenario 1."""
    replies = [
        entrance.post(R),
        entrance.post(R, authorization=None, key_header=OTHER_TOKEN),
        entrance.post(R, authorization=None, path_token=TOKEN),
        entrance.post(R, authorization=None, query_token=TOKEN),
        entrance.post(with_token(TOKEN), authorization=None),
    ]
    assert [reply.status for reply in replies] == [202] * 5
    assert len({reply.document["receiptId"] for reply in replies}) == 1
    assert replies[0].document == {
        "ok": True,
        "ticker": "ZZTA",
        "receiptId": replies[0].document["receiptId"],
        "ts": R_TS,
        "bucket": R_TS,
        "repairs": [],
    }
    for message in entrance.messages.signals:
        assert message.ordering_key == "ZZTA"
        assert message.attributes["schema"] == "receipt.v1"
        assert message.attributes["receipt_id"] == replies[0].document["receiptId"]
        assert message.attributes["ts"] == str(R_TS)
        assert message.attributes["script_version"] == "2.5.0"
        assert message.attributes["received_at"] == NOW.isoformat()
        assert message.attributes["repairs"] == ""
        assert b"token" not in message.data
        assert TOKEN.encode() not in message.data
    from hashlib import sha256

    assert {sha256(message.data).hexdigest() for message in entrance.messages.signals} == {R_HASH}


def test_the_first_token_present_counts(entrance: Entrance) -> None:
    """Scenario 2: a right header wins over a wrong body, a wrong header over a right body."""
    assert entrance.post(with_token("wrong")).status == 202
    assert entrance.post(with_token(TOKEN), authorization="Bearer wrong").status == 401
    assert entrance.post(R, authorization="Bearer wrong", query_token=TOKEN).status == 401
    assert entrance.post(R, authorization=None, key_header="wrong", path_token=TOKEN).status == 401


def test_without_a_right_token_nothing_is_stored(entrance: Entrance) -> None:
    for reply in (
        entrance.post(R, authorization=None),
        entrance.post(R, authorization="Bearer wrong"),
        entrance.post(R, authorization="Basic " + TOKEN),
        entrance.post(with_token("wrong"), authorization=None),
        entrance.post(with_token(7), authorization=None),
        entrance.post(with_token(None), authorization=None),
        entrance.post(with_token(""), authorization=None),
        entrance.post(b"not json", authorization=None),
        entrance.post(b"", authorization=None),
    ):
        assert (reply.status, reply.document) == (401, {"ok": False, "reason": "unauthorized"})
    assert entrance.messages.topics == {}


def test_without_a_configured_token_nobody_enters_and_nothing_is_read() -> None:
    """Scenario 2: fail closed, before parsing."""
    entrance = Entrance(NOW, tokens=())
    reply = entrance.post(R)
    assert (reply.status, dict(reply.headers)) == (503, {"Retry-After": "5"})
    assert entrance.reads == 0


def test_after_twenty_refusals_in_a_minute_the_body_is_not_read(entrance: Entrance) -> None:
    for _ in range(REFUSALS_MAX):
        assert entrance.post(R, authorization=None, address="noisy").status == 401
    assert entrance.reads == REFUSALS_MAX
    assert entrance.post(with_token(TOKEN), authorization=None, address="noisy").status == 401
    assert entrance.post(R, authorization="Bearer wrong", address="noisy").status == 401
    assert entrance.reads == REFUSALS_MAX
    assert entrance.post(R, address="noisy").status == 202, "a right token outside the body still enters"
    assert entrance.post(with_token(TOKEN), authorization=None, address="quiet").status == 202
    entrance.clock.step(61)
    assert entrance.post(with_token(TOKEN), authorization=None, address="noisy").status == 202


def test_the_guard_forgets_the_oldest_addresses() -> None:
    guard = Guard([TOKEN])
    for number in range(ADDRESSES_MAX + 5):
        guard.refuse(f"address {number}", NOW + timedelta(milliseconds=number))
    assert len(guard._refusals) == ADDRESSES_MAX
    assert "address 0" not in guard._refusals


def test_a_body_of_65536_bytes_enters_and_one_more_does_not(entrance: Entrance) -> None:
    """Scenario 3; the shell's reading itself is tested with the function."""
    assert entrance.post(R + b" " * (65_536 - len(R))).status == 202
    with pytest.raises(Rejected, match="body_too_large"):
        entrance.post(R + b" " * (65_537 - len(R)))


def test_a_body_that_cannot_be_parsed_is_authenticated_by_the_token_it_shows(entrance: Entrance) -> None:
    """Scenario 5: cut in the middle, twice; the token is masked in what is kept."""
    cut = b'{"token":"' + TOKEN.encode() + b'",' + R[1:1500]
    for _ in range(2):
        assert entrance.post(cut, authorization=None).document == {"ok": False, "reason": "json_invalid"}
    first, second = entrance.messages.quarantined
    assert first.data == second.data == b'{"token":"***",' + R[1:1500]
    assert entrance.post(cut.replace(TOKEN.encode(), b"wrong"), authorization=None).status == 401


def test_a_refused_body_is_kept_without_any_token(entrance: Entrance) -> None:
    sent = body("R", token="some other secret", price=None, reasons=[f"see {OTHER_TOKEN}"], note=f"x{TOKEN}x")
    reply = entrance.post(encoded(sent))
    assert reply.document == {"ok": False, "reason": "price_missing", "field": "price"}
    [kept] = entrance.messages.quarantined
    assert kept.attributes == {"reason": "price_missing", "field": "price", "received_at": NOW.isoformat(), "ticker": "ZZTA"}
    for secret in (TOKEN, OTHER_TOKEN, "some other secret"):
        assert secret.encode() not in kept.data
    assert json.loads(kept.data)["token"] == "***"


def test_a_token_with_a_slash_is_masked_however_json_writes_it() -> None:
    token = 'to/ken"é'
    for form in ('"a":"to/ken\\"\\u00e9"', '"a":"to\\/ken\\"\\u00e9"', 'to/ken"é'):
        assert b"ken" not in masked_body(form.encode(), [token])


def test_what_is_kept_of_a_body_never_grows_beyond_the_limit() -> None:
    assert len(masked_body(b'{"token":"","a":"' + b"x" * 65_519, ["unused"])) == 65_536


@pytest.mark.parametrize("failure", [Unavailable("pubsub_unavailable"), Rejected("publish_refused", status=502)])
def test_when_the_message_cannot_be_published_the_sender_tries_again(entrance: Entrance, failure: Exception) -> None:
    """Scenario 8."""
    entrance.messages.failure = failure  # type: ignore[assignment]
    reply = entrance.post(R)
    assert (reply.status, reply.document, dict(reply.headers)) == (
        503,
        {"ok": False, "reason": "publish_failed"},
        {"Retry-After": "5"},
    )
    assert entrance.messages.timeouts == [2]
    entrance.messages.failure = None
    assert entrance.post(R).status == 202
    assert len(entrance.messages.signals) == 1


def test_failing_to_keep_a_refused_body_changes_nothing_for_the_sender(entrance: Entrance) -> None:
    entrance.messages.failure = Unavailable("pubsub_unavailable")
    assert entrance.post(encoded(body("R", price=None))).status == 400


def test_a_bug_is_no_answer_of_the_door(entrance: Entrance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance.messages, "publish", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        entrance.post(R)


def test_a_heartbeat_is_answered_and_goes_nowhere(entrance: Entrance, capsys: pytest.CaptureFixture[str]) -> None:
    """Scenario 7."""
    reply = entrance.post(encoded({"debug": "HEARTBEAT", "ticker": "nyse:zzta", "token": TOKEN}), authorization=None)
    assert reply.status == 202
    assert reply.document == {"ok": True, "ticker": "ZZTA", "receiptId": None, "ts": None, "bucket": None, "repairs": []}
    assert entrance.messages.topics == {}
    assert "heartbeat_received" in capsys.readouterr().out
    assert entrance.post(b'{"debug":"HEARTBEAT"}', authorization=None).status == 401


def test_no_token_stands_in_any_log_line(entrance: Entrance, capsys: pytest.CaptureFixture[str]) -> None:
    entrance.post(with_token(TOKEN), authorization=None)
    entrance.post(R, authorization=None, path_token=OTHER_TOKEN)
    entrance.post(encoded(body("R", token=TOKEN, price=None)), authorization=None)
    entrance.post(R, authorization="Bearer not-a-token-of-ours")
    entrance.messages.failure = Unavailable("pubsub_unavailable")
    entrance.post(with_token(TOKEN), authorization=None)
    said = capsys.readouterr().out
    assert "receipt_accepted" in said
    for secret in (TOKEN, OTHER_TOKEN, "not-a-token-of-ours"):
        assert secret not in said
        assert secret not in repr(entrance.door._settings)
