"""Generated trading histories: seeded walks of receipts that enter, trim, add, flip, jump and stop out.

Ordinary random receipts would almost never pass sixteen gate rules, so the walk starts from R and Q and changes what the
rules look at, one thing at a time. Same seed, same receipts.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

from fillbook.signal.decode import receipt_of
from fillbook.signal.model import Receipt
from tests.support.receipts import MINUTE_MS, R_TS, body
from tests.support.signal_desk import mirrored

CENT = Decimal("0.01")
STEPS = (1, 1, 1, 1, 1, 1, 1, 1, 2, 5, 15, 31, 60, 240, 900)


def history(seed: int, length: int = 60, tickers: int = 1) -> list[Receipt]:
    """``length`` receipts in time order, spread over ``tickers`` invented tickers."""
    return list(_walk(Random(seed), length, tickers))


def _walk(random: Random, length: int, tickers: int) -> Iterator[Receipt]:
    ts = R_TS + random.randrange(-60, 300) * MINUTE_MS
    prices = {f"ZZT{number}": Decimal("100.40") for number in range(tickers)}
    sides = dict.fromkeys(prices, True)
    triggers = dict.fromkeys(prices, ts - 15 * MINUTE_MS)
    # Wide levels put the first target beyond the distance at which adds are allowed.
    widths = {ticker: random.choice((1, 1, 4)) for ticker in prices}
    for _ in range(length):
        ticker = random.choice(list(prices))
        ts += random.choice(STEPS) * MINUTE_MS
        if random.random() < 0.08:
            sides[ticker] = not sides[ticker]
        if random.random() < 0.3:
            triggers[ticker] = ts - random.randrange(0, 40) * MINUTE_MS
        prices[ticker] = _next_price(random, prices[ticker])
        yield _receipt(_document(random, ticker, ts, prices[ticker], sides[ticker], triggers[ticker], widths[ticker]))


def _receipt(document: dict[str, Any]) -> Receipt:
    """Ids are only names here; the canonical form and its hash would cost more than all rules together."""
    name = f"{document['ticker']}@{document['ts']}"
    return receipt_of(document, receipt_id=name, payload_hash=name)


@cache
def _base(long: bool) -> dict[str, Any]:
    return body() if long else mirrored()


def _next_price(random: Random, price: Decimal) -> Decimal:
    if random.random() < 0.03:
        return (price * random.choice((Decimal("0.7"), Decimal("1.4")))).quantize(CENT)
    step = Decimal(random.randrange(-180, 190)) / 10_000
    return max(CENT, (price * (1 + step)).quantize(CENT))


def _document(random: Random, ticker: str, ts: int, price: Decimal, long: bool, trigger_ts: int, width: int) -> dict[str, Any]:
    if random.random() < 0.05:
        return {"ticker": ticker, "ts": ts, "price": price}
    document = _base(long) | {"ticker": ticker, "ts": ts, "time_close": ts + MINUTE_MS, "trigger_ts": trigger_ts}
    start = document["price"]
    for name in ("tp", "sl", "trigger_price"):
        document[name] = start + (document[name] - start) * width
    document["tp_levels"] = [{**level, "price": start + (level["price"] - start) * width} for level in document["tp_levels"]]
    shift = price - start
    if random.random() < 0.6:
        # Levels move with the price, so that the gate can pass again; else they stay and the price runs into them.
        document["tp_levels"] = [{**level, "price": level["price"] + shift} for level in document["tp_levels"]]
        document |= {name: document[name] + shift for name in ("tp", "sl", "trigger_price")}
    document["price"] = price
    _disturb(random, document, long)
    positive = all(level["price"] > 0 for level in document["tp_levels"] or ())
    return (
        document if positive and (document["sl"] is None or document["sl"] > 0) else {"ticker": ticker, "ts": ts, "price": price}
    )


def _disturb(random: Random, document: dict[str, Any], long: bool) -> None:
    if random.random() < 0.35:
        document["state"] = f"HTF_{'BULL' if long else 'BEAR'}_LTF_PULLBACK"
        document["ltf_score"] = Decimal(random.randrange(-110, 120)) / 10
    if random.random() < 0.2:
        document["htf_score"] = (1 if long else -1) * Decimal(random.randrange(1, 500)) / 10
    if random.random() < 0.25:
        document["phase_pct"] = Decimal(random.randrange(0, 85)) / 100
    if random.random() < 0.15:
        document["daily_ema_cloud"] = {**document["daily_ema_cloud"], "position": "below" if long else "above"}
    if random.random() < 0.2:
        document["sl"] = document["price"] + (-1 if long else 1) * Decimal(random.randrange(20, 400)) / 100
    for name in ("sq30_release", "sq30_on", "momentum_elite", "buyable_dip_1h_13_48", "phase_zone_change"):
        if random.random() < 0.1:
            document["flags"] = {**(document["flags"] or {}), name: True}
    for name in ("sl", "tp_levels", "trigger_price", "trigger_reason", "trigger_ts", "phase_zone", "sector", "tf_tech", "flags"):
        if random.random() < 0.02:
            document[name] = None
