"""From a parsed receipt document to the ``Receipt`` that the rules read: the one place where fields are reduced.

The document is the canonical JSON of a stored receipt with numbers as ``Decimal`` or ``int``, already validated at the
door (``receipt.py``). This module checks nothing again and refuses nothing; null, absent and empty are one thing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from fillbook.signal.levels import pack
from fillbook.signal.model import FLAG_NAMES, Receipt

UNKNOWN_SCRIPT = "unknown"
_BULL = ("_BULL", "_LONG")
_BEAR = ("_BEAR", "_SHORT")
_STACKS = ("W", "D", "4H", "1H", "30", "10")


def receipt_of(document: Mapping[str, Any], *, receipt_id: str, payload_hash: str) -> Receipt:
    """Build the ``Receipt`` of a canonical document; unknown fields are ignored (the script evolves)."""
    get = document.get
    levels = get("tp_levels") or ()
    high, low = target_range(get("tp"), levels)
    cloud = get("daily_ema_cloud") or {}
    stack_sum, stack_count = stack_signs(get("tf_tech"))
    return Receipt(
        receipt_id=receipt_id,
        payload_hash=payload_hash,
        ticker=document["ticker"],
        ts=int(document["ts"]),
        time_close=_integer(get("time_close")),
        script_version=get("script_version") or UNKNOWN_SCRIPT,
        sector=get("sector") or None,
        price=_decimal(document["price"]),
        htf_score=_number(get("htf_score")),
        ltf_score=_number(get("ltf_score")),
        state=get("state") or None,
        completion=_number(get("completion")),
        phase_pct=_number(get("phase_pct")),
        phase_zone=get("phase_zone") or None,
        trigger_ts=_integer(get("trigger_ts")),
        trigger_price=_number(get("trigger_price")),
        trigger_reason=get("trigger_reason") or None,
        trigger_dir=get("trigger_dir") or None,
        triggers=trigger_counts(get("triggers")),
        sl=_number(get("sl")),
        target_high=high,
        target_low=low,
        levels=pack(levels),
        flags=flag_names(get("flags")),
        cloud_position=cloud.get("position") or None,
        cloud_upper=_number(cloud.get("upper")),
        cloud_lower=_number(cloud.get("lower")),
        ichimoku_d=(get("ichimoku_d") or {}).get("position") or None,
        ichimoku_w=(get("ichimoku_w") or {}).get("position") or None,
        stack_sum=stack_sum,
        stack_count=stack_count,
        divergence=((get("rsi") or {}).get("divergence") or {}).get("type") or None,
        td_boost=_number((get("td_sequential") or {}).get("boost")),
    )


def trigger_counts(triggers: Sequence[Any] | None) -> tuple[int, int, int]:
    """How many of this bar's triggers are bullish, bearish, neutral, by their suffix (specification 1.3)."""
    texts = [text for text in triggers or () if isinstance(text, str)]
    bull = sum(text.endswith(_BULL) for text in texts)
    bear = sum(text.endswith(_BEAR) for text in texts)
    return bull, bear, len(texts) - bull - bear


def stack_signs(tf_tech: Mapping[str, Any] | None) -> tuple[int, int]:
    """Sum of the signs of ``ema.stack`` over the six time frames, and how many of them are known."""
    total = count = 0
    for name in _STACKS:
        frame = (tf_tech or {}).get(name) or {}
        stack = (frame.get("ema") or {}).get("stack")
        if isinstance(stack, Decimal | int):
            total += (stack > 0) - (stack < 0)
            count += 1
    return total, count


def target_range(tp: Decimal | int | None, levels: Sequence[Mapping[str, Any]]) -> tuple[Decimal | None, Decimal | None]:
    """Highest and lowest price of ``tp`` and all levels: tp_max of a LONG and of a SHORT (specification 3.2)."""
    prices = [Decimal(level["price"]) for level in levels if level.get("price") is not None]
    if tp is not None:
        prices.append(Decimal(tp))
    return (max(prices), min(prices)) if prices else (None, None)


def flag_names(flags: Mapping[str, Any] | None) -> frozenset[str] | None:
    """The names of the sender's flags that are true; ``None`` when no flags were sent."""
    return frozenset(name for name in FLAG_NAMES if flags.get(name) is True) if flags else None


def _decimal(value: Decimal | int) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(value)


def _number(value: Decimal | int | None) -> Decimal | None:
    return None if value is None else _decimal(value)


def _integer(value: Decimal | int | None) -> int | None:
    return None if value is None else int(value)
