"""The stored forms of a state and of a plan: JSON with exact numbers, the same bytes for the same value, a state ≤ 8 kB.

The position is left out: the ledger holds it, and a copy would be a second truth. Keys are short words, numbers are plain
text, what is empty is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring as quote
from typing import Any, Final

from fillbook.money import plain
from fillbook.signal.model import EMPTY_STATE, Desk, Market, Plan, PositionFacts, Shown, TickerState, Tier

STATE_BYTES_MAX: Final = 8192
SCHEMA: Final = 1
_PLAIN_MARKET: Final = (
    "state",
    "momentum_since",
    "corridor",
    "corridor_since",
    "setup_long",
    "setup_short",
    "flip_long_until",
    "flip_short_until",
)
_PLAIN_DESK: Final = tuple(name for name in Desk._fields if name not in ("pending_exits", "cycle_keys", "split_factor"))
# Canonical order of the members around ``recent``, and of the shown lane.
_BEFORE_RECENT: Final = ("corridor", "corridor_since", "flip_long_until", "flip_short_until", "momentum_since")
_AFTER_RECENT: Final = ("setup_long", "setup_short", "state")
_SHOWN: Final = ("lane", "pending_count", "pending_lane", "reason", "since")
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_TIER_FIELDS: Final = tuple(field.name for field in fields(Tier))
_PLAN_NUMBERS: Final = frozenset({"entry", "stop", "anchor", "tp_max", "atr", "score", "rr", "confidence"})


def state_to_json(state: TickerState) -> dict[str, Any]:
    """JSON values of a state without its position; ``state_from_json`` reads them back to an equal state."""
    market, desk = state.market, state.desk
    return {
        "schema": SCHEMA,
        "version": state.version,
        "last_ts": state.last_ts,
        "last_price": _text(state.last_price),
        "price_pending": _text(state.price_pending),
        "badges": list(state.badges),
        "shown": _known(state.shown._asdict()),
        "market": _known({name: getattr(market, name) for name in _PLAIN_MARKET})
        | {
            "recent": [[ts, plain(htf), plain(ltf)] for ts, htf, ltf in market.recent],
            "buckets": [[ts, plain(htf)] for ts, htf in market.buckets],
        },
        "desk": _known({name: getattr(desk, name) for name in _PLAIN_DESK})
        | {
            "pending_exits": [list(item) for item in desk.pending_exits],
            "cycle_keys": list(desk.cycle_keys),
            "split_factor": plain(desk.split_factor),
        },
    }


def state_text(state: TickerState, memory: str | None = None) -> str:
    """``state_to_json`` as canonical text; ``memory`` is its ``memory_text`` where that is known already."""
    return f'{(memory or memory_text(state))[:-1]},"version":{state.version}}}'


def memory_text(state: TickerState) -> str:
    """What a state remembers, as canonical JSON text: all of it but the count of decisions.

    Written at once, keys in order: a replay keeps every ticker of a run at each bucket, and most of a state are the blends of
    four hours.
    """
    market, shown = state.market, state.shown
    badges = ",".join([f'"{badge}"' for badge in state.badges])
    buckets = ",".join([_bucket_text(item) for item in market.buckets])
    recent = ",".join([f'[{ts},"{plain(htf)}","{plain(ltf)}"]' for ts, htf, ltf in market.recent])
    seen = _members({name: getattr(market, name) for name in _BEFORE_RECENT})
    since = _members({name: getattr(market, name) for name in _AFTER_RECENT})
    board = _members({name: getattr(shown, name) for name in _SHOWN})
    last_ts = "null" if state.last_ts is None else state.last_ts
    observed = f'{{"buckets":[{buckets}],{seen}"recent":[{recent}],{since}'
    return (
        f'{{"badges":[{badges}],"desk":{_desk_text(state.desk)},"last_price":{_quoted(state.last_price)},"last_ts":{last_ts},'
        f'"market":{observed[:-1]}}},"price_pending":{_quoted(state.price_pending)},"schema":{SCHEMA},"shown":{{{board[:-1]}}}}}'
    )


@lru_cache(maxsize=16_384)
def _bucket_text(item: tuple[int, Decimal]) -> str:
    """One blend of the market's memory: it stays in it for four hours."""
    return f'[{item[0]},"{plain(item[1])}"]'


@lru_cache(maxsize=4_096)
def _desk_text(desk: Desk) -> str:
    """What the desk did with a ticker: it changes with a booking or a waiting exit, that is hardly ever."""
    values = {name: getattr(desk, name) for name in _PLAIN_DESK}
    values |= {
        "pending_exits": [list(item) for item in desk.pending_exits],
        "cycle_keys": list(desk.cycle_keys),
        "split_factor": plain(desk.split_factor),
    }
    return _compact(_known(values))


def _members(values: Mapping[str, Any]) -> str:
    """Those that are known, each with a comma behind it."""
    return "".join(
        [f'"{name}":{quote(value) if type(value) is str else value},' for name, value in values.items() if value is not None]
    )


def _quoted(number: Decimal | None) -> str:
    return "null" if number is None else f'"{plain(number)}"'


def state_from_json(document: Mapping[str, Any] | None, position: PositionFacts | None = None) -> TickerState:
    """The state of a stored document (``None``: a ticker never seen) with the ledger's position beside it."""
    if document is None:
        return EMPTY_STATE._replace(position=position)
    market, desk = dict(document["market"]), dict(document["desk"])
    return TickerState(
        version=document["version"],
        last_ts=document["last_ts"],
        last_price=_number(document["last_price"]),
        price_pending=_number(document["price_pending"]),
        badges=tuple(document["badges"]),
        shown=Shown(**document["shown"]),
        market=Market(
            recent=tuple((ts, Decimal(htf), Decimal(ltf)) for ts, htf, ltf in market.pop("recent")),
            buckets=tuple((ts, Decimal(htf)) for ts, htf in market.pop("buckets")),
            **market,
        ),
        desk=Desk(
            pending_exits=tuple((rule, count, since) for rule, count, since in desk.pop("pending_exits")),
            cycle_keys=tuple(desk.pop("cycle_keys")),
            split_factor=Decimal(desk.pop("split_factor")),
            **desk,
        ),
        position=position,
    )


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """JSON values of a plan, for the frozen column ``plans.plan``."""
    values = {field.name: getattr(plan, field.name) for field in fields(Plan)}
    tiers = [{name: _plain(getattr(tier, name)) for name in _TIER_FIELDS} for tier in plan.tiers]
    return {name: _plain(value) for name, value in values.items()} | {"tiers": tiers}


def plan_from_json(document: Mapping[str, Any]) -> Plan:
    """The plan of a stored document."""
    values = {name: _decimal(name, value) for name, value in document.items()}
    trim, exit_, runner = (
        Tier(name=tier["name"], cum=Decimal(tier["cum"]), price=Decimal(tier["price"]), source=tier["source"])
        for tier in document["tiers"]
    )
    return Plan(**(values | {"tiers": (trim, exit_, runner)}))


def _plain(value: Any) -> Any:
    return plain(value) if isinstance(value, Decimal) else value


def _decimal(name: str, value: Any) -> Any:
    return Decimal(value) if name in _PLAN_NUMBERS else value
