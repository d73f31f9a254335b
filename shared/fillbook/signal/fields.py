"""The typed fields of a receipt as they stand on the wire: strict types, ranges, enums.

Only what the rules read, and what names a bar, is checked; every other field may be anything within the general limits,
because the sender's script evolves. Text in quotes is no number, ``true`` is no number, an unknown ``state`` is refused
rather than guessed. Null and absent mean the same: not known. Source: the fields marked ● in signals.md 1.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from fillbook.runtime.errors import Rejected

REQUIRED: Final = ("ticker", "ts", "price")
PRICE_MAX: Final = Decimal(10_000_000)
SCORE_MAX: Final = Decimal(50)
LEVELS_MAX: Final = 64
VERSION_LENGTH_MAX: Final = 32


def _whole(value: Decimal) -> Decimal:
    if value != value.to_integral_value():
        raise PydanticCustomError("whole_number", "not a whole number")
    return value


Whole = Annotated[Decimal, AfterValidator(_whole)]
Positive = Annotated[Decimal, Field(gt=0)]
Price = Annotated[Decimal, Field(gt=0, le=PRICE_MAX)]
Score = Annotated[Decimal, Field(ge=-SCORE_MAX, le=SCORE_MAX)]
Share = Annotated[Decimal, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)


class Level(_Part):
    """One target level the sender knows of."""

    price: Positive | None = None
    label: str | None = None
    source: str | None = None
    type: str | None = None
    multiplier: Decimal | None = None
    timeframe: str | None = None
    confidence: Decimal | None = None


class Flags(_Part):
    """The fifteen yes-or-no readings of the script."""

    sq30_on: bool | None = None
    sq30_release: bool | None = None
    phase_dot: bool | None = None
    phase_zone_change: bool | None = None
    momentum_elite: bool | None = None
    ema_cross_1h_13_48: bool | None = None
    st_flip_1h: bool | None = None
    st_flip_30m: bool | None = None
    st_flip_10m: bool | None = None
    st_flip_3m: bool | None = None
    buyable_dip_1h_13_48: bool | None = None
    sq10_release: bool | None = None
    sq3_release: bool | None = None
    ema_cross_10m_13_48: bool | None = None
    ema_cross_3m_13_48: bool | None = None


class Cloud(_Part):
    """A moving-average cloud; ``position`` is above, inside or below."""

    upper: Decimal | None = None
    lower: Decimal | None = None
    price: Decimal | None = None
    position: str | None = None


class Ichimoku(_Part):
    """An Ichimoku reading."""

    tenkan: Decimal | None = None
    kijun: Decimal | None = None
    span_a: Decimal | None = None
    span_b: Decimal | None = None
    price: Decimal | None = None
    position: str | None = None


class Ema(_Part):
    """Of a time frame's averages only the signed stack is read."""

    stack: Decimal | None = None


class Frame(_Part):
    """One time frame of ``tf_tech``."""

    ema: Ema | None = None


class Frames(_Part):
    """The time frames of ``tf_tech`` that the score reads; others are kept unread."""

    week: Annotated[Frame | None, Field(alias="W")] = None
    day: Annotated[Frame | None, Field(alias="D")] = None
    four_hours: Annotated[Frame | None, Field(alias="4H")] = None
    hour: Annotated[Frame | None, Field(alias="1H")] = None
    half_hour: Annotated[Frame | None, Field(alias="30")] = None
    ten_minutes: Annotated[Frame | None, Field(alias="10")] = None


class Divergence(_Part):
    """``type`` is bullish, bearish or none."""

    type: str | None = None


class Rsi(_Part):
    """Of the oscillator only the divergence is read."""

    divergence: Divergence | None = None


class Sequential(_Part):
    """Of the sequential count only the boost is read."""

    boost: Decimal | None = None


State = Literal["HTF_BULL_LTF_BULL", "HTF_BEAR_LTF_BEAR", "HTF_BULL_LTF_PULLBACK", "HTF_BEAR_LTF_PULLBACK"]
Zone = Literal["LOW", "MEDIUM", "HIGH", "EXTREME"]


class Fields(_Part):
    """Every checked field of one body, by its wire name."""

    ticker: str
    ts: Whole
    price: Price
    time_close: Whole | None = None
    bar_index: Whole | None = None
    script_version: Annotated[str, Field(max_length=VERSION_LENGTH_MAX)] | None = None
    tf_hint: str | None = None
    prev_close: Decimal | None = None
    day_change: Decimal | None = None
    day_change_pct: Decimal | None = None
    change: Decimal | None = None
    change_pct: Decimal | None = None
    htf_score: Score | None = None
    ltf_score: Score | None = None
    state: State | None = None
    completion: Share | None = None
    phase_pct: Share | None = None
    phase_zone: Zone | None = None
    trigger_ts: Whole | None = None
    trigger_price: Positive | None = None
    trigger_reason: str | None = None
    trigger_dir: str | None = None
    trigger_tf: str | None = None
    triggers: list[str] | None = None
    sl: Positive | None = None
    tp: Positive | None = None
    tp_levels: Annotated[list[Level], Field(max_length=LEVELS_MAX)] | None = None
    flags: Flags | None = None
    daily_ema_cloud: Cloud | None = None
    fourh_ema_cloud: Cloud | None = None
    oneh_ema_cloud: Cloud | None = None
    ichimoku_d: Ichimoku | None = None
    ichimoku_w: Ichimoku | None = None
    tf_tech: Frames | None = None
    rsi: Rsi | None = None
    td_sequential: Sequential | None = None
    sector: str | None = None


_RANGE_ERRORS = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal", "string_too_long", "too_long"})


def check(fields: Mapping[str, Any]) -> Fields:
    """Check the typed fields of a parsed body.

    Raises ``Rejected`` with ``ticker_missing``, ``ts_missing``, ``price_missing``, ``type``, ``range`` or ``enum``, and the
    field's name (``tp_levels.0.price``).
    """
    for name in REQUIRED:
        if fields.get(name) is None:
            raise Rejected(f"{name}_missing", field=name)
    try:
        return Fields.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    kind = first["type"]
    if kind in _RANGE_ERRORS:
        reason = "range"
    elif kind == "literal_error" and isinstance(first["input"], str):
        reason = "enum"
    else:
        reason = "type"
    raise Rejected(reason, field=".".join(map(str, first["loc"])))
