"""Rates, keys, signatures and settings: closed while nothing is configured, whole seconds, and no key in any error."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from fillbook.runtime.config import ConfigError
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.rates import NAMES_MAX, Rate
from fillbook.snapshot import keys
from fillbook.snapshot.settings import SnapshotApiConfig

NOW = datetime(2026, 2, 11, tzinfo=UTC)
KEY = "a-key-nobody-repeats"


class Time:
    """Milliseconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.ms = 1_000

    def __call__(self) -> int:
        return self.ms


def refused_for(rate: Rate, name: str) -> int | None:
    """Seconds to wait; None when the call is let through."""
    try:
        rate.take(name)
    except Rejected as refusal:
        return refusal.retry_after_seconds
    return None


def test_a_bucket_lets_a_burst_through_and_then_as_many_as_are_refilled() -> None:
    time = Time()
    rate = Rate(120, 60, now_ms=time)
    assert [refused_for(rate, "a") for _ in range(61)] == [None] * 60 + [1]
    assert refused_for(rate, "b") is None, "each name has its own"
    with pytest.raises(Rejected, match="too_many_requests") as refused:
        rate.take("a")
    assert refused.value.status == 429
    time.ms += 499
    assert refused_for(rate, "a") == 1
    time.ms += 1
    assert [refused_for(rate, "a"), refused_for(rate, "a")] == [None, 1]
    time.ms += 60_000_000
    assert [refused_for(rate, "a") for _ in range(61)] == [None] * 60 + [1], "it is never fuller than full"


def test_a_refused_call_costs_nothing_and_the_wait_is_in_whole_seconds() -> None:
    time = Time()
    rate = Rate(12, 12, now_ms=time)
    assert [refused_for(rate, "a") for _ in range(14)] == [None] * 12 + [5, 5]
    time.ms += 4_001
    assert refused_for(rate, "a") == 1


def test_names_are_forgotten_from_the_least_recent_on() -> None:
    time = Time()
    rate = Rate(12, 1, now_ms=time)
    for number in range(NAMES_MAX + 1):
        rate.take(str(number))
    assert refused_for(rate, "1") == 5
    assert refused_for(rate, "0") is None


def listed(**changes: object) -> str:
    return json.dumps(
        [{"id": "reader", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "scopes": ["metrics:read"], **changes}]
    )


def test_a_key_reads_until_it_expires() -> None:
    known = keys.metrics_keys(listed(expires_at="2026-02-11T00:00:01Z"))
    assert keys.reader(f"Bearer {KEY}", known, NOW).id == "reader"
    with pytest.raises(Rejected, match="unauthorized"):
        keys.reader(f"Bearer {KEY}", known, NOW.replace(second=1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}x",
        "[1]",
        listed(sha256="00"),
        listed(scopes="metrics:read"),
        listed(expires_at="2026-02-11T00:00:00"),
        json.dumps([{"id": "x", "scopes": []}]),
    ],
)
def test_a_list_of_keys_that_is_none_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(ValueError, match="METRICS_KEYS is not a list of keys") as refused:
        keys.metrics_keys(text)
    assert "sha256" not in str(refused.value)


def test_without_tokens_and_keys_nobody_is_let_in() -> None:
    with pytest.raises(Unavailable):
        keys.check_token("anything", ())
    with pytest.raises(Unavailable):
        keys.reader("Bearer anything", (), NOW)


@pytest.mark.parametrize(
    ("presented", "status"), [(None, 401), ("   ", 401), ("wrong", 403), ("x" * 9_000, 403), ("\udcff", 403)]
)
def test_whoever_shows_no_or_a_wrong_token_is_told_which(presented: str | None, status: int) -> None:
    with pytest.raises(Rejected) as refused:
        keys.check_token(presented, ("right", "before"))
    assert refused.value.status == status


def test_a_signature_is_asked_for_only_where_there_is_a_secret() -> None:
    keys.check_signature(None, b"anything", None)
    for wrong in (None, "", "\udcff", "é"):
        with pytest.raises(Rejected, match="bad_signature"):
            keys.check_signature(wrong, b"anything", "secret")


@pytest.mark.parametrize(
    "origin", ["*", "null", "https://desk.example/", "https://*.example", "desk.example", "https://Desk.example"]
)
def test_an_origin_is_written_as_browsers_send_it(origin: str) -> None:
    given = {"FILLBOOK_ENV": "local", "FILLBOOK_DATABASE_URL": "postgresql://u@h/d", "CORS_ORIGINS": origin}
    with pytest.raises(ConfigError, match="CORS_ORIGINS"):
        SnapshotApiConfig.from_environment(given)
