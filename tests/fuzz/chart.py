"""The chart's body, as the webhook's door reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fillbook.runtime.errors import Rejected
from fillbook.signal import document, receipt
from fillbook.signal.decision_input import decision_input, receipt_from_decision_input
from fillbook.signal.receipt import instant
from tests.support.receipts import R_TS, text_of
from tests.support.webhook_api import SLUGS

NOW: Final = instant(R_TS + 60_000)
NAMES: Final = ("ticker ts price time_close tp_levels flags tf_tech ema stack state phase_zone sl tp token",)
_SEEDS: Final = (
    b'{"ticker":"AMD","ts":1770131700000,"price":1.5}',
    b'{"ticker":"NASDAQ:BRK.B","ts":1770131700000,"price":1.5,"tp_levels":[,1,,NaN],"sl":NaN,"htf_score":na}',
    b'{"ticker":"A","ts":1770131700000,"price":1,"tp_levels":[{"price":2,"label":"x","confidence":0.5}],"flags":{"sq30_on":true}}',
    b'{"ticker":"A","ts":1770131700000,"price":1,"tf_tech":{"W":{"ema":{"stack":-2}}},"rsi":{"divergence":{"type":"bullish"}}}',
    b'{"token":"abc","ticker":"A","ts":1e12,"price":"1"}',
    b"[1,2",
)


def seeds() -> Iterable[bytes]:
    """The two receipts of the specification, and what is small, wrong or spelled oddly."""
    return [text_of("R").encode(), text_of("Q").encode(), *_SEEDS]


def check(body: bytes) -> str:
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
    return "read"
