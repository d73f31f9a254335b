"""A receipt at the door: bytes of the chart's webhook become one checked, canonical, named receipt, or one reason why not.

``parse`` is the whole way for a body; ``validate`` is its second half, for a caller that has to look at the token in
between. ``from_canonical`` reads what was published or stored and asks nothing about its age: an old receipt is a fact.
Inside, no one checks again. It refuses to guess: numbers in quotes, unknown states, seconds for milliseconds.
Source: signals.md 1.2 and 1.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from fillbook.runtime.errors import Rejected
from fillbook.signal import decode, document, fields
from fillbook.signal.document import REPAIRS, Document
from fillbook.signal.model import Receipt
from fillbook.signal.payload import canonical_bytes, payload_hash, receipt_id
from fillbook.values import frozen

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_FROM: Final = 10**11
DAY_MS: Final = 86_400_000
BUCKET_MS: Final = 300_000

_MILLISECOND: Final = timedelta(milliseconds=1)
_TICKER: Final = re.compile(r"[A-Z0-9][A-Z0-9_!&-]{0,23}")


@frozen
class Limits:
    """What the door lets pass: age and lead of ``ts`` against now, and the repairs it may make."""

    ts_age_days_max: int = 7
    ts_future_seconds_max: int = 120
    repairs: tuple[str, ...] = REPAIRS


USUAL_LIMITS: Final = Limits()


@frozen
class ParsedReceipt:
    """One accepted body. ``canonical`` is what is published and stored; ``bucket`` is milliseconds UTC.

    ``day_change_percent`` is what the sender says of the day (``day_change_pct``, else ``change_pct``), for the board only.
    """

    receipt: Receipt
    canonical: bytes
    repairs: tuple[str, ...] = ()
    day_change_percent: Decimal | None = None

    @property
    def bucket(self) -> int:
        """Start of the 5-minute bucket of ``ts``."""
        return bucket_of(self.receipt.ts)


def parse(body: bytes, *, now: datetime, limits: Limits = USUAL_LIMITS) -> ParsedReceipt:
    """Parse and validate one body; raises ``Rejected`` with a slug of signals.md 1.2 and the field's name where there is one."""
    return validate(document.read(document.decode_text(body), limits.repairs), now=now, limits=limits)


def validate(parsed: Document, *, now: datetime, limits: Limits = USUAL_LIMITS) -> ParsedReceipt:
    """Check the fields of a parsed body against types, ranges and the desk's ``now``; raises ``Rejected`` as ``parse`` does."""
    accepted = _read(parsed.fields, canonical_bytes(parsed.fields), parsed.repairs)
    _check_age(accepted.receipt.ts, now, limits)
    return accepted


def from_canonical(canonical: bytes) -> Receipt:
    """Read a published or stored receipt; raises ``Rejected`` when it is not one (its age is not asked)."""
    return published(canonical).receipt


def published(canonical: bytes, repairs: tuple[str, ...] = ()) -> ParsedReceipt:
    """As ``from_canonical``, with the bytes and what the door noted beside them."""
    return _read(document.read(document.decode_text(canonical), ()).fields, canonical, repairs)


def bucket_of(ts: int) -> int:
    """Start of the 5-minute bucket of an instant, both milliseconds UTC."""
    return ts - ts % BUCKET_MS


def instant(ts: int) -> datetime:
    """Milliseconds UTC as an aware datetime."""
    return EPOCH + ts * _MILLISECOND


def milliseconds(moment: datetime) -> int:
    """An aware datetime as whole milliseconds UTC, rounded down."""
    return (moment - EPOCH) // _MILLISECOND


def normal_ticker(text: str) -> str:
    """Return the desk's form of a ticker: ``NYSE:brk.b`` is ``BRK-B``; ``Rejected('ticker_invalid')`` when it is none."""
    prefix, colon, name = text.strip().partition(":")
    ticker = (name if colon else prefix).replace(".", "-")
    ticker = ticker.upper() if ticker.isascii() else ""
    if _TICKER.fullmatch(ticker) is None:
        raise Rejected("ticker_invalid", field="ticker")
    return ticker


def _read(body: Mapping[str, Any], canonical: bytes, repairs: tuple[str, ...]) -> ParsedReceipt:
    checked = fields.check(body)
    ticker = normal_ticker(checked.ticker)
    ts = int(checked.ts)
    if ts < MILLISECONDS_FROM:
        raise Rejected("ts_not_milliseconds", field="ts")
    digest = payload_hash(canonical)
    normal = {**body, "ticker": ticker, "time_close": _time_close(checked.time_close, ts)}
    return ParsedReceipt(
        receipt=decode.receipt_of(normal, receipt_id=receipt_id(ticker, ts, digest), payload_hash=digest),
        canonical=canonical,
        repairs=repairs,
        day_change_percent=checked.change_pct if checked.day_change_pct is None else checked.day_change_pct,
    )


def _time_close(value: Decimal | None, ts: int) -> Decimal | None:
    """A close that is not within a day after the open says nothing; the bar then counts at its open."""
    return value if value is not None and ts < value <= ts + DAY_MS else None


def _check_age(ts: int, now: datetime, limits: Limits) -> None:
    age = now - instant(ts)
    if age > timedelta(days=limits.ts_age_days_max):
        raise Rejected("ts_too_old", field="ts")
    if -age > timedelta(seconds=limits.ts_future_seconds_max):
        raise Rejected("ts_future", field="ts")
