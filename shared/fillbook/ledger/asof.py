"""The book as of T, known as of K: positions, lots, results and totals at any instant, as they were known at any later one.

Two clocks. ``as_of`` T asks for what was executed by then, ``known_as_of`` K for what had been recorded by then. Booking is
prefix-causal, so the last action of a position by T, in the version that was known at K, carries its state; later splits
scale it, and its lots follow from its actions (``unfolding.py``). So an answer given once can be given again, to the digit,
whatever was corrected since. Only figures that need a mark may differ: marks are input and only the last of each five
minutes is kept. Reads views alone, in the caller's snapshot. Source: ledger specification, 9 and 11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any
from uuid import UUID

from fillbook.ledger import reading
from fillbook.ledger.amounts import factor, price
from fillbook.ledger.model import Adjustment, Book, Direction, LotMethod, Netting, PositionStatus
from fillbook.ledger.moment import Moment
from fillbook.ledger.unfolding import Booked, Unfolded, unfold
from fillbook.money import CONTEXT, ONE, PRICE_STEP, QUANTITY_STEP
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import counted, load_queries
from fillbook.values import frozen

QUERIES = load_queries("fillbook.ledger")
UNFOLDED_ACTIONS_MAX = 20_000
"""So many actions are unfolded to lots in one call, of one position or of several together."""

Place = tuple[str, str]
"""Book and position."""


@frozen
class KnownBook:
    """A book with the newest row of its chain recorded by K; ``recorded_at`` is None when it was not opened yet."""

    book: Book
    seq: int
    recorded_at: datetime | None


@frozen
class Selection:
    """Which positions, newest entry first: filters of the ENTRY, status by T, half-open range in which one was active.

    ``outcome`` win, loss, flat or pending (not known) of one that was closed by T; ``min_pnl`` and ``max_pnl`` bound what it had
    realized; ``reason`` is that of one of its actions. ``within``: only these. ``after``: those behind this one in the order of
    (opened_at, position_id, book_id).
    """

    ticker: str | None = None
    instrument: str | None = None
    direction: str | None = None
    status: str = "all"
    since: datetime | None = None
    until: datetime | None = None
    outcome: str | None = None
    reason: str | None = None
    min_pnl: Decimal | None = None
    max_pnl: Decimal | None = None
    within: Sequence[Place] | None = None
    after: tuple[datetime, UUID, str] | None = None
    rows_max: int

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked that only a position's actions tell."""
        return self.outcome is None and self.reason is None and self.min_pnl is None and self.max_pnl is None


@frozen
class Held:
    """A position at a moment: amounts in ``currency``, quantities and vwap in the split-adjusted units of T.

    ``opening_basis`` = Σ basis of all openings. ``created_at`` is when its first action was first known, ``updated_at`` when
    the newest version of its actions was. ``last_price`` and ``last_reason`` are those of the last action, ``rank``, ``rr`` and
    ``script_version`` what the meta of the first says.
    """

    book_id: str
    position_id: str
    first_action_id: str
    instrument: str
    ticker: str
    contract_name: str
    direction: Direction
    status: PositionStatus
    currency: str
    multiplier: Decimal | None
    cash_style: str
    quantity_open: Decimal
    quantity_opened: Decimal
    quantity_closed: Decimal
    cost_basis: Decimal | None
    vwap: Decimal | None
    entry_vwap: Decimal
    exit_vwap: Decimal | None
    opening_basis: Decimal | None
    fees_total: Decimal | None
    realized_pnl: Decimal | None
    realized_pnl_gross: Decimal | None
    realized_pnl_base: Decimal | None
    split_factor: Decimal
    opened_at: datetime
    last_opened_at: datetime
    last_action_at: datetime
    closed_at: datetime | None
    action_count: int
    created_at: datetime
    updated_at: datetime
    trimmed_at: datetime | None
    trim_price: Decimal | None
    last_price: Decimal
    last_reason: str | None
    rank: str | None
    rr: str | None
    script_version: str | None

    @property
    def place(self) -> Place:
        """Book and position."""
        return (self.book_id, self.position_id)

    @property
    def is_open(self) -> bool:
        """Whether anything of it was open."""
        return self.status is PositionStatus.OPEN


@frozen
class Seen:
    """The last mark at or before an instant, in the units of that instant."""

    price: Decimal
    marked_at: datetime
    source: str


def books(tx: Tx, book_ids: Sequence[str], at: Moment) -> dict[str, KnownBook]:
    """The books that exist of those named, each with the end of its chain as known at K."""
    found = {}
    for row in tx.query(QUERIES["books_as_of"], books=list(book_ids), known_as_of=at.known_as_of):
        book = Book(
            book_id=row["book_id"],
            tenant_id=row["tenant_id"],
            lot_method=LotMethod(row["lot_method"]),
            netting=Netting(row["netting"]),
            base_currency=row["base_currency"],
            start_cash=row["start_cash"],
            calendar=row["calendar"],
        )
        found[book.book_id] = KnownBook(book=book, seq=row["seq"], recorded_at=row["recorded_at"])
    return found


def splits(tx: Tx, book_ids: Iterable[str], at: Moment) -> dict[str, list[Adjustment]]:
    """Per book the splits in force by T, as known at K, in the order in which they take effect."""
    asked = {"as_of": at.as_of, "known_as_of": at.known_as_of}
    return {
        book_id: [
            reading.adjustment_version(row["row"]).adjustment
            for row in tx.query(QUERIES["splits_as_of"], book_id=book_id, **asked)
        ]
        for book_id in book_ids
    }


def positions(tx: Tx, known: Mapping[str, KnownBook], at: Moment, chosen: Selection) -> list[Held]:
    """The positions of these books, newest entry first, at most ``rows_max``.

    A position that a split met after its last action is unfolded, because a split rounds lot by lot. Raises
    ``Rejected('too_many_actions')`` where that is too much.
    """
    rows = tx.query(QUERIES["positions_as_of"], **_asked(known, at, chosen))
    of_book = splits(tx, dict.fromkeys(row["book_id"] for row in rows), at)
    with localcontext(CONTEXT):
        found = [_held(row, _own(of_book[row["book_id"]], row["instrument_id"])) for row in rows]
    split = [held.place for held in found if held.is_open and _is_split_after(held, of_book[held.book_id])]
    if not split:
        return found
    unfolded = unfold_all(tx, known, at, split)
    return [_scaled(held, unfolded[held.place]) if held.place in unfolded else held for held in found]


def count(tx: Tx, known: Mapping[str, KnownBook], at: Moment, chosen: Selection, *, lots: bool = False) -> int:
    """How many positions there are, at most ``rows_max``, or how many lots these were opened with."""
    (row,) = tx.query(LOTS_COUNTED if lots else _COUNTED, **_asked(known, at, chosen))
    return int(row["count"])


def _asked(known: Mapping[str, KnownBook], at: Moment, chosen: Selection) -> dict[str, object]:
    after_at, after_id, after_book = chosen.after or (None, None, None)
    return {
        "books": list(known),
        "as_of": at.as_of,
        "known_as_of": at.known_as_of,
        "ticker": chosen.ticker,
        "instrument": chosen.instrument,
        "direction": chosen.direction,
        "status": chosen.status,
        "since": chosen.since,
        "until": chosen.until,
        "is_plain": chosen.is_plain,
        "outcome": chosen.outcome,
        "reason": chosen.reason,
        "min_pnl": chosen.min_pnl,
        "max_pnl": chosen.max_pnl,
        "within_books": None if chosen.within is None else [book_id for book_id, _ in chosen.within],
        "within_positions": None if chosen.within is None else [position_id for _, position_id in chosen.within],
        "after_at": after_at,
        "after_id": after_id,
        "after_book": after_book,
        "rows_max": chosen.rows_max,
    }


_COUNTED = counted(QUERIES["positions_as_of"], "found")
LOTS_COUNTED = counted(QUERIES["positions_as_of"], "lots_of_found")


def stories(tx: Tx, at: Moment, places: Sequence[Place]) -> dict[Place, list[Booked]]:
    """The actions of positions by T, in booking order, as known at K.

    Raises ``Rejected('too_many_actions')`` when they are more than ``UNFOLDED_ACTIONS_MAX`` together.
    """
    rows = tx.query(
        QUERIES["actions_as_of"],
        books=[book_id for book_id, _ in places],
        positions=[position_id for _, position_id in places],
        as_of=at.as_of,
        known_as_of=at.known_as_of,
        rows_max=UNFOLDED_ACTIONS_MAX + 1,
    )
    if len(rows) > UNFOLDED_ACTIONS_MAX:
        raise Rejected("too_many_actions", f"more than {UNFOLDED_ACTIONS_MAX} actions to unfold; ask for fewer positions")
    found: dict[Place, list[Booked]] = {}
    for row in rows:
        content = {**row["action"], "instrument": row["action"]["instrument_id"]}
        booked = Booked(
            action=reading.action(content, row["closings"]),
            fill=reading.fill_version(row["fill"]).fill,
            version=row["version"],
            known_from=row["known_from"],
        )
        found.setdefault((row["book_id"], str(row["position_id"])), []).append(booked)
    return found


def unfold_all(tx: Tx, known: Mapping[str, KnownBook], at: Moment, places: Sequence[Place]) -> dict[Place, Unfolded]:
    """Positions with every lot they had by T; raises as ``stories``."""
    return unfold_told(tx, known, at, stories(tx, at, places))


def unfold_told(
    tx: Tx, known: Mapping[str, KnownBook], at: Moment, told: Mapping[Place, Sequence[Booked]]
) -> dict[Place, Unfolded]:
    """The same for stories that were read already."""
    of_book = splits(tx, {book_id for book_id, _ in told}, at)
    return {
        (book_id, position_id): unfold(known[book_id].book, booked, _own(of_book[book_id], booked[0].action.instrument))
        for (book_id, position_id), booked in told.items()
    }


def marks(tx: Tx, instruments: Iterable[tuple[str, str]], instant: datetime, at: Moment) -> dict[tuple[str, str], Seen]:
    """The last mark of each (book, instrument) at or before ``instant``, in the units of T; missing ones are left out."""
    wanted = sorted(set(instruments))
    rows = tx.query(
        QUERIES["marks_as_of"],
        books=[book_id for book_id, _ in wanted],
        instruments=[instrument for _, instrument in wanted],
        at=instant,
    )
    of_book = splits(tx, {row["book_id"] for row in rows}, at)
    return {
        (row["book_id"], row["instrument"]): Seen(
            price=_in_units_of_t(row["price"], row["marked_at"], _own(of_book[row["book_id"]], row["instrument"])),
            marked_at=row["marked_at"],
            source=row["source"],
        )
        for row in rows
    }


def rounded(value: Decimal, step: Decimal = QUANTITY_STEP) -> Decimal:
    """Round half away from zero, as the views' SQL does, so that a fraction has the same digits here and there."""
    with localcontext(CONTEXT):
        return value.quantize(step, ROUND_HALF_UP)


def _own(found: Iterable[Adjustment], instrument: str) -> list[Adjustment]:
    return [split for split in found if split.instrument == instrument]


def _is_split_after(held: Held, found: Iterable[Adjustment]) -> bool:
    return any(split.effective_at > held.last_action_at for split in _own(found, held.instrument))


def _in_units_of_t(seen: Decimal, marked_at: datetime, found: Iterable[Adjustment]) -> Decimal:
    num = den = ONE
    for split in found:
        if split.effective_at > marked_at:
            num, den = num * split.ratio_num, den * split.ratio_den
    with localcontext(CONTEXT):
        return seen if num == den else rounded(seen * den / num, PRICE_STEP)


def _held(row: Mapping[str, Any], found: Iterable[Adjustment]) -> Held:
    """A row of ``positions_as_of`` as a value; ``found`` are the splits of its instrument by T."""
    opened, left = row["position_quantity_opened_after"], row["position_quantity_after"]
    scale = ONE
    for split in found:
        if row["opened_at"] < split.effective_at <= row["last_action_at"]:
            scale = factor(scale * split.ratio_num / split.ratio_den)
    return Held(
        position_id=str(row["position_id"]),
        first_action_id=str(row["first_action_id"]),
        instrument=row["instrument_id"],
        direction=Direction(row["direction"]),
        status=PositionStatus.OPEN if left else PositionStatus.CLOSED,
        quantity_open=left,
        quantity_opened=opened,
        quantity_closed=opened - left,
        cost_basis=row["position_cost_basis_after"],
        vwap=row["position_vwap_after"],
        entry_vwap=price(row["entry_notional"] / opened),
        exit_vwap=None if row["exit_notional"] is None else price(row["exit_notional"] / ((opened - left) or QUANTITY_STEP)),
        realized_pnl=row["position_realized_pnl_after"],
        split_factor=scale,
        closed_at=None if left else row["last_action_at"],
        **{name: row[name] for name in _AS_READ},
    )


_AS_READ = (
    "book_id ticker contract_name currency multiplier cash_style opening_basis fees_total realized_pnl_gross realized_pnl_base "
    "opened_at last_opened_at last_action_at action_count created_at updated_at trimmed_at trim_price last_price last_reason "
    "rank rr script_version"
).split()
_SCALED = "quantity_open quantity_opened quantity_closed vwap entry_vwap exit_vwap split_factor".split()


def _scaled(held: Held, unfolded: Unfolded) -> Held:
    return replace(held, **{name: getattr(unfolded.position, name) for name in _SCALED})
