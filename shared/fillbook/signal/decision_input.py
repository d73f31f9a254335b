"""The decision input: a receipt's fields that the rules read, as one compact positional row of text.

Stored beside the body, so that a replay of sixty thousand receipts decodes a row of some 400 bytes instead of a body of
4 kB. The row starts with its schema version; another version is refused by name and the reader decodes the body
instead. Ids, ticker, ts and hash are columns of the same table row and are handed in. Levels follow after a line feed, as
packed as the core keeps them, because only an entry opens them. A property test proves that the row says exactly what
a fresh decode of the body says.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from fillbook.money import plain
from fillbook.signal.model import FLAG_NAMES, STATES, ZONES, Receipt, new

SCHEMA_VERSION: Final = 1

_FLAG_BITS: Final = {name: 1 << position for position, name in enumerate(FLAG_NAMES)}
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class OtherVersion(ValueError):
    """The row was written by another schema version: decode the body instead."""


def decision_input(receipt: Receipt) -> str:
    """Write the row of a receipt; its levels stand after the first line feed."""
    r = receipt
    row = [
        SCHEMA_VERSION,
        r.time_close,
        r.script_version,
        r.sector,
        plain(r.price),
        _text(r.htf_score),
        _text(r.ltf_score),
        None if r.state is None else STATES.index(r.state),
        _text(r.completion),
        _text(r.phase_pct),
        None if r.phase_zone is None else ZONES.index(r.phase_zone),
        r.trigger_ts,
        _text(r.trigger_price),
        r.trigger_reason,
        r.trigger_dir,
        *r.triggers,
        _text(r.sl),
        _text(r.target_high),
        _text(r.target_low),
        None if r.flags is None else sum(_FLAG_BITS[name] for name in r.flags),
        r.cloud_position,
        _text(r.cloud_upper),
        _text(r.cloud_lower),
        r.ichimoku_d,
        r.ichimoku_w,
        r.stack_sum,
        r.stack_count,
        r.divergence,
        _text(r.td_boost),
    ]
    return f"{_encode(row)}\n{r.levels or ''}"


def receipt_from_decision_input(text: str, *, receipt_id: str, payload_hash: str, ticker: str, ts: int) -> Receipt:
    """Read a row back, with what stands in the columns beside it; raises ``OtherVersion``."""
    head, _, levels = text.partition("\n")
    version, *row = json.loads(head)
    if version != SCHEMA_VERSION:
        raise OtherVersion(f"decision input of schema version {version}")
    (
        time_close, script_version, sector, price, htf, ltf, state, completion, phase, zone, trigger_ts, trigger_price,
        trigger_reason, trigger_dir, bull, bear, neutral, sl, high, low, flags, cloud, cloud_upper, cloud_lower,
        ichimoku_d, ichimoku_w, stack_sum, stack_count, divergence, td_boost,
    ) = row  # fmt: skip
    # By position, in the order of the fields: thirty names cost as much as ten numbers, and a replayed day has 60,000 rows.
    return new(
        Receipt,
        (
            receipt_id,
            payload_hash,
            ticker,
            ts,
            time_close,
            script_version,
            sector,
            Decimal(price),
            _number(htf),
            _number(ltf),
            None if state is None else STATES[state],
            _number(completion),
            _number(phase),
            None if zone is None else ZONES[zone],
            trigger_ts,
            _number(trigger_price),
            trigger_reason,
            trigger_dir,
            (bull, bear, neutral),
            _number(sl),
            _number(high),
            _number(low),
            levels or None,
            _flags(flags),
            cloud,
            _number(cloud_upper),
            _number(cloud_lower),
            ichimoku_d,
            ichimoku_w,
            stack_sum,
            stack_count,
            divergence,
            _number(td_boost),
        ),
    )


@lru_cache(maxsize=4096)
def _flags(bits: int | None) -> frozenset[str] | None:
    """The set of flags of a row; the same few bits come again and again, and one set then serves them all."""
    return None if bits is None else frozenset(name for name, bit in _FLAG_BITS.items() if bits & bit)


def _text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def _number(text: Any) -> Decimal | None:
    return None if text is None else Decimal(text)
