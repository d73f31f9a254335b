"""The ledger's tables as calls and answers: what is asked, how the answer becomes values, what a violated name means.

``load_call`` is one message that locks and reads; ``apply_call`` writes one document. Constraint names become domain errors
here; a name nobody knows is a bug and stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import localcontext
from typing import Any

from fillbook.ledger import reading
from fillbook.ledger.ids import instant_text
from fillbook.ledger.model import AdjustmentVersion, FillVersion, Key, Position, Totals
from fillbook.ledger.rebooking import History
from fillbook.ledger.state import LedgerState, Tail
from fillbook.money import CONTEXT
from fillbook.runtime.db import Call, ConstraintViolated, Tx
from fillbook.runtime.errors import Conflict, Rejected, Unavailable
from fillbook.runtime.sql import load_queries

QUERIES = load_queries("fillbook.ledger")

RETRY_CONSTRAINTS = ("positions_one_open", "positions_one_open_net", "fills_pk")
"""Unique violations that mean a lost race: the whole use case runs again (pass to ``Database.run``)."""

_REJECTED_BY: Mapping[str, str] = {
    "books_id_form": "book_id_invalid",
    "books_kind_matches": "book_id_invalid",
    "books_netting": "netting_invalid",
    "books_currency_form": "base_currency_invalid",
    "fills_source": "source_invalid",
    "fills_version_positive": "source_revision_invalid",
    "fills_quantity_positive": "quantity_not_positive",
    "fills_price_finite": "number_invalid",
    "fills_price_positive": "price_not_positive",
    "fills_multiplier_positive": "multiplier_not_positive",
    "fills_currency_form": "currency_invalid",
    "fills_rates_positive": "fx_rate_not_positive",
    "fills_position_effect": "position_effect_invalid",
    "fills_cash_style": "cash_style_invalid",
    "fills_origin": "origin_invalid",
    "fills_cause": "cause_invalid",
    "fills_meta_size": "meta_too_large",
    "fills_hedge_direction": "direction_required",
    "adjustments_ratio_form": "ratio_invalid",
    "marks_price_finite": "number_invalid",
    "clear_replay_only": "not_a_replay_book",
}
_CONFLICTING = {"fills_pk": "fill_content_changed", "superseded_once": "superseded_twice"}


def domain_error(error: ConstraintViolated) -> Exception:
    """What a violated constraint of this room means; the error itself when the name is not ours."""
    if error.constraint in _REJECTED_BY:
        return Rejected(_REJECTED_BY[error.constraint], error.constraint)
    if error.constraint in _CONFLICTING:
        return Conflict(_CONFLICTING[error.constraint], error.constraint)
    return error


def load_call(
    book_id: str,
    instruments: Iterable[str],
    *,
    book_row: bool = False,
    fill_keys: Iterable[str] = (),
    may_move: bool = False,
    with_totals: bool = False,
    session_date: date | None = None,
) -> Call:
    """The call that locks ``instruments`` (and the book's row) and reads what a booking on them is computed from.

    ``fill_keys`` are the fill ids about to be booked; ``may_move`` locks the instruments they stand on now as well, because
    a later revision may name another one. ``with_totals`` adds book-wide facts, counting the ENTRY actions of
    ``session_date``. The answer goes to ``read_state``.
    """
    document: dict[str, Any] = {
        "book_id": book_id,
        "instruments": sorted(set(instruments)),
        "fill_ids": sorted(set(fill_keys)),
        "book_row": book_row,
        "may_move": may_move,
    }
    if with_totals:
        document |= {"totals": True, "session_date": session_date}
    return Call("ledger.load", document)


def read_state(document: Mapping[str, Any]) -> LedgerState:
    """The answer of ``load_call`` as values. Raises ``Rejected('book_unknown')``."""
    if document["book"] is None:
        raise Rejected("book_unknown", field="book_id")
    head = reading.book_head(document["book"], is_locked=document["book_row"])
    journal: dict[str, list[FillVersion]] = {fill_id: [] for fill_id in document["fill_ids"]}
    for row in document["fills"] or ():
        journal[row["fill_id"]].append(reading.fill_version(row))
    tails = {row[0]: _tail(row) for row in document["tails"] or ()}
    totals = document["totals"]
    return LedgerState(
        head=head,
        positions=_positions(document, tails),
        tails=tails,
        journal={fill_id: tuple(versions) for fill_id, versions in journal.items()},
        totals=None if totals is None else _totals(totals, document["book"]),
    )


def _tail(row: Sequence[Any]) -> Tail:
    _, executed_at, venue_order, fill_id, adjusted_at, parked = row
    last: Key | None = None if executed_at is None else (reading.instant(executed_at), venue_order, fill_id)
    return Tail(
        last_key=last,
        last_adjustment_key=None if adjusted_at is None else (reading.instant(adjusted_at), "", ""),
        parked=parked,
    )


def _positions(document: Mapping[str, Any], tails: Mapping[str, Tail]) -> dict[str, tuple[Position, ...]]:
    found: dict[str, tuple[Position, ...]] = dict.fromkeys(tails, ())
    with localcontext(CONTEXT):
        for row, lots in document["positions"] or ():
            position = reading.position(row, tuple(map(reading.lot, lots or ())))
            found[position.instrument] += (position,)
    return found


def _totals(document: Mapping[str, Any], book: Mapping[str, Any]) -> Totals:
    amounts = document["amounts"] or ()
    return Totals(
        start_cash=book["start_cash"],
        base_currency=book["base_currency"],
        realized={currency: realized for currency, realized, _ in amounts},
        cost_basis_open={currency: basis for currency, _, basis in amounts},
        open_long=document["open"][0],
        open_short=document["open"][1],
        entries=document["entries"],
    )


def load_history(
    tx: Tx,
    book_id: str,
    rebooked: Mapping[str, Key],
    fill_ids: Mapping[str, Sequence[str]],
    until: Mapping[str, Key],
    *,
    fills_max: int,
) -> dict[str, History]:
    """Read what is stored of each instrument from the last flat point before its key on.

    ``fill_ids``: per instrument the fills of the call that stand or stood on it. ``until``: keys behind which the next flat point
    is the end, where nothing is parked. More than ``fills_max`` fills of one instrument raise
    ``Unavailable('rebook_too_large')``: a job has no such limit.
    """
    rows = [
        {
            "instrument": instrument,
            "before": [instant_text(key[0]), key[1], key[2] or None],
            "until": [instant_text(until[instrument][0]), *until[instrument][1:]] if instrument in until else None,
            "fill_ids": sorted(fill_ids.get(instrument, ())),
        }
        for instrument, key in sorted(rebooked.items())
    ]
    (answer,) = tx.call(Call("ledger.load_history", {"book_id": book_id, "rows": rows, "fills_max": fills_max}))
    if isinstance(answer, Mapping):
        raise Unavailable("rebook_too_large", f"more than {fills_max} fills of {answer['too_large']} to fold again")
    return {document["instrument"]: history(document) for document in answer}


def history(document: Mapping[str, Any]) -> History:
    """One instrument of ``ledger.load_history``'s answer."""
    actions = [reading.action_version(row["action"], row["closings"]) for row in document["actions"] or ()]
    positions = [reading.position(row) for row in document["positions"] or ()]
    lots = [reading.lot(row) for row in document["lots"] or ()]
    return History(
        instrument=document["instrument"],
        is_bounded=document["is_bounded"],
        fills=tuple(reading.fill_version(row) for row in document["fills"] or ()),
        adjustments=tuple(reading.adjustment_version(row) for row in document["adjustments"] or ()),
        actions={version.action.action_id: version for version in actions},
        positions={position.position_id: position for position in positions},
        lots={lot.lot_id: lot for lot in lots},
        parked=dict(document["parked"] or ()),
    )


def adjustment_versions(tx: Tx, book_id: str, adjustment_id: str) -> list[AdjustmentVersion]:
    """All versions of one split, oldest first."""
    rows = tx.query(QUERIES["adjustment_versions"], book_id=book_id, adjustment_id=adjustment_id)
    return [reading.adjustment_version(row["row"]) for row in rows]
