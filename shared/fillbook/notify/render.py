"""From a stored execution to the message: pure, so the same row always gives the same bytes.

Field names equal the columns of ``ledger.v_actions`` and values are the stored decimals as text; the reconciliation
renders the ledger's row with the same function and compares. Nothing is rounded, summed or looked up here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from fillbook.money import NumberError, parse
from fillbook.notify.execution import Execution, LotPart, Telling
from fillbook.notify.fit import fit
from fillbook.notify.model import Embed, Field
from fillbook.notify.text import UNKNOWN, amount, cut, escape, instant, number, signed, wall_time, with_currency
from fillbook.notify.wording import Color, marked, reason_words, title_and_color, verb
from fillbook.values import frozen

LOTS_SHOWN_MAX = 8
CHANGES_SHOWN_MAX = 10
CHANGE_UNITS_MAX = 80
STRIKE_UNITS = 4
"""What ``~~`` on both sides adds to a struck value."""

SACRIFICE = ("description", "lots", "reason", "corrected", "cause")
"""What may be cut when a message is too long, first first; identity and money never."""


@frozen
class Style:
    """What rendering needs besides the row: the time zone of the sentence for people."""

    zone: ZoneInfo


Value = Callable[[Execution], str]


def _money(value: Value) -> Value:
    return lambda execution: with_currency(value(execution), execution.currency)


def _closing(execution: Execution) -> bool:
    return execution.is_closing


def _always(_: Execution) -> bool:
    return True


def _lot_line(part: LotPart) -> str:
    return f"{number(part.quantity)} @ {amount(part.price)} → {signed(part.realized_pnl)}"


def _lots(execution: Execution) -> str:
    lines = [_lot_line(part) for part in execution.lots[:LOTS_SHOWN_MAX]]
    if execution.lot_count > len(lines):
        lines.append(f"+{execution.lot_count - len(lines)} more")
    return "\n".join(lines)


def _reason(execution: Execution) -> str:
    words = reason_words(execution)
    return UNKNOWN if words is None else escape(words[0]) or UNKNOWN


# (column, whether it is shown, its text, whether the text stands in one line with others)
_FIELDS: tuple[tuple[str, Callable[[Execution], bool], Value, bool], ...] = (
    ("action_type", _always, lambda e: e.action_type, True),
    ("ticker", _always, lambda e: escape(e.ticker) or UNKNOWN, True),
    ("direction", _always, lambda e: e.direction, True),
    ("executed_at", _always, lambda e: instant(e.executed_at), True),
    ("quantity", _always, lambda e: number(e.quantity), True),
    ("price", _always, lambda e: amount(e.price), True),
    ("value", _always, _money(lambda e: amount(e.value)), True),
    ("fees", _always, _money(lambda e: amount(e.fees)), True),
    ("realized_pnl", _closing, _money(lambda e: signed(e.realized_pnl)), True),
    ("position_quantity_after", _always, lambda e: number(e.position_quantity_after), True),
    ("position_vwap_after", _always, lambda e: amount(e.position_vwap_after), True),
    ("unrealized_pnl_after", lambda e: e.action_type != "EXIT", _money(lambda e: signed(e.unrealized_pnl_after)), True),
    ("position_realized_pnl_after", _closing, _money(lambda e: signed(e.position_realized_pnl_after)), True),
    ("lots", lambda e: e.is_closing and e.lot_count > 1, _lots, False),
    ("reason", _always, _reason, False),
)

_CHANGED: Mapping[str, Callable[[Any], str]] = {
    "action_type": lambda value: escape(str(value)),
    "ticker": lambda value: escape(str(value)),
    "direction": lambda value: escape(str(value)),
    "executed_at": lambda value: escape(str(value)),
    "quantity": lambda value: number(parse(value)),
    "price": lambda value: amount(parse(value)),
    "value": lambda value: amount(parse(value)),
    "fees": lambda value: amount(parse(value)),
    "currency": lambda value: escape(str(value)),
    "multiplier": lambda value: number(parse(value)),
    "realized_pnl": lambda value: signed(parse(value)),
    "realized_pnl_gross": lambda value: signed(parse(value)),
    "realized_pnl_base": lambda value: signed(parse(value)),
    "position_quantity_after": lambda value: number(parse(value)),
    "position_vwap_after": lambda value: amount(parse(value)),
    "unrealized_pnl_after": lambda value: signed(parse(value)),
    "position_realized_pnl_after": lambda value: signed(parse(value)),
    "position_id": lambda value: escape(str(value)),
    "reason": lambda value: escape(str(value)),
}


def _shown(column: str, value: Any) -> str:
    if value is None:
        return UNKNOWN
    try:
        return cut(_CHANGED[column](value) or UNKNOWN, CHANGE_UNITS_MAX)
    except NumberError:
        return cut(escape(str(value)) or UNKNOWN, CHANGE_UNITS_MAX)


def _corrected(execution: Execution) -> str:
    by_column = {change.column: change for change in execution.changes}
    lines = []
    for column in _CHANGED:
        change = by_column.get(column)
        if change is None or (column == "reason" and not execution.is_gain):
            continue
        lines.append(f"{escape(column)} {_shown(column, change.before)} → {_shown(column, change.after)}")
    return "\n".join(lines[:CHANGES_SHOWN_MAX])


def _description(execution: Execution, style: Style) -> str:
    parts = [f"{verb(execution)} {number(execution.quantity)} {escape(execution.ticker) or UNKNOWN} at {amount(execution.price)}"]
    if execution.is_closing and execution.lot_count > 1:
        parts.append(f"{execution.lot_count} lots")
    parts.append(wall_time(execution.executed_at, style.zone))
    words = reason_words(execution)
    if words is not None and escape(words[1]):
        parts.append(escape(words[1]))
    return " · ".join(parts)


def footer_of(execution: Execution) -> str:
    """Return the four things that prove a message; ids and the book's fixed form need no escaping."""
    return (
        f"action_id {execution.action_id} · position_id {execution.position_id} · book {execution.book_id} · v{execution.version}"
    )


def render_execution(execution: Execution, style: Style) -> Embed:
    """Return the embed of one execution, fitted; raises ``fit.TooLarge`` when identity and money alone are too long."""
    embed = render_unfitted(execution, style)
    if execution.telling is Telling.BUSTED:
        return _struck(embed, execution)
    return fit(embed, SACRIFICE)


def render_unfitted(execution: Execution, style: Style) -> Embed:
    """Return the embed before any cut: what a dead letter shows to a person."""
    ticker = escape(execution.ticker) or UNKNOWN
    title, color = title_and_color(execution, ticker)
    fields = [
        Field(name=name, value=text(execution), is_inline=is_inline)
        for name, is_shown, text, is_inline in _FIELDS
        if is_shown(execution)
    ]
    changes = _corrected(execution) if execution.is_marked else ""
    if changes:
        fields.append(Field(name="corrected", value=changes, is_inline=False))
    return Embed(
        title=marked(title, execution),
        description=_description(execution, style),
        color=int(color),
        timestamp=execution.executed_at,
        fields=tuple(fields),
        footer=footer_of(execution),
    )


def _struck(embed: Embed, execution: Execution) -> Embed:
    fitted = fit(embed, SACRIFICE, reserve=STRIKE_UNITS)
    fields = tuple(replace(item, value=f"~~{item.value}~~") for item in fitted.fields)
    cause = Field(name="cause", value=cut(escape(execution.cause), CHANGE_UNITS_MAX) or UNKNOWN)
    return replace(fitted, description=f"~~{fitted.description}~~", color=int(Color.VOID), fields=(*fields, cause))
