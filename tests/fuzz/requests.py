"""Bodies that are sent to us: the chart's, people's and schedules', a publisher's day."""

from __future__ import annotations

import json
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
from fillbook.signal import document, receipt
from fillbook.signal.decision_input import decision_input, receipt_from_decision_input
from fillbook.signal.receipt import instant
from fillbook.snapshot import asked as snapshot_asked
from fillbook.snapshot.document import encoded
from fillbook.snapshot.model import BadSnapshot
from fillbook.snapshot.normalizer import normalized, parsed
from fillbook.tracker import remarks
from tests.support.receipts import R_TS
from tests.support.snapshot_api import NOW as DAY_NOW
from tests.support.snapshot_api import day_document
from tests.support.webhook_api import SLUGS

NOW: Final = instant(R_TS + 60_000)
READ: Final = "read"

# --- the chart --------------------------------------------------------------------------------------------------------

WEBHOOK_SEEDS: Final = (
    b'{"ticker":"AMD","ts":1770131700000,"price":1.5}',
    b'{"ticker":"NASDAQ:BRK.B","ts":1770131700000,"price":1.5,"tp_levels":[,1,,NaN],"sl":NaN,"htf_score":na}',
    b'{"ticker":"A","ts":1770131700000,"price":1,"tp_levels":[{"price":2,"label":"x","confidence":0.5}],"flags":{"sq30_on":true}}',
    b'{"ticker":"A","ts":1770131700000,"price":1,"tf_tech":{"W":{"ema":{"stack":-2}}},"rsi":{"divergence":{"type":"bullish"}}}',
    b'{"token":"abc","ticker":"A","ts":1e12,"price":"1"}',
    b"[1,2",
)


def webhook(body: bytes) -> str:
    """Parse a body as the door does; what is accepted reads as itself from its canonical bytes and from its decision input."""
    try:
        accepted = receipt.parse(body, now=NOW)
    except Rejected as refusal:
        document.token_in_text(body)
        assert refusal.reason in SLUGS, refusal.reason
        return refusal.reason
    again = receipt.published(accepted.canonical)
    assert (again.receipt, again.canonical) == (accepted.receipt, accepted.canonical)
    fresh = accepted.receipt
    row = receipt_from_decision_input(
        decision_input(fresh), receipt_id=fresh.receipt_id, payload_hash=fresh.payload_hash, ticker=fresh.ticker, ts=fresh.ts
    )
    assert row == fresh
    return READ


# --- people, schedules, other functions -------------------------------------------------------------------------------

DEFAULTS: Final = Defaults(targets=(("127.0.0.1", 4002),), client_id=11, queries=("statement", "confirmation"))
REPLAY: Final = ReplayWorkerConfig(fillbook_env="local", fillbook_database_url="postgresql://nowhere", fillbook_project="p")
BODY_NAMES: Final = (
    " ".join(replay_asked.NAMES),
    " ".join(snapshot_asked.KEYS),
    " ".join(mt5_asked.KEYS | mt5_asked.REBUILD_KEYS),
    "job_type payload host port client_id lookback_days kind from_date to_date request_id trades.sync flex.request flex.fetch",
    "notes tags strategy is_hidden dates profiles tickers name mode incremental statement premarket maintenance scheduled",
)
BODY_SEEDS: Final = (
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


def bodies(body: bytes) -> str:
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
    return READ


# --- a published day --------------------------------------------------------------------------------------------------

SNAPSHOT_NAMES: Final = (
    "date updated_at headline summary source rows kpis overlay schema_version kpi_version stage watermark provenance",
    "content_sha256 kpi name label value val value_num valueNum kind value_kind unit sort_order missing_reason currency number",
    "percent final seriesByKpi extremes byKpi hi lo portfolioAssets t v src trade_id symbol contract_name rank metric_raw qty",
)


def snapshot_seeds() -> Iterable[bytes]:
    """A day in our own spelling, one in another, and what is nearly one."""
    day = day_document()
    yield json.dumps(day, ensure_ascii=False).encode()
    yield json.dumps({**day, "kpis": day["rows"], "rows": [], "overlay": {}}).encode()
    yield b'{"date":"2026-02-11","updated_at":"2026-02-11T21:00:04.512Z","rows":[{"name":"P","val":"$1","valueNum":"1.5"}]}'
    yield b'{"date":"2026-02-11","updated_at":1770843604512,"rows":[{"kpi":"P","value":"(1,234.50)","value_kind":"currency"}]}'
    yield b'{"date":"2026-02-11","overlay":{"series":{"P":[["2026-02-11T15:00:00Z",1],["2026-02-11T15:01:00Z",null]]}}}'


def snapshot(body: bytes) -> str:
    """Read a day as the receiver does; what is taken, written as our publisher writes it, is the very day again."""
    try:
        taken = normalized(parsed(body), now=DAY_NOW)
    except BadSnapshot as bad:
        assert bad.problem_count >= len(bad.problems) > 0
        encode([[one.path, one.code, one.message, one.value] for one in bad.problems])
        return bad.reason
    except Rejected as refusal:
        return refusal.reason
    again = normalized(parsed(encoded(taken.snapshot)), now=DAY_NOW)
    assert again.snapshot == taken.snapshot
    assert again.content_sha256 == taken.content_sha256 == again.claimed_hash
    return READ
