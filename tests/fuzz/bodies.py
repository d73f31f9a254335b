"""What people, schedules and other functions ask for: the small JSON bodies of every route."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from fillbook.ibkr import payloads
from fillbook.ibkr.payloads import Defaults
from fillbook.mt5 import asked as mt5_asked
from fillbook.replay import asked as replay_asked
from fillbook.replay import jobs as replay_jobs
from fillbook.replay.settings import ReplayWorkerConfig
from fillbook.runtime.bodies import parse_json_object
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode
from fillbook.signal.receipt import instant
from fillbook.snapshot import asked as snapshot_asked
from fillbook.tracker import remarks
from tests.support.receipts import R_TS

NOW: Final = instant(R_TS + 60_000)
DEFAULTS: Final = Defaults(targets=(("127.0.0.1", 4002),), client_id=11, queries=("statement", "confirmation"))
REPLAY: Final = ReplayWorkerConfig(fillbook_env="local", fillbook_database_url="postgresql://nowhere", fillbook_project="p")
NAMES: Final = (
    " ".join(replay_asked.NAMES),
    " ".join(snapshot_asked.KEYS),
    " ".join(mt5_asked.KEYS | mt5_asked.REBUILD_KEYS),
    "job_type payload host port client_id lookback_days kind from_date to_date request_id trades.sync flex.request flex.fetch",
    "notes tags strategy is_hidden dates profiles tickers name mode incremental statement premarket maintenance scheduled",
)
_SEEDS: Final = (
    b'{"date":"2026-02-03","ticker":"AMD","limit":25,"offset":0,"cleanSlate":false}',
    b'{"date":"2026-02-03","after":"MXxBfDF8MDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAw","run":"x","session":"all"}',
    b'{"from":"2026-02-02","to":"2026-02-06","name":"a-range","mode":"incremental"}',
    b'{"dates":["2026-02-02"],"profiles":["tt-2026-02"],"tickers":["AMD","NVDA"]}',
    b'{"from":"2026-02-02","to":"2026-02-06","force":["empty"],"reason":"looked at","refresh":false}',
    b'{"account_id":"00000000-0000-4000-8000-000000000000","force":true,"wait":false}',
    b'{"cursor":"WyIwMDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDAiLDAsMV0","sync_type":"manual"}',
    b'{"server":"Meadow-Live","symbol":"EURGBP"}',
    b'{"job_type":"trades.sync","payload":{"lookback_days":3,"host":"127.0.0.1","port":4002}}',
    b'{"job_type":"flex.request","payload":{"kind":"statement","from_date":"2026-01-01","to_date":"2026-01-31"}}',
    b'{"notes":"seen","tags":["a","b"],"strategy":"x","is_hidden":true}',
    b'{"limit":"' + b"9" * 4_301 + b'"}',  # more digits than Python makes an integer of
    b"",
)
_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], object]]] = {
    "bucket": lambda body: replay_asked.asked({}, body, NOW),
    "runs": lambda body: replay_jobs._wanted(body, REPLAY, NOW),
    "publish": lambda body: snapshot_asked.asked(body, scheduled_at=None, actor="somebody", now=NOW),
    "job": lambda body: payloads.asked(body, DEFAULTS).dedupe_key,
    "notes": lambda body: encode(remarks.changes(body, remarks.OF_TRADE)),
}


def seeds() -> Iterable[bytes]:
    """One of each kind."""
    return _SEEDS


def check(body: bytes) -> str:
    """Read a body as every route does that takes a small one; each refuses it by name or understands it."""
    words = [_refusal_of(read, body) for read in (mt5_asked.read, mt5_asked.read_rebuild)]
    try:
        read = parse_json_object(body)
    except Rejected as refusal:
        assert {*words} == {refusal.reason}
        return refusal.reason
    words += [_refusal_of(reader, read) for reader in _READERS.values()]
    return " ".join(words)


def _refusal_of(read: Callable[[Any], object], given: object) -> str:
    try:
        read(given)
    except Rejected as refusal:
        assert refusal.reason.replace("_", "").isalnum(), refusal.reason
        return refusal.reason
    return "read"
