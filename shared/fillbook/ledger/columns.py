"""The columns of journal, history and projections: one description for documents, canonical forms and comparisons.

A row's values in schema order are JSON-ready: Decimals as plain text, instants as UTC text with six decimals, bytes as hex.
The same list is hashed into the chain and, by name, handed to the database, so the two can never disagree. Enums are
texts already. ``superseded_at``, ``prev_hash`` and ``row_hash`` are not hashed and not part of these lists.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import Any

from fillbook.ledger.ids import instant_text
from fillbook.ledger.model import ActionVersion, Closing, FillVersion, LotPick
from fillbook.money import plain

Values = list[Any]
_Convert = Callable[[Any], Any]


def _number(value: Decimal) -> str:
    """``money.plain``, for the many: ``str`` writes an exponent only for what is very small or has one."""
    if not value:
        return "0"
    text = str(value)
    if "E" in text:
        return plain(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _picks(picks: tuple[LotPick, ...]) -> list[dict[str, str]]:
    return [{"lot": pick.lot, "quantity": plain(pick.quantity)} for pick in picks]


_KINDS: dict[str, _Convert | None] = {
    "": None,
    "n": _number,
    "t": instant_text,
    "d": date.isoformat,
    "x": bytes.hex,
    "p": _picks,
    "m": dict,
}


class Table:
    """Columns of a table after ``book_id``: ``column`` or ``column:kind``, read from an attribute path of the same name."""

    def __init__(self, name: str, columns: str, prefix: str = "", own: tuple[str, ...] = ()) -> None:
        """``prefix`` is the attribute that holds the content; columns in ``own`` are read from the row itself."""
        pairs = [column.partition(":")[::2] for column in columns.split()]
        self.name = name
        self.names = ("book_id", *(column for column, _ in pairs))
        self._get = attrgetter(*(column if column in own else prefix + column for column, _ in pairs))
        # only what is no JSON value yet is looked at again: (place in the row, how to write it)
        converts = ((place, _KINDS[kind]) for place, (_, kind) in enumerate(pairs, 1))
        self._converts = [(place, convert) for place, convert in converts if convert is not None]

    def values(self, book_id: str, row: object) -> Values:
        """The row's values in schema order, ``book_id`` first."""
        values = [book_id, *self._get(row)]
        for place, convert in self._converts:
            value = values[place]
            if value is not None:
                values[place] = convert(value)
        return values

    def document(self, values: Values) -> dict[str, Any]:
        """The values by column name, for ``jsonb_populate_recordset``."""
        return dict(zip(self.names, values, strict=True))


FILLS = Table(
    "fills",
    """fill_id version source account_key source_id source_revision is_bust instrument ticker contract_name side quantity:n
    price:n multiplier:n currency fx_rate:n fees:n fees_currency fees_rate:n position_effect direction lot_ref lot_picks:p
    cash_style executed_at:t venue_order session_date:d reason meta:m origin cause replaces_fill_id received_at:t recorded_at:t
    content_hash:x seq booking_seq""",
    prefix="fill.",
    own=("version", "recorded_at", "content_hash", "seq", "booking_seq"),
)
ADJUSTMENTS = Table(
    "adjustments",
    """adjustment_id version kind instrument ratio_num ratio_den effective_at:t is_void entered_by reason recorded_at:t seq
    booking_seq""",
    prefix="adjustment.",
    own=("version", "recorded_at", "seq", "booking_seq"),
)
ACTIONS = Table(
    "execution_actions",
    """action_id version state fill_id fill_seq leg cause cause_seq position_id lot_id action_type instrument ticker direction
    side executed_at:t venue_order session_date:d quantity:n price:n multiplier:n currency value:n fees:n cash_effect:n
    realized_pnl:n realized_pnl_gross:n realized_pnl_base:n position_quantity_after:n position_quantity_opened_after:n
    position_vwap_after:n position_cost_basis_after:n position_realized_pnl_after:n unrealized_pnl_after:n is_flat_after reason
    meta:m recorded_at:t seq booking_seq""",
    prefix="action.",
    own=("version", "state", "fill_seq", "cause", "cause_seq", "recorded_at", "seq", "booking_seq"),
)
POSITIONS = Table(
    "positions",
    """position_id instrument ticker contract_name direction status currency multiplier:n is_net cash_style quantity_open:n
    quantity_opened:n quantity_closed:n value_open:n cost_basis:n vwap:n entry_vwap:n exit_vwap:n entry_notional:n
    exit_notional:n value_opened:n value_initial:n fees_total:n realized_pnl:n realized_pnl_gross:n realized_pnl_base:n
    split_factor:n opened_at:t last_opened_at:t last_action_at:t closed_at:t first_action_id action_count open_lot_count""",
)
LOTS = Table(
    "lots",
    """lot_id position_id fill_id action_id lot_ref opened_at:t venue_order status quantity:n price:n multiplier:n value:n
    fees:n fees_base:n basis:n fx_rate:n split_factor:n price_adjusted:n quantity_adjusted:n quantity_open:n value_open:n
    basis_open:n fees_base_open:n""",
)
_CLOSING = Table(
    "closings",
    """lot_id ordinal quantity:n lot_price:n split_factor:n close_value:n lot_value:n proceeds:n lot_basis:n
    realized_pnl_gross:n realized_pnl:n realized_pnl_base:n""",
)
CLOSING_NAMES = ("book_id", "action_id", "version", *_CLOSING.names[1:], "executed_at", "recorded_at")
ECONOMIC = Table(
    "content",
    """source account_key source_id source_revision is_bust instrument ticker contract_name side quantity:n price:n multiplier:n
    currency fx_rate:n fees:n fees_currency fees_rate:n position_effect direction lot_ref lot_picks:p cash_style executed_at:t
    venue_order session_date:d""",
)
"""What content_hash covers: everything that decides what is booked, nothing about how we came to know it."""


def economic_values(content: object) -> Values:
    """The economic columns of a fill, without the book: the same fact has the same hash everywhere."""
    return ECONOMIC.values("", content)[1:]


def fill_values(book_id: str, row: FillVersion) -> Values:
    """Canonical values of a journal row."""
    return FILLS.values(book_id, row)


def closing_rows(book_id: str, row: ActionVersion) -> list[Values]:
    """Canonical values of an action's closings in ordinal order; none for a VOID."""
    if not row.action.closings:
        return []
    head = [book_id, row.action.action_id, row.version]
    tail = [instant_text(row.action.executed_at), instant_text(row.recorded_at)]
    return [head + _closing_values(closing) + tail for closing in row.action.closings]


def _closing_values(closing: Closing) -> Values:
    return _CLOSING.values("", closing)[1:]
