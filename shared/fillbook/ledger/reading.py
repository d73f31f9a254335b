"""Rows as the database answers them (``to_json`` of a table's row) become values; numbers arrive as exact Decimals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from typing import Any

from fillbook.ledger.ids import instant_text
from fillbook.ledger.model import (
    Action,
    ActionType,
    ActionVersion,
    Adjustment,
    AdjustmentVersion,
    Book,
    BookHead,
    Closing,
    Direction,
    Fill,
    FillVersion,
    Lot,
    LotMethod,
    LotPick,
    Netting,
    Position,
    PositionStatus,
    RowState,
    Side,
)
from fillbook.money import ZERO

Row = Mapping[str, Any]

_BOOKS_KEPT = 256

_FILL_SAME = (
    "source account_key source_id source_revision is_bust instrument ticker contract_name quantity price multiplier currency "
    "fx_rate fees fees_currency fees_rate position_effect lot_ref cash_style venue_order reason meta origin cause "
    "replaces_fill_id"
).split()
_ACTION_SAME = (
    "action_id fill_id leg position_id lot_id instrument ticker venue_order quantity price multiplier currency value fees "
    "cash_effect realized_pnl realized_pnl_gross realized_pnl_base position_quantity_after position_quantity_opened_after "
    "position_vwap_after position_cost_basis_after position_realized_pnl_after unrealized_pnl_after is_flat_after reason meta"
).split()
_POSITION_SAME = (
    "position_id instrument ticker contract_name currency multiplier is_net cash_style quantity_open quantity_opened "
    "quantity_closed value_open cost_basis vwap entry_vwap exit_vwap entry_notional exit_notional value_opened value_initial "
    "fees_total realized_pnl realized_pnl_gross realized_pnl_base split_factor first_action_id action_count open_lot_count"
).split()
_LOT_SAME = (
    "lot_id position_id fill_id action_id lot_ref venue_order quantity price multiplier value fees fees_base basis fx_rate "
    "split_factor price_adjusted quantity_adjusted quantity_open value_open basis_open fees_base_open"
).split()
_CLOSING = (
    "lot_id ordinal quantity lot_price split_factor close_value lot_value proceeds lot_basis realized_pnl_gross realized_pnl "
    "realized_pnl_base"
).split()


def instant(text: str) -> datetime:
    """An instant as JSON carries it; sessions run in UTC."""
    value = datetime.fromisoformat(text)
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def optional_instant(text: str | None) -> datetime | None:
    """An instant, or None."""
    return None if text is None else instant(text)


def stamp(text: str) -> str:
    """The canonical text of an instant as JSON carries it."""
    return instant_text(instant(text))


def raw(text: str) -> bytes:
    r"""A bytea as JSON carries it (``\x…``)."""
    return bytes.fromhex(text[2:])


_BOOK_SAME = itemgetter("book_id", "tenant_id", "lot_method", "netting", "base_currency", "start_cash", "calendar")


@lru_cache(_BOOKS_KEPT)
def _book(
    book_id: str, tenant_id: str, lot_method: str, netting: str, base_currency: str, start_cash: Decimal, calendar: str
) -> Book:
    """What a book is for life; only its chain moves on."""
    return Book(
        book_id=book_id,
        tenant_id=tenant_id,
        lot_method=LotMethod(lot_method),
        netting=Netting(netting),
        base_currency=base_currency,
        start_cash=start_cash,
        calendar=calendar,
    )


def book_head(row: Row, *, is_locked: bool) -> BookHead:
    """A row of ``books``."""
    return BookHead(
        book=_book(*_BOOK_SAME(row)),
        seq=row["seq"],
        chain_head=raw(row["chain_head"]),
        last_recorded_at=instant(row["last_recorded_at"]),
        closed_seq=row["closed_seq"],
        is_locked=is_locked,
    )


def fill_version(row: Row) -> FillVersion:
    """A row of ``fills``."""
    picks = row["lot_picks"]
    fill = Fill(
        side=Side(row["side"]),
        direction=None if row["direction"] is None else Direction(row["direction"]),
        lot_picks=None
        if picks is None
        else tuple(LotPick(lot=pick["lot"], quantity=Decimal(pick["quantity"])) for pick in picks),
        executed_at=instant(row["executed_at"]),
        session_date=date.fromisoformat(row["session_date"]),
        received_at=instant(row["received_at"]),
        **{name: row[name] for name in _FILL_SAME},
    )
    return FillVersion(
        fill=fill,
        version=row["version"],
        content_hash=raw(row["content_hash"]),
        recorded_at=instant(row["recorded_at"]),
        seq=row["seq"],
        booking_seq=row["booking_seq"],
    )


def adjustment_version(row: Row) -> AdjustmentVersion:
    """A row of ``adjustments``."""
    adjustment = Adjustment(
        effective_at=instant(row["effective_at"]),
        **{
            name: row[name]
            for name in ("book_id", "instrument", "ratio_num", "ratio_den", "is_void", "entered_by", "reason", "kind")
        },
    )
    return AdjustmentVersion(
        adjustment=adjustment,
        version=row["version"],
        recorded_at=instant(row["recorded_at"]),
        seq=row["seq"],
        booking_seq=row["booking_seq"],
    )


def action(row: Row, closings: Iterable[Row] | None) -> Action:
    """The content of a row of ``execution_actions``, with its rows of ``closings`` in ordinal order."""
    return Action(
        action_type=ActionType(row["action_type"]),
        direction=Direction(row["direction"]),
        side=Side(row["side"]),
        executed_at=instant(row["executed_at"]),
        session_date=date.fromisoformat(row["session_date"]),
        closings=tuple(Closing(**{name: closing[name] for name in _CLOSING}) for closing in closings or ()),
        **{name: row[name] for name in _ACTION_SAME},
    )


def action_version(row: Row, closings: Iterable[Row] | None) -> ActionVersion:
    """A row of ``execution_actions`` with its rows of ``closings`` in ordinal order."""
    return ActionVersion(
        action=action(row, closings),
        version=row["version"],
        state=RowState(row["state"]),
        fill_seq=row["fill_seq"],
        cause=row["cause"],
        cause_seq=row["cause_seq"],
        recorded_at=instant(row["recorded_at"]),
        superseded_at=optional_instant(row["superseded_at"]),
        seq=row["seq"],
        booking_seq=row["booking_seq"],
    )


def lot(row: Row) -> Lot:
    """A row of ``lots``."""
    return Lot(
        opened_at=instant(row["opened_at"]),
        status=PositionStatus(row["status"]),
        **{name: row[name] for name in _LOT_SAME},
    )


def position(row: Row, lots: tuple[Lot, ...] = ()) -> Position:
    """A row of ``positions``; ``lots`` are its open ones in booking order."""
    return Position(
        direction=Direction(row["direction"]),
        status=PositionStatus(row["status"]),
        opened_at=instant(row["opened_at"]),
        last_opened_at=instant(row["last_opened_at"]),
        last_action_at=instant(row["last_action_at"]),
        closed_at=optional_instant(row["closed_at"]),
        lots=lots,
        notional_open=sum((lot.quantity_open * lot.price_adjusted for lot in lots), ZERO),
        **{name: row[name] for name in _POSITION_SAME},
    )
