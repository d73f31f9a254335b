"""The page of worked examples, computed: every case file is played on a book in memory and written down step by step.

``python -m tests.support.ledger_examples`` writes ``infra/docs/ledger-examples.md``; a contract test fails while the page says
anything else than the book does. The inputs are the case files', every figure is the ledger's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from fillbook.ledger.amounts import total
from fillbook.ledger.model import ActionVersion, RowState
from fillbook.money import plain
from tests.support import ledger_cases
from tests.support.ledger import MemoryWorld, make_fill

PAGE = Path(__file__).resolve().parents[2] / "infra" / "docs" / "ledger-examples.md"
HEAD = """\
# Worked examples of the ledger

Written by `python -m tests.support.ledger_examples` from the case files in `tests/cases/ledger/`; a test fails when the page and
the ledger disagree. Each example is also a test of its own: the hand-worked numbers stand in the case file and are compared to
the last digit. Money is in USD and the multiplier 1 unless a step says otherwise; FIFO unless the example says otherwise.

How to read a row: what was fed in, and each action version it made. *realized* is net of fees (*gross* without), *closings* are
`quantity @ lot price → realized` per lot taken, and the last columns are the position right after, its unrealized P&L at the
action's own price. `unknown` is a figure that depends on something nobody knows yet: it is never zero.
"""
COLUMNS = (
    "fed in",
    "made",
    "value",
    "fees",
    "closings",
    "realized",
    "gross",
    "cash",
    "open after",
    "vwap",
    "basis",
    "unrealized",
)


def number(value: Decimal | None) -> str:
    """A figure as the page shows it: all its digits, at least two decimals for what has a fraction."""
    if value is None:
        return "unknown"
    text = plain(value)
    whole, point, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(2, '0')}" if point else text


def fed(step: Mapping[str, Any]) -> str:
    """One step as a person would say it."""
    if "split" in step:
        return f"split {step['split'][0]}:{step['split'][1]}"
    given = dict(step)
    words = [f"{given['side']} {given['quantity']} @ {given['price']}"]
    if given.get("instrument"):
        words.insert(0, str(given["instrument"]))
    fees = f"fees {given['fees']}{' ' + given['fees_currency'] if given.get('fees_currency') else ''}"
    words.append(fees)
    for name, text in (
        ("fees_rate", "at {}"), ("fx_rate", "rate {}"), ("multiplier", "× {}"), ("cash_style", "{}"), ("currency", "{}"),
        ("position_effect", "effect {}"), ("source_revision", "revision {}"),
    ):  # fmt: skip
        if given.get(name):
            words.append(text.format(given[name]))
    if given.get("is_bust"):
        words.append("**busted**")
    return f"fill {given['fill']}: " + ", ".join(words)


def made(version: ActionVersion) -> list[str]:
    """The cells of one action version."""
    action = version.action
    name = f"{action.action_type} {action.direction} {number(action.quantity)} @ {number(action.price)}"
    if version.version > 1 or version.state is RowState.VOID:
        name += f" (v{version.version}{', VOID' if version.state is RowState.VOID else ''})"
    if version.state is RowState.VOID:
        return [name, *("" for _ in COLUMNS[2:])]
    closings = "; ".join(f"{number(c.quantity)} @ {number(c.lot_price)} → {number(c.realized_pnl)}" for c in action.closings)
    realized = number(action.realized_pnl) if action.closings else ""
    if action.closings and action.realized_pnl_base not in (None, action.realized_pnl):
        realized += f" ({number(action.realized_pnl_base)} in base)"
    is_open = bool(action.position_quantity_after)
    return [
        name, number(action.value), number(action.fees), closings, realized,
        number(action.realized_pnl_gross) if action.closings else "", number(action.cash_effect),
        number(action.position_quantity_after), number(action.position_vwap_after) if is_open else "",
        number(action.position_cost_basis_after) if is_open else "", number(action.unrealized_pnl_after) if is_open else "",
    ]  # fmt: skip


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _steps(case: Mapping[str, Any], world: MemoryWorld) -> Iterator[str]:
    yield _line(COLUMNS)
    yield _line("---" for _ in COLUMNS)
    for ordinal, step in enumerate(case["steps"], 1):
        seen = len(world.memory.versions)
        said = fed(step)
        if "split" in step:
            world.split((step["split"][0], step["split"][1]), step["minute"])
            (position,) = world.positions
            lots = "; ".join(f"{number(lot.quantity_open)} open at {number(lot.price_adjusted)}" for lot in position.lots)
            cells = [said, f"lots: {lots}", *("" for _ in COLUMNS[2:])]
            cells[-4:] = [number(position.quantity_open), number(position.vwap), number(position.cost_basis), ""]
            yield _line(cells)
            continue
        given = {name: value for name, value in step.items() if name not in ("fill", "side", "quantity", "price", "minute")}
        fill = make_fill(step["fill"], step["side"], step["quantity"], step["price"], step.get("minute", ordinal), **given)
        (outcome,) = world.deliver([fill])
        rows = world.memory.versions[seen:]
        if not rows:
            yield _line([said, f"{outcome.status} {outcome.reason or ''}".strip(), *("" for _ in COLUMNS[2:])])
        for place, version in enumerate(rows):
            yield _line([said if place == 0 else "", *made(version)])


def _outcome(world: MemoryWorld) -> Iterator[str]:
    for position in world.positions:
        own = [version.action for version in world.actions if version.action.position_id == position.position_id]
        cash = total(action.cash_effect for action in own)
        base = ""
        if position.realized_pnl_base not in (None, position.realized_pnl):
            base = f" ({number(position.realized_pnl_base)} in base)"
        left = f", {number(position.quantity_open)} open" if position.quantity_open else ""
        yield (
            f"- {position.ticker} {position.direction} {position.status}{left}: realized "
            f"{number(position.realized_pnl)} {position.currency}{base}, cash moved {number(cash)} {position.currency}"
        )
    for fill_id, (_, reason) in world.parked.items():
        (version,) = world.memory.journal[fill_id]
        yield f"- fill {version.fill.source_id} is parked: `{reason}`"


def example(name: str) -> str:
    """One example as a section."""
    case = ledger_cases.load(name)
    book = ledger_cases.book_of(case)
    world = MemoryWorld(book)
    terms = [f"{book.lot_method}"] if book.lot_method != "FIFO" else []
    terms += [f"base {book.base_currency}"] if book.base_currency != "USD" else []
    said = f" ({', '.join(terms)})" if terms else ""
    head = f"## E{int(name[1:3])} · {case['title']}{said}"
    parts = [head, "", f"Case `{name}.json`.", "", *_steps(case, world), "", *_outcome(world)]
    return "\n".join(parts)


def page() -> str:
    """The whole page."""
    first = sorted(ledger_cases.names(), key=lambda name: (name[:3], len(name)))
    return "\n".join([HEAD, *(f"{example(name)}\n" for name in first)])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
