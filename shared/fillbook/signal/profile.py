"""Strategy profiles: every number the rules use, as data with a digest.

A profile is a JSON file in ``profiles/``; its keys are exactly the fields below. An unknown key, a missing one or a value
of the wrong form fails at load and names the key: a threshold that silently fell back to a default would trade on a number
nobody chose. Source: specification ``signals`` 4.6. Names ending in ``_min``, ``_hours``, ``_pct`` are minutes, hours,
percent (2.0 = 2 %); other ratios are fractions.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from fillbook.calendar import NEW_YORK, CalendarError, TradingCalendar, calendar
from fillbook.money import NumberError, parse
from fillbook.signal.canonical import canonical, digest
from fillbook.values import frozen

TIER_NAMES: Final = ("TRIM", "EXIT", "RUNNER")
WINDOWS: Final = ("regular", "any")


class ProfileError(ValueError):
    """A profile that cannot be used; ``key`` is the path of the offending key (``entry.rr.cap``)."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


class Range(tuple[Decimal, Decimal]):
    """Two numbers, low then high, both ends included."""

    __slots__ = ()


@frozen
class SessionRules:
    """Calendar and the window (``regular`` or ``any``) of each kind of action."""

    calendar: str
    tz: str
    entries: str
    signal_exits: str
    target_hits: str
    stop_hits: str


@frozen
class Instruments:
    """What is not traded, and the step quantities are rounded down to."""

    futures_roots: tuple[str, ...]
    not_tradable: tuple[str, ...]
    quantity_step: Decimal


@frozen
class Corridor:
    """The ltf range that counts as the corridor, per side."""

    long: Range
    short: Range


@frozen
class Late:
    """From which phase, or in which zones, the daily move is late."""

    phase: Decimal
    zones: tuple[str, ...]


@frozen
class Strong:
    """E3: blends and score of a strong momentum."""

    htf: Decimal
    ltf: Decimal
    score: Decimal


@frozen
class FlipPath:
    """E6: score needed, and for an elite move."""

    score: Decimal
    elite: Decimal


@frozen
class Paths:
    """Scores of the entry paths E1..E7."""

    corridor_score: Decimal
    elite: Decimal
    strong: Strong
    squeeze: Decimal
    cross: Decimal
    flip: FlipPath
    setup_squeeze: Decimal


@frozen
class Columns:
    """One threshold of the gate in its three columns."""

    base: Decimal
    boosted: Decimal
    elite: Decimal


@frozen
class RewardRisk:
    """The rr threshold in its three columns, and the cap of rr itself."""

    base: Decimal
    boosted: Decimal
    elite: Decimal
    cap: Decimal


@frozen
class Entry:
    """Thresholds of the gate (4.2)."""

    score: Columns
    rr: RewardRisk
    completion: Columns
    phase: Columns
    max_trigger_age_min: int
    fresh_min: int
    from_setup_min: int
    cooldown_min: int
    cooldown_after_entry_min: int
    cooldown_after_loss_min: int


@frozen
class FlipWatch:
    """Points that start a flip watch, and how long it stays."""

    min: int
    sticky_min: int


@frozen
class Volatility:
    """Whose price scales the risk, the first (above, factor) that fits, and the age from which it is unknown."""

    ticker: str
    factors: tuple[Range, ...]
    max_age_hours: int


@frozen
class Size:
    """``confidence_notional``: between min and max by confidence; ``start_cash`` is the book's."""

    mode: str
    start_cash: Decimal
    min: Decimal
    max: Decimal


@frozen
class RiskSize(Size):
    """``risk_budget``: percent of equity at confidence 0 and 1, scaled by the volatility factor."""

    risk_pct: Range
    vix: Volatility


@frozen
class TierRule:
    """One tier: share of base_quantity closed when reached, band in ATR for a level, distance in ATR without one."""

    name: str
    cum: Decimal
    atr: Range
    fallback: Decimal


@frozen
class StopRules:
    """S1..S4: see 4.4."""

    be_at_pct: Decimal
    be_at_completion: Decimal
    trail_from_cum: Decimal
    trail_atr: Decimal
    keep_off_price_pct: Decimal
    min_step_pct: Decimal
    cooldown_min: int


@frozen
class ExitRules:
    """M2, M4, M5, G08 and the warnings; ``corridor_adverse_pct`` null: that case never exits."""

    max_adverse_pct: Decimal
    anchor_breach_pct: Decimal
    corridor_adverse_pct: Decimal | None
    warn_behind_pct: Decimal
    warn_adverse_pct: Decimal
    min_age_min: int
    confirm_receipts: int


@frozen
class TrimRules:
    """M6 (cooldown) and M7."""

    near: Decimal
    completion: Decimal
    phase_with_warning: Decimal
    require_profit: bool
    min_age_min: int
    cooldown_min: int


@frozen
class ScaleIn:
    """A2, A4, A6, A8."""

    max_adds: int
    min_gap_min: int
    min_favour_pct: Decimal
    min_favour_atr: Decimal
    max_notional_x: Decimal


@frozen
class Limits:
    """L1, L2, L3."""

    per_sector: int
    per_side: int
    entries_per_day: int


@frozen
class PriceGuard:
    """P0: the jump that needs confirmation, and how near the confirming price must be."""

    max_jump_pct: Decimal
    confirm_within_pct: Decimal


@frozen
class Hysteresis:
    """How many receipts running a lane must be computed before it is shown."""

    receipts: int


@frozen
class Rules:
    """The keys of a profile file."""

    version: str
    session: SessionRules
    instruments: Instruments
    corridor: Corridor
    late: Late
    paths: Paths
    entry: Entry
    flip_watch: FlipWatch
    just_flipped_min: int
    just_entered_min: int
    archive_hours: int
    size: Size
    tiers: tuple[TierRule, ...]
    stop: StopRules
    exit: ExitRules
    trim: TrimRules
    scale_in: ScaleIn
    limits: Limits
    price_guard: PriceGuard
    hysteresis: Hysteresis


@frozen
class Profile(Rules):
    """A loaded profile: its rules, its canonical text, the digest of that text, and its trading calendar."""

    text: str
    digest: str
    trading: TradingCalendar


@cache
def load(name: str) -> Profile:
    """The shipped profile ``name``; ``ProfileError`` when there is none or it does not load."""
    path = files("fillbook.signal").joinpath("profiles", f"{name}.json")
    if not path.is_file():
        raise ProfileError("strategy_profile", f"no profile {name!r}")
    return parse_profile(path.read_text("utf-8"))


def parse_profile(text: str) -> Profile:
    """Read a profile's JSON; ``ProfileError`` names the first key that is missing, unknown or unusable."""
    document = json.loads(text, parse_float=Decimal)
    rules = _build(Rules, document, "")
    _check(rules)
    try:
        trading = calendar(rules.session.calendar)
    except CalendarError as error:
        raise ProfileError("session.calendar", str(error)) from error
    values = {field.name: getattr(rules, field.name) for field in fields(Rules)}
    return Profile(**values, text=canonical(document), digest=digest(document), trading=trading)


def _build(kind: Any, document: Any, path: str) -> Any:
    if not isinstance(document, Mapping):
        raise ProfileError(path or "profile", "must be an object")
    if kind is Size and document.get("mode") == "risk_budget":
        kind = RiskSize
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for name in names:
        if name not in document:
            raise ProfileError(_join(path, name), "is missing")
    for name in document:
        if name not in names:
            raise ProfileError(_join(path, name), "is unknown")
    return kind(**{name: _value(hints[name], document[name], _join(path, name)) for name in names})


def _value(hint: Any, value: Any, path: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _value(get_args(hint)[0], value, path)
    if origin is tuple:
        return tuple(_value(get_args(hint)[0], item, path) for item in _list(value, path))
    if hint is Range:
        numbers = [_value(Decimal, item, path) for item in _list(value, path)]
        if len(numbers) != 2:
            raise ProfileError(path, "must be two numbers")
        return Range(numbers)
    if is_dataclass(hint):
        return _build(hint, value, path)
    if hint is Decimal:
        try:
            return parse(value)
        except NumberError as error:
            raise ProfileError(path, "must be a number") from error
    if type(value) is not hint:
        raise ProfileError(path, f"must be {hint.__name__}")
    return value


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise ProfileError(path, "must be a list")
    return value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _check(rules: Rules) -> None:
    """What types cannot say; the stops and trims of ``plan.py`` rely on tiers that lie one behind the other."""
    session, tiers = rules.session, rules.tiers
    problems = {
        "session.tz": session.tz != NEW_YORK.key,
        "size.mode": rules.size.mode not in ("confidence_notional", "risk_budget"),
        "size.min": not 0 < rules.size.min <= rules.size.max,
        "instruments.quantity_step": rules.instruments.quantity_step <= 0,
        "tiers": tuple(tier.name for tier in tiers) != TIER_NAMES,
        "hysteresis.receipts": rules.hysteresis.receipts < 1,
        "exit.confirm_receipts": rules.exit.confirm_receipts < 1,
        **{
            f"session.{name}": getattr(session, name) not in WINDOWS
            for name in ("entries", "signal_exits", "target_hits", "stop_hits")
        },
    }
    for key, is_wrong in problems.items():
        if is_wrong:
            raise ProfileError(key, "value cannot be used")
    edges = [edge for tier in tiers for edge in (tier.atr[0], tier.fallback, tier.atr[1])]
    shares = [tier.cum for tier in tiers]
    if edges != sorted(edges) or edges[0] <= 0:
        raise ProfileError("tiers.atr", "bands must lie one behind the other and hold their fallback")
    if shares != sorted(shares) or shares[0] <= 0 or shares[-1] != 1:
        raise ProfileError("tiers.cum", "shares must grow to 1")
