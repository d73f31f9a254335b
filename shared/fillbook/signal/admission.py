"""Admission L0..L4 and the size of an entry (specification 4.3): the only questions that look at the whole book.

``admit`` answers one intent with a quantity or with refusals. It never books, never asks the ledger and never rounds up:
facts come in, and what cannot be afforded is refused rather than made to fit below ``size.min``.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Final

from fillbook.money import CONTEXT, floor_to_step
from fillbook.signal.definitions import FOUR_PLACES, ONE, ZERO
from fillbook.signal.model import ADD, LONG, Admission, Block, Check, Facts, Intent
from fillbook.signal.profile import Profile, RiskSize
from fillbook.signal.sessions import HOUR_MS

# Weights of the confidence; the profile holds what a confidence buys, not how it is measured.
_SCORE: Final = (Decimal("0.55"), Decimal(60), Decimal(30))
_RR: Final = (Decimal("0.25"), Decimal(1), Decimal("1.5"))
_BLENDS: Final = (Decimal("0.20"), Decimal("0.6") / 60, Decimal("0.4"), Decimal(35))
_ELITE: Final = Decimal("0.08")
_SQUEEZE: Final = Decimal("0.04")
_PERCENT: Final = Decimal(100)


def confidence_of(*, score: Decimal, rr: Decimal, htf: Decimal, ltf: Decimal, elite: bool, squeeze: bool) -> Decimal:
    """Confidence 0..1 of an entry, 4 decimals; ``squeeze`` is sq30_on or sq30_release."""
    weight, floor, span = _SCORE
    total = weight * _clamp((score - floor) / span)
    weight, floor, span = _RR
    total += weight * _clamp((rr - floor) / span)
    weight, htf_factor, ltf_share, ltf_span = _BLENDS
    total += weight * _clamp(htf_factor * abs(htf) + ltf_share * abs(ltf) / ltf_span)
    total += (_ELITE if elite else ZERO) + (_SQUEEZE if squeeze else ZERO)
    return _clamp(total).quantize(FOUR_PLACES)


def admit(intent: Intent, facts: Facts | None, config: Profile) -> Admission:
    """Admit one intent under the book's facts as of its ts.

    Trim and exit only reduce risk: they are granted with their own quantity, and ``facts`` may be ``None``. Enter and add
    raise ``ValueError`` without facts. The switch L0 also stops adds, for with it off nothing may be opened.
    """
    if not intent.asks:
        return Admission(ordinal=intent.ordinal, quantity=intent.quantity)
    if facts is None:
        raise ValueError(f"{intent.kind} needs the book's facts")
    with localcontext(CONTEXT):
        equity, buying_power, in_sector = _after_flip(intent, facts)
        checks = [Check("L0", facts.book_executions, "==", True, facts.book_executions)]
        if intent.kind != ADD:
            checks += _limits(intent, facts, in_sector, config)
        checks.append(_at_least("L4", buying_power, config.size.min))
        notional = min(_notional(intent, facts, equity, config), buying_power)
        if intent.value_max is not None:
            checks.append(_at_least("A8", intent.value_max, config.size.min))
            notional = min(notional, intent.value_max)
        refusals = tuple(Block(check.rule, "limit", check.value, check.limit) for check in checks if not check.holds)
        quantity = floor_to_step(notional / intent.price, config.instruments.quantity_step)
        if not refusals and quantity <= 0:
            # A price above what the notional buys in one step: nothing can be bought for it.
            refusals = (Block("L4", "too_small", notional, config.instruments.quantity_step),)
        return Admission(
            ordinal=intent.ordinal,
            quantity=None if refusals else quantity,
            notional=None if refusals else notional,
            refusals=refusals,
            checks=tuple(checks),
            facts=facts,
        )


def volatility_factor(facts: Facts, ts: int, config: RiskSize) -> Decimal:
    """Risk factor of the volatility ticker's last price; 1 when it is unknown or older than the profile allows."""
    if facts.vix is None or facts.vix_ts is None or ts - facts.vix_ts > config.vix.max_age_hours * HOUR_MS:
        return ONE
    vix = facts.vix
    return next((factor for above, factor in config.vix.factors if vix > above), ONE)


def _limits(intent: Intent, facts: Facts, in_sector: int, config: Profile) -> list[Check]:
    limits = config.limits
    on_side = facts.open_long if intent.side == LONG else facts.open_short
    sector_free = intent.sector is None or in_sector < limits.per_sector
    return [
        Check("L1", in_sector if intent.sector is not None else None, "<", limits.per_sector, sector_free),
        Check("L2", on_side, "<", limits.per_side, on_side < limits.per_side),
        Check("L3", facts.entries_today, "<", limits.entries_per_day, facts.entries_today < limits.entries_per_day),
    ]


def _after_flip(intent: Intent, facts: Facts) -> tuple[Decimal, Decimal, int]:
    """Equity, buying power and sector count as the exit before this entry leaves them (a flip books EXIT, then ENTRY)."""
    freed = intent.freed
    if freed is None:
        return facts.equity, facts.buying_power, facts.open_in_sector
    same_sector = freed.sector is not None and freed.sector == intent.sector
    return (
        facts.equity + freed.realized,
        facts.buying_power + freed.realized + freed.cost_basis,
        facts.open_in_sector - same_sector,
    )


def _notional(intent: Intent, facts: Facts, equity: Decimal, config: Profile) -> Decimal:
    size = config.size
    assert intent.confidence is not None
    if not isinstance(size, RiskSize):
        return size.min + (size.max - size.min) * intent.confidence
    assert intent.sl is not None
    low, high = size.risk_pct
    budget = equity * (low + (high - low) * intent.confidence) / _PERCENT * volatility_factor(facts, intent.ts, size)
    return max(size.min, min(size.max, budget / abs(intent.price - intent.sl) * intent.price))


def _at_least(rule: str, value: Decimal, limit: Decimal) -> Check:
    return Check(rule, value, ">=", limit, value >= limit)


def _clamp(value: Decimal) -> Decimal:
    return max(ZERO, min(ONE, value))
