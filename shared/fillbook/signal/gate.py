"""Entry paths E1..E7 and the entry gate G01..G16 (specification 4.1, 4.2).

A path says that an entry is wanted, the gate whether it is safe. The gate is always evaluated whole and every comparison is
kept: "why no trade?" must be answered for receipts that never came near one. Unknown values are compared as null and fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Final

from fillbook.signal.definitions import ACTIVE, cycle_key, is_beyond_stop, is_through
from fillbook.signal.model import Check, Desk, Receipt, new
from fillbook.signal.profile import Columns, Profile, RewardRisk
from fillbook.signal.reading import Reading
from fillbook.signal.sessions import MINUTE_MS, phase

COOLDOWN_RULE: Final = "G15"
# G01..G14 belong to a scale-in as well (A1); the cooldown and the cycle key of an add are A6 and A3.
ADD_RULES: Final = 14
_COLUMN_OF: Final[dict[str, Callable[[Columns | RewardRisk], Decimal]]] = {
    name: attrgetter(name) for name in ("base", "boosted", "elite")
}
_MONTHS: Final = "FGHJKMNQUVXZ"
_CONTINUOUS: Final = re.compile(r"\d!$")


def find_path(reading: Reading, receipt: Receipt, config: Profile) -> tuple[str | None, tuple[Check, ...]]:
    """The first entry path that matches, and all comparisons made up to it."""
    checks = []
    for check in _momentum_paths(reading, receipt, config) if reading.momentum else _setup_paths(reading, config):
        checks.append(check)
        if check.holds:
            return check.rule, tuple(checks)
    return None, tuple(checks)


def _momentum_paths(reading: Reading, receipt: Receipt, config: Profile) -> Iterator[Check]:
    paths, flags = config.paths, receipt.flags or ()
    corridor = _lacks("E1", "corridor", reading.corridor)
    yield corridor or _score("E1", reading, paths.corridor_score)
    yield _lacks("E2", "elite", reading.elite) or _score("E2", reading, paths.elite)
    assert receipt.htf_score is not None
    assert receipt.ltf_score is not None
    htf, ltf, strong = abs(receipt.htf_score), abs(receipt.ltf_score), paths.strong
    if htf < strong.htf:
        yield new(Check, ("E3", htf, ">=", strong.htf, False))
    elif ltf < strong.ltf:
        yield new(Check, ("E3", ltf, ">=", strong.ltf, False))
    else:
        yield _score("E3", reading, strong.score)
    for rule, fact, holds, limit in (
        ("E4", "sq30_release", reading.released, paths.squeeze),
        ("E5", "cross_or_dip", "ema_cross_1h_13_48" in flags or "buyable_dip_1h_13_48" in flags, paths.cross),
    ):
        yield _lacks(rule, "corridor", reading.corridor) or _lacks(rule, fact, holds) or _score(rule, reading, limit)


def _setup_paths(reading: Reading, config: Profile) -> Iterator[Check]:
    paths = config.paths
    flip = paths.flip.elite if reading.elite else paths.flip.score
    for rule, fact, holds, limit in (
        ("E6", "flip_watch", reading.flip_watch, flip),
        ("E7", "sq30_release", reading.released, paths.setup_squeeze),
    ):
        yield _lacks(rule, "corridor", reading.corridor) or _lacks(rule, fact, holds) or _score(rule, reading, limit)


def _lacks(rule: str, fact: str, holds: bool) -> Check | None:
    return None if holds else new(Check, (rule, False, fact, True, False))


def _score(rule: str, reading: Reading, limit: Decimal) -> Check:
    return new(Check, (rule, reading.score, ">=", limit, reading.score >= limit))


def evaluate(reading: Reading, receipt: Receipt, desk: Desk, config: Profile) -> tuple[Check, ...]:
    """All sixteen comparisons, in order."""
    entry, column = config.entry, _COLUMN_OF[reading.column]
    score, rr, completion, phase_pct = column(entry.score), column(entry.rr), column(entry.completion), column(entry.phase)
    late = reading.late and not reading.elite
    return (
        *_safety(reading, receipt, config),
        _timing("G06", _started(reading, receipt, config), config),
        _timing("G07", _fresh(reading, receipt, config), config),
        new(Check, ("G08", reading.status, "==", ACTIVE, reading.status == ACTIVE)),
        new(Check, ("G09", reading.regime_ok, "==", True, reading.regime_ok)),
        new(Check, ("G10", late, "==", False, not late)),
        new(Check, ("G11", reading.score, ">=", score, reading.score >= score)),
        new(Check, ("G12", reading.rr, ">=", rr, reading.rr is not None and reading.rr >= rr)),
        new(
            Check,
            ("G13", reading.completion, "<=", completion, reading.completion is not None and reading.completion <= completion),
        ),
        new(Check, ("G14", receipt.phase_pct, "<=", phase_pct, receipt.phase_pct is not None and receipt.phase_pct <= phase_pct)),
        _cooldown(receipt.ts, desk, config),
        _unused_cycle(reading, receipt, desk, config),
    )


def _safety(reading: Reading, receipt: Receipt, config: Profile) -> tuple[Check, ...]:
    sl, tp_max, price, long = receipt.sl, reading.tp_max, receipt.price, reading.long
    known = (
        "both" if sl is not None and tp_max is not None else "sl" if sl is not None else "tp_max" if tp_max is not None else None
    )
    wrong = []
    if sl is not None and is_beyond_stop(long, price, sl):
        wrong.append("sl")
    if tp_max is not None and is_through(long, price, tp_max):
        wrong.append("tp_max")
    tradable = is_tradable(receipt.ticker, config)
    session = phase(receipt.ts, config.trading)
    open_now = session == "regular" or config.session.entries == "any"
    return (
        new(Check, ("G01", receipt.ticker, "tradable", True, tradable)),
        new(Check, ("G02", session, "==", config.session.entries, open_now)),
        new(Check, ("G03", known, "==", "both", known == "both")),
        new(Check, ("G04", ",".join(wrong), "==", "", not wrong)),
        new(
            Check,
            (
                "G05",
                receipt.ltf_score,
                "corridor",
                tuple(config.corridor.long if long else config.corridor.short),
                reading.corridor,
            ),
        ),
    )


def _timing(rule: str, found: str | None, config: Profile) -> Check:
    """G06, G07: one of several reasons; the value is the one found, the limit names the minutes that decide."""
    entry = config.entry
    return new(Check, (rule, found, "any", (entry.fresh_min, entry.max_trigger_age_min, entry.from_setup_min), found is not None))


def _started(reading: Reading, receipt: Receipt, config: Profile) -> str | None:
    fresh_ms = config.entry.fresh_min * MINUTE_MS
    if _within(receipt.ts, reading.market.corridor_since, fresh_ms):
        return "corridor"
    if _within(receipt.ts, reading.market.momentum_since, fresh_ms):
        return "momentum"
    if reading.triggered:
        return "trigger"
    return "sq30_release" if reading.released else "flip_watch" if reading.flip_watch else None


def _fresh(reading: Reading, receipt: Receipt, config: Profile) -> str | None:
    market, entry = reading.market, config.entry
    setup_seen = market.setup_long if reading.long else market.setup_short
    if reading.momentum and _within(receipt.ts, setup_seen, entry.from_setup_min * MINUTE_MS):
        return "setup"
    if reading.triggered:
        return "trigger"
    if reading.flip_watch:
        return "flip_watch"
    return "corridor" if _within(receipt.ts, market.corridor_since, entry.fresh_min * MINUTE_MS) else None


def _within(ts: int, since: int | None, span_ms: int) -> bool:
    return since is not None and ts - since <= span_ms


def _cooldown(ts: int, desk: Desk, config: Profile) -> Check:
    """G15: the first of three waits that is not over; the value is whole minutes since its event."""
    entry = config.entry
    for since, minutes in (
        (desk.last_execution_ts, entry.cooldown_min),
        (desk.last_loss_ts, entry.cooldown_after_loss_min),
        (desk.last_entry_ts, entry.cooldown_after_entry_min),
    ):
        if since is not None and ts - since < minutes * MINUTE_MS:
            return new(Check, (COOLDOWN_RULE, (ts - since) // MINUTE_MS, ">=", minutes, False))
    waited = None if desk.last_execution_ts is None else (ts - desk.last_execution_ts) // MINUTE_MS
    return new(Check, (COOLDOWN_RULE, waited, ">=", entry.cooldown_min, True))


def _unused_cycle(reading: Reading, receipt: Receipt, desk: Desk, config: Profile) -> Check:
    key = cycle_key(receipt, reading.side, reading.market.corridor_since, config)
    return new(Check, ("G16", key, "unused", True, key not in desk.cycle_keys))


@lru_cache(maxsize=4096)
def _is_tradable(ticker: str, roots: tuple[str, ...], refused: tuple[str, ...]) -> bool:
    if ticker in refused or _CONTINUOUS.search(ticker):
        return False
    return not any(re.fullmatch(f"[{_MONTHS}]\\d{{1,4}}", ticker[len(root) :]) for root in roots if ticker.startswith(root))


def is_tradable(ticker: str, config: Profile) -> bool:
    """G01: neither a future (``ES1!``, ``ESH2026``; plain ``ES`` is a share) nor listed as not tradable."""
    return _is_tradable(ticker, config.instruments.futures_roots, config.instruments.not_tradable)
