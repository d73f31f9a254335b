"""What may be asked about positions and their executions: list queries that were understood whole. Pure.

Where a filter can be meant in two ways: ``reason`` is that of any execution of a position, ``min_pnl`` and ``max_pnl`` bound
what it has realized (both ends included, positions of unknown P&L left out), ``outcome`` is that of closed ones, ``pending``
closed with an unknown result. Lanes are known as they are and not as they were, so that no other moment is filtered by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from uuid import UUID

from fillbook.money import MONEY_STEP, NumberError, parse
from fillbook.runtime.errors import Rejected
from fillbook.tracker import listing
from fillbook.tracker.listing import Common
from fillbook.tracker.model import choice, refused, single
from fillbook.tracker.parameter import Parameter, names
from fillbook.values import frozen

LIMIT_DEFAULT, LIMIT_MAX = 200, 1_000
TICKER_LENGTH_MAX, REASON_LENGTH_MAX, TAG_LENGTH_MAX = 32, 64, 40
STATUSES = ("all", "open", "closed")
DIRECTIONS = ("LONG", "SHORT")
OUTCOMES = ("win", "loss", "flat", "pending")
ACTION_TYPES = ("ENTRY", "ADD_ENTRY", "TRIM", "EXIT")
PARTS = frozenset({"lots", "actions"})
DETAIL_PARTS = frozenset({"history", "evidence"})
SOURCES = frozenset({"d1", "positions", "ledger"})
AMOUNT = r"^-?\d{1,20}(\.\d{1,8})?$"


def _text(name: str, length: int, purpose: str, examples: list[str]) -> Parameter:
    return Parameter(
        name=name, schema={"type": "string", "minLength": 1, "maxLength": length, "examples": examples}, purpose=purpose
    )


TICKER = _text("ticker", TICKER_LENGTH_MAX, "Of this ticker.", ["AMZN"])
LANE = _text("lane", REASON_LENGTH_MAX, "Whose ticker stands in this lane now.", ["hold", "trim"])
_FLAT = (
    TICKER,
    Parameter(name="direction", schema={"enum": list(DIRECTIONS)}, purpose="Which way it profits."),
    Parameter(name="status", schema={"enum": list(STATUSES)}, purpose="Open, closed or `all`, also when left out."),
    Parameter(name="outcome", schema={"enum": list(OUTCOMES)}, purpose="Result of a closed position; `pending`: not known."),
    _text("reason", REASON_LENGTH_MAX, "With an execution for this reason.", ["tp_hit"]),
    Parameter(name="min_pnl", schema={"type": "string", "pattern": AMOUNT}, purpose="Realized at least, in its currency."),
    Parameter(name="max_pnl", schema={"type": "string", "pattern": AMOUNT}, purpose="Realized at most, in its currency."),
    _text("tag", TAG_LENGTH_MAX, "With this tag of the user.", ["plan A"]),
    Parameter(name="source", schema={"enum": sorted(SOURCES)}, purpose="Accepted and ignored: there is one source."),
)
_INCLUDE = Parameter(
    name="include", schema={"enum": ["lots", "actions", "lots,actions"]}, purpose="Parts of each position to send along."
)
COMMON = listing.parameters(LIMIT_DEFAULT, LIMIT_MAX)
FLAT_TRADE_PARAMETERS = (*COMMON, *_FLAT, _INCLUDE)
TRADE_PARAMETERS = (*FLAT_TRADE_PARAMETERS, LANE)
ACTION_PARAMETERS = (
    *COMMON,
    TICKER,
    Parameter(name="action_type", schema={"enum": list(ACTION_TYPES)}, purpose="What it did to its position."),
    Parameter(name="position_id", schema={"type": "string", "format": "uuid"}, purpose="Of this position."),
)
DETAIL_PARAMETERS = (
    listing.BOOKS,
    *listing.CLOCKS,
    Parameter(
        name="include",
        schema={"enum": ["history", "evidence", "history,evidence"]},
        purpose="Every version of its actions; the fills behind them with the broker's own ids.",
    ),
)
TRADE_ID = Parameter(
    name="trade_id",
    schema={"type": "string", "examples": ["0d6fd3a6-2f6b-5a53-9a4a-7f0c4f5a2b11", "2207613190529041"]},
    purpose="A position's id, or the integer that a published snapshot names it by.",
)


@frozen
class TradeQuery:
    """Which positions of the common range and books, with which parts; ``only``: this one, wherever it stands."""

    common: Common
    ticker: str | None = None
    direction: str | None = None
    status: str = "all"
    outcome: str | None = None
    reason: str | None = None
    min_pnl: Decimal | None = None
    max_pnl: Decimal | None = None
    lane: str | None = None
    tag: str | None = None
    only: UUID | None = None
    parts: frozenset[str] = frozenset()


@frozen
class ActionQuery:
    """Which executions of the common range and books."""

    common: Common
    ticker: str | None
    action_type: str | None
    position_id: UUID | None


@frozen
class DetailQuery:
    """Which parts of one position; its books and clocks are the common ones."""

    common: Common
    parts: frozenset[str]


def trade_query(given: Mapping[str, list[str]], *, parameters: tuple[Parameter, ...] = TRADE_PARAMETERS) -> TradeQuery:
    """Understand the parameters of a list of trades, or raise ``Rejected('parameter_invalid')`` naming the one that is wrong."""
    one = single(given, names(parameters))
    if one.get("source", "d1") not in SOURCES:
        raise refused("source")
    least, most = _amount(one, "min_pnl"), _amount(one, "max_pnl")
    if least is not None and most is not None and least > most:
        raise refused("max_pnl")
    asked = listing.read(one, "trades", LIMIT_DEFAULT, LIMIT_MAX)
    lane = _printable(one, "lane", REASON_LENGTH_MAX)
    if lane is not None and asked.is_past:
        raise Rejected("parameter_invalid", "lanes are known as they are, not as they were", field="lane")
    return TradeQuery(
        common=asked,
        ticker=_printable(one, "ticker", TICKER_LENGTH_MAX),
        direction=choice(one, "direction", DIRECTIONS),
        status=choice(one, "status", STATUSES) or "all",
        outcome=choice(one, "outcome", OUTCOMES),
        reason=_printable(one, "reason", REASON_LENGTH_MAX),
        min_pnl=least,
        max_pnl=most,
        lane=lane,
        tag=_printable(one, "tag", TAG_LENGTH_MAX),
        parts=_parts(one, PARTS),
    )


def action_query(given: Mapping[str, list[str]], *, parameters: tuple[Parameter, ...] = ACTION_PARAMETERS) -> ActionQuery:
    """Understand the parameters of a list of executions; raises as ``trade_query``."""
    one = single(given, names(parameters))
    return ActionQuery(
        common=listing.read(one, "actions", LIMIT_DEFAULT, LIMIT_MAX),
        ticker=_printable(one, "ticker", TICKER_LENGTH_MAX),
        action_type=choice(one, "action_type", ACTION_TYPES),
        position_id=_uuid(one, "position_id"),
    )


def detail_query(given: Mapping[str, list[str]]) -> DetailQuery:
    """Understand the parameters of one trade; it is looked for in all books of the key unless they are named."""
    one = single(given, names(DETAIL_PARAMETERS))
    return DetailQuery(
        common=listing.read({"books": "all", **one}, "trade", LIMIT_DEFAULT, LIMIT_MAX), parts=_parts(one, DETAIL_PARTS)
    )


def _parts(one: Mapping[str, str], known: frozenset[str]) -> frozenset[str]:
    parts = frozenset(filter(None, one.get("include", "").split(",")))
    if not parts <= known:
        raise refused("include")
    return parts


def _printable(one: Mapping[str, str], name: str, length: int) -> str | None:
    text = one.get(name)
    if text is not None and not (0 < len(text) <= length and text.isprintable()):
        raise refused(name)
    return text


def _amount(one: Mapping[str, str], name: str) -> Decimal | None:
    text = one.get(name)
    if text is None:
        return None
    try:
        amount = parse(text)
    except NumberError:
        raise refused(name) from None
    if amount.adjusted() >= 20 or amount != amount.quantize(MONEY_STEP):
        raise refused(name)
    return amount


def _uuid(one: Mapping[str, str], name: str) -> UUID | None:
    text = one.get(name)
    if text is None:
        return None
    try:
        return UUID(text) if len(text) == 36 else _not_an_id()
    except ValueError:
        raise refused(name) from None


def _not_an_id() -> UUID:
    raise ValueError("not an id")
