"""Use cases of the ledger that join the caller's transaction: open a book, lock, book, adjust, mark, clear a replay book.

A booking is one read and one write: ``load_call`` (which a caller may batch with a read of its own) and a document that
rides with the commit. Constraints are therefore violated at the commit: run use cases through ``run``, which repeats
lost races and turns a violated name into its domain error. Lock order for everyone: the caller's own rows, instrument
locks, book rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeVar

from fillbook.ledger import rebooking, store
from fillbook.ledger.chain import content_hash
from fillbook.ledger.columns import economic_values
from fillbook.ledger.intake import check_adjustment, check_book, check_book_id, check_fill, check_mark
from fillbook.ledger.journal import Arrival, Change, classify
from fillbook.ledger.model import (
    Adjustment,
    AdjustmentVersion,
    Book,
    Fill,
    Mark,
    Outcome,
    OutcomeStatus,
)
from fillbook.ledger.rebooking import History, Plan
from fillbook.ledger.sealing import Sealed, apply_document, recording_time, seal
from fillbook.ledger.state import LedgerState
from fillbook.ledger.store import RETRY_CONSTRAINTS, domain_error, load_call, read_state
from fillbook.ledger.words import DECISION_KINDS, FILLS_MAX, INSTRUMENTS_MAX, REFOLD_FILLS_MAX
from fillbook.outbox.model import partition_of
from fillbook.outbox.service import event_rows
from fillbook.runtime.db import Call, ConstraintViolated, Contended, Database, Tx
from fillbook.runtime.errors import Conflict, Rejected
from fillbook.values import frozen

__all__ = [
    "RETRY_CONSTRAINTS",
    "adjust",
    "book_fills",
    "clear_replay_book",
    "close_book",
    "content_of",
    "drop_replay_book",
    "held",
    "load_call",
    "lock",
    "mark",
    "open_book",
    "read_state",
    "run",
]

T = TypeVar("T")


@frozen
class Held:
    """A fact in the journal: the ``content_hash`` of the version that counts, whether that is a bust, a word of its meta."""

    content: str
    is_bust: bool
    word: str | None


def run(db: Database, work: Callable[[Tx], T], **options: Any) -> T:
    """``Database.run`` with this room's lost races repeated and its constraint names turned into domain errors."""
    try:
        return db.run(work, retry_constraints=RETRY_CONSTRAINTS, **options)
    except ConstraintViolated as error:
        meaning = domain_error(error)
        if meaning is error:
            raise
        raise meaning from error


def open_book(tx: Tx, book: Book, now: datetime) -> bool:
    """Open a book; True when it is new. The same id with another method, netting, … is ``Conflict('book_differs')``."""
    checked = check_book(book)
    fixed = ("tenant_id", "lot_method", "netting", "base_currency", "start_cash", "calendar")
    document = {"book_id": checked.book_id, "now": now, **{name: getattr(checked, name) for name in fixed}}
    (answer,) = tx.call(Call("ledger.open_book", document))
    stored = answer["book"]
    differing = [name for name in fixed if stored[name] != getattr(checked, name)]
    if differing:
        raise Conflict("book_differs", f"{book.book_id} was opened with other {', '.join(differing)}")
    return bool(answer["is_new"])


def close_book(tx: Tx, book_id: str, now: datetime) -> None:
    """Close a book: it refuses decisions and parks facts from now on."""
    check_book_id(book_id)
    tx.send(Call("ledger.close_book", {"book_id": book_id, "now": now}))


def lock(
    tx: Tx,
    book_id: str,
    instruments: Iterable[str],
    *,
    book_row: bool = False,
    fill_keys: Iterable[str] = (),
    may_move: bool = False,
    with_totals: bool = False,
    session_date: date | None = None,
) -> LedgerState:
    """Lock ``instruments`` (and the book's row) until the end of the transaction and read what stands there, in one message."""
    check_book_id(book_id)
    call = load_call(
        book_id,
        instruments,
        book_row=book_row,
        fill_keys=fill_keys,
        may_move=may_move,
        with_totals=with_totals,
        session_date=session_date,
    )
    (answer,) = tx.call(call)
    return read_state(answer)


def held(tx: Tx, book_id: str, fill_ids: Iterable[str], word: str) -> dict[str, Held]:
    """What the journal holds of facts, as far as it takes to see that it is the same: by fill id, where there is anything.

    ``word`` is the one of their ``meta`` that the caller's comparison needs. Nothing is locked.
    """
    check_book_id(book_id)
    (row,) = tx.query(store.QUERIES["fills_held"], book_id=book_id, fill_ids=list(fill_ids), word=word)
    return {one: Held(content=content, is_bust=is_bust, word=said) for one, content, is_bust, said in row["rows"] or ()}


def unvalued(tx: Tx, book_id: str, instruments: Iterable[str]) -> set[str]:
    """Which of the instruments have fills that were told before anybody knew their currency; nothing is locked."""
    check_book_id(book_id)
    asked = sorted(set(instruments))
    rows = tx.query(store.QUERIES["instruments_unvalued"], book_id=book_id, instruments=asked) if asked else []
    return {row["instrument"] for row in rows}


def content_of(fill: Fill) -> str:
    """The hash of what a fill says, as ``Held`` has it."""
    return content_hash(economic_values(fill)).hex()


def book_fills(
    tx: Tx,
    book_id: str,
    fills: Sequence[Fill],
    now: datetime,
    *,
    state: LedgerState | None = None,
    fills_max: int = REFOLD_FILLS_MAX,
) -> list[Outcome]:
    """Book 1 to 5,000 fills of at most 500 instruments; one ``Outcome`` per fill, in the order given.

    With a ``state`` read under the book's row lock that names every fill id, nothing is read; the write rides with the
    commit. In ``live`` and ``replay`` books what does not fit raises ``Rejected`` or ``Conflict`` and nothing is stored;
    facts (other sources) are parked. Raises ``Unavailable('rebook_too_large')`` beyond ``fills_max`` fills to fold again.
    """
    _check_limits(book_id, fills)
    if state is None or not state.head.is_locked or not _covers(state, fills):
        may_move = state is not None or any(fill.source_revision > 1 or fill.is_bust for fill in fills)
        instruments, fill_keys = {fill.instrument for fill in fills}, {fill.fill_id for fill in fills}
        state = lock(tx, book_id, instruments, book_row=True, fill_keys=fill_keys, may_move=may_move)
    if state.head.book.book_id != book_id:
        raise ValueError("the state is of another book")
    checked = [check_fill(fill, state.head.book) for fill in fills]
    recorded_at = recording_time(state.head, now)
    arrivals, changes = classify(state.journal, checked, recorded_at)
    _raise_conflicts(state.head.book, arrivals)
    journal = [arrival.row for arrival in arrivals if arrival.row is not None]
    if not journal:
        return _outcomes(arrivals, None, None)
    plan, histories = _plan(tx, state, changes, {}, fills_max)
    sealed = seal(state.head, recorded_at, journal, changes, plan, histories)
    _send(tx, sealed)
    return _outcomes(arrivals, plan, sealed)


def adjust(tx: Tx, adjustment: Adjustment, now: datetime, *, fills_max: int = REFOLD_FILLS_MAX) -> bool:
    """Enter a split, or undo it with ``is_void``; True when anything changed. The instrument is re-booked from before it.

    Raises ``Rejected('adjustment_unknown')`` when a split that was never entered is to be undone.
    """
    split = check_adjustment(adjustment)
    state = lock(tx, split.book_id, [split.instrument], book_row=True)
    known = store.adjustment_versions(tx, split.book_id, split.adjustment_id)
    if not known and split.is_void:
        raise Rejected("adjustment_unknown", field="effective")
    if known and known[-1].adjustment.is_void == split.is_void:
        return False
    recorded_at = recording_time(state.head, now)
    version = AdjustmentVersion(adjustment=split, version=len(known) + 1, recorded_at=recorded_at)
    plan, histories = _plan(tx, state, {}, {split.adjustment_id: split}, fills_max)
    _send(tx, seal(state.head, recorded_at, [], {}, plan, histories, [version]))
    return True


def mark(tx: Tx, book_id: str, marks: Sequence[Mark], now: datetime) -> None:
    """Keep prices that instruments were seen at, one per 5-minute bucket; rides with the next message or the commit."""
    check_book_id(book_id)
    if marks:
        tx.send(Call("ledger.mark", {"book_id": book_id, "now": now, "marks": [check_mark(one) for one in marks]}))


def clear_replay_book(tx: Tx, book_id: str) -> None:
    """Empty a replay book and set its chain back to the beginning; ``Rejected('not_a_replay_book')`` for any other."""
    _check_replay(book_id)
    tx.execute(store.QUERIES["clear_replay_book"], book_id=book_id)


def drop_replay_book(tx: Tx, book_id: str) -> None:
    """Remove a replay book with everything in it; ``Rejected('not_a_replay_book')`` for any other."""
    _check_replay(book_id)
    tx.execute(store.QUERIES["drop_replay_book"], book_id=book_id)


def _check_replay(book_id: str) -> None:
    check_book_id(book_id)
    if not book_id.startswith("replay:"):
        raise Rejected("not_a_replay_book", field="book_id")


def _check_limits(book_id: str, fills: Sequence[Fill]) -> None:
    check_book_id(book_id)
    if not 1 <= len(fills) <= FILLS_MAX:
        raise Rejected("fills_count_invalid", f"1 to {FILLS_MAX} fills a call")
    if len(fills) > INSTRUMENTS_MAX and len({fill.instrument for fill in fills}) > INSTRUMENTS_MAX:
        raise Rejected("instruments_count_invalid", f"at most {INSTRUMENTS_MAX} instruments a call")


def _covers(state: LedgerState, fills: Sequence[Fill]) -> bool:
    """Whether the state answers for every fill: its instrument, its versions, and the instruments these stand on."""
    for fill in fills:
        versions = state.journal.get(fill.fill_id)
        if versions is None or fill.instrument not in state.tails:
            return False
        if versions and any(version.fill.instrument not in state.tails for version in versions):
            return False
    return True


def _raise_conflicts(book: Book, arrivals: Sequence[Arrival]) -> None:
    if book.kind in DECISION_KINDS:
        for arrival in arrivals:
            if arrival.status is OutcomeStatus.CONFLICT:
                raise Conflict("fill_content_changed", f"fill {arrival.fill.fill_id}")


def _plan(
    tx: Tx, state: LedgerState, changes: Mapping[str, Change], splits: Mapping[str, Adjustment], fills_max: int
) -> tuple[Plan, dict[str, History]]:
    book_id = state.head.book.book_id
    try:
        return rebooking.plan(
            state,
            changes,
            splits,
            lambda rebooked, named, until: store.load_history(tx, book_id, rebooked, named, until, fills_max=fills_max),
        )
    except rebooking.NotLockedError as error:
        # a concurrent correction moved a fill to an instrument that was not named and so not locked
        raise Contended("ledger_moved", "an instrument was touched that is not locked") from error


def _send(tx: Tx, sealed: Sealed) -> None:
    document = apply_document(sealed)
    if sealed.events:
        document["events"] = event_rows(sealed.events)
    tx.send(Call("ledger.apply", document))


def _outcomes(arrivals: Sequence[Arrival], plan: Plan | None, sealed: Sealed | None) -> list[Outcome]:
    actions: dict[str, list[Any]] = {}
    told: set[str] = set()
    if sealed is not None:
        for version in sealed.actions:
            actions.setdefault(version.action.fill_id, []).append(version)
        told = {event.aggregate_key for event in sealed.events}
    partitions = tuple(sorted({partition_of(key) for key in told}))
    result = []
    for arrival in arrivals:
        fill_id = arrival.fill.fill_id
        status, reason = arrival.status, None
        is_effective = status in (OutcomeStatus.BOOKED, OutcomeStatus.ENRICHED)
        if is_effective and plan is not None and fill_id in plan.misfits:
            status, reason = OutcomeStatus.PARKED, plan.misfits[fill_id]
        own = tuple(actions.get(fill_id, ())) if is_effective else ()
        result.append(Outcome(fill_id=fill_id, status=status, reason=reason, actions=own, partitions=partitions))
    return result
