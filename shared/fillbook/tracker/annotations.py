"""A user's words about trades: notes, tags, a strategy, and whether a trade is hidden; written here and nowhere else.

Words hang on what never changes: a trade's id, of a position the action that opened it when they were written. They are shown on
the position that holds that action now, and those of a merged IBKR trade on its heir, unless it has some of its own; what more
there is comes beside them under the id it hangs on. Words whose action is void, or whose trade is gone, stay and are detached.
Changing them takes the version that was seen. Source: tracker.md 5; decision 0044.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Conflict, Rejected
from fillbook.tracker import filters, listing, paging, remarks, scope, store
from fillbook.tracker.annotated import QUERIES, of_positions, of_trades
from fillbook.tracker.annotations_model import (
    Annotation,
    AnnotationAnswer,
    AnnotationPage,
    PositionNotes,
    TradeNotes,
)
from fillbook.tracker.model import books, choice, refused, single, whole
from fillbook.tracker.parameter import Parameter, names
from fillbook.tracker.route import Given, Route, Sent, Source, Weight
from fillbook.tracker.wire import answer, instants
from fillbook.values import frozen

LIMIT_DEFAULT, LIMIT_MAX = 100, 500
POSITION, IBKR, MT5 = "position", "ibkr_trade", "mt5_trade"
KINDS = (POSITION, IBKR, MT5)
FLAGS = ("true", "false")
BOOK = Parameter(
    name="books",
    schema={"type": "string", "minLength": 1, "examples": ["live", "ibkr:U1"]},
    purpose="The position's book; `live` when left out.",
)
IF_MATCH = Parameter(
    name="If-Match",
    schema={"type": "string", "pattern": r'^(W/)?"?[0-9]+"?$', "examples": ["1"]},
    purpose="`notes_version` as it was seen.",
)
PARAMETERS = (
    Parameter(
        name="books",
        schema={"type": "string", "minLength": 1, "examples": ["all", "live,ibkr:U1"]},
        purpose="Books of the trades; every book of the key except replays when left out.",
    ),
    Parameter(name="kind", schema={"enum": list(KINDS)}, purpose="What the words are about."),
    Parameter(
        name="tag",
        schema={"type": "string", "minLength": 1, "maxLength": remarks.TAG_LENGTH_MAX},
        purpose="With this tag among theirs.",
    ),
    Parameter(name="is_detached", schema={"enum": list(FLAGS)}, purpose="Only those that are shown nowhere, or only the others."),
    listing.limit(LIMIT_DEFAULT, LIMIT_MAX),
    listing.CURSOR,
)


@frozen
class Subject:
    """What words are about, and where they are shown (None: nowhere)."""

    kind: str
    subject_id: UUID
    book_id: str | None
    trade_id: UUID | None
    ticker: str | None

    @property
    def key_book(self) -> str:
        """The book as a part of the key: ids of positions' actions leave it out."""
        return self.book_id or "" if self.kind == POSITION else ""


# --- written ----------------------------------------------------------------------------------------------------------


def create_position_notes(
    db: Database, key: DeskKey, given: Given, now: datetime, *, sent: Sent, trade_id: str
) -> AnnotationAnswer:
    """Say the first words about a position; 409 ``notes_exist`` when there are some."""
    wanted = remarks.changes(sent.body, remarks.OF_POSITION)
    with _position(db, key, given, trade_id) as (seen, subject, rows):
        return _created(seen, key, subject, rows, wanted, now)


def change_position_notes(
    db: Database, key: DeskKey, given: Given, now: datetime, *, sent: Sent, trade_id: str
) -> AnnotationAnswer:
    """Say something else about a position, over the version that was seen."""
    wanted, version = remarks.changes(sent.body, remarks.OF_POSITION), remarks.version_seen(sent.headers.get("If-Match"))
    with _position(db, key, given, trade_id) as (seen, subject, rows):
        return _changed(seen, key, subject, rows, wanted, version, now)


def create_trade_notes(db: Database, key: DeskKey, given: Given, now: datetime, *, sent: Sent, trade_id: str) -> AnnotationAnswer:
    """Say the first words about a broker's trade; 409 ``notes_exist`` when there are some."""
    wanted = remarks.changes(sent.body, remarks.OF_TRADE)
    with _trade(db, key, given, trade_id) as (seen, subject, rows):
        return _created(seen, key, subject, rows, wanted, now)


def change_trade_notes(db: Database, key: DeskKey, given: Given, now: datetime, *, sent: Sent, trade_id: str) -> AnnotationAnswer:
    """Say something else about a broker's trade, over the version that was seen."""
    wanted, version = remarks.changes(sent.body, remarks.OF_TRADE), remarks.version_seen(sent.headers.get("If-Match"))
    with _trade(db, key, given, trade_id) as (seen, subject, rows):
        return _changed(seen, key, subject, rows, wanted, version, now)


Found = tuple[store.Seen, Subject, Sequence[store.Row]]


@contextmanager
def _position(db: Database, key: DeskKey, given: Given, trade_id: str) -> Iterator[Found]:
    """A position of one book and its words; also by the id that detached words hang on."""
    wanted = books(single(given, names((BOOK,))))
    identity = filters.path_uuid(trade_id, "trade_unknown")
    if wanted is None or len(wanted) != 1:
        raise refused("books")
    (book_id,) = wanted
    with store.write(db, key, wanted) as seen:
        rows = seen.tx.query(QUERIES["position_subject"], books=seen.book_ids, trade_id=identity)
        if rows:
            subject = Subject(kind=POSITION, **rows[0])
            found = of_positions(seen, key, [{"position_id": subject.trade_id}]).get((book_id, str(identity)), ())
            yield seen, subject, found
        else:
            yield _kept(seen, key, POSITION, book_id, identity)


@contextmanager
def _trade(db: Database, key: DeskKey, given: Given, trade_id: str) -> Iterator[Found]:
    """A trade of whichever broker and its words; also one that is gone but was spoken of."""
    single(given, frozenset())
    identity = filters.path_uuid(trade_id, "trade_unknown")
    with store.write(db, key, None) as seen:
        linked = seen.tx.query(QUERIES["linked_subject"], tenant_id=key.tenant_id, trade_id=identity)
        linked = [row for row in linked if key.sees(row["book_id"])]
        rows = linked or seen.tx.query(QUERIES["trade_subject"], books=seen.book_ids, trade_id=identity)
        if rows:
            subject = Subject(kind=MT5 if linked else IBKR, **rows[0])
            yield seen, subject, of_trades(seen, key, [identity], is_linked=bool(linked)).get(identity, ())
        elif key.sees("mt5:"):
            yield _kept(seen, key, MT5, "", identity)
        else:
            raise _unknown()


def _kept(seen: store.Seen, key: DeskKey, kind: str, book_id: str, identity: UUID) -> Found:
    """Words whose trade is not there, by what they hang on; 404 ``trade_unknown`` without any."""
    rows = seen.tx.query(QUERIES["own_words"], tenant_id=key.tenant_id, kind=kind, book_id=book_id, subject_id=identity)
    if not rows:
        raise _unknown()
    return seen, Subject(kind=kind, subject_id=identity, book_id=book_id or None, trade_id=None, ticker=None), rows


def _unknown() -> Rejected:
    return Rejected("trade_unknown", "no such trade for this key", status=404)


def _created(
    seen: store.Seen, key: DeskKey, subject: Subject, rows: Sequence[store.Row], wanted: Mapping[str, Any], now: datetime
) -> AnnotationAnswer:
    if not rows:
        values = _values(key, subject, remarks.Remark().with_changes(wanted), None, now)
        rows = seen.tx.query(QUERIES["create"], **values)
        if rows:
            return _stored(seen, subject, rows[0], now)
    raise Conflict("notes_exist", f"{subject.kind} {subject.subject_id} has words")


def _changed(
    seen: store.Seen,
    key: DeskKey,
    subject: Subject,
    rows: Sequence[store.Row],
    wanted: Mapping[str, Any],
    version: int,
    now: datetime,
) -> AnnotationAnswer:
    if not rows:
        raise Rejected("notes_unknown", f"nothing was said about {subject.kind} {subject.subject_id}", status=404)
    was = rows[0]
    before = remarks.Remark(
        notes=was["notes"], tags=tuple(was["tags"]), strategy=was["strategy"], is_hidden=was["hidden_at"] is not None
    )
    hangs_on = Subject(
        kind=subject.kind, subject_id=was["subject_id"], book_id=subject.book_id, trade_id=subject.trade_id, ticker=subject.ticker
    )
    values = _values(key, hangs_on, before.with_changes(wanted), was["hidden_at"], now)
    written = seen.tx.query(QUERIES["change"], version=version, **values)
    if not written:
        raise Rejected("version_differs", f"version {was['version']} is there", field="If-Match", status=412)
    return _stored(seen, hangs_on, written[0], now)


def _values(
    key: DeskKey, subject: Subject, remark: remarks.Remark, hidden_at: datetime | None, now: datetime
) -> dict[str, object]:
    return {
        "tenant_id": key.tenant_id,
        "kind": subject.kind,
        "book_id": subject.key_book,
        "subject_id": subject.subject_id,
        "notes": remark.notes,
        "tags": list(remark.tags),
        "strategy": remark.strategy,
        "hidden_at": (hidden_at or now) if remark.is_hidden else None,
        "now": now,
        "updated_by": key.id,
    }


def _stored(seen: store.Seen, subject: Subject, row: store.Row, now: datetime) -> AnnotationAnswer:
    about = {"kind": subject.kind, "book_id": subject.book_id, "trade_id": subject.trade_id, "ticker": subject.ticker}
    return cast("AnnotationAnswer", answer(now, row["updated_at"], seen.books, annotation=_annotation(row | about)))


# --- listed -----------------------------------------------------------------------------------------------------------


def notes(db: Database, key: DeskKey, given: Given, now: datetime) -> AnnotationPage:
    """A page of words, last changed first. One that is changed while somebody pages moves ahead and is seen on the next look."""
    one = single(given, names(PARAMETERS))
    tag, detached = one.get("tag"), choice(one, "is_detached", FLAGS)
    if tag is not None and not 0 < len(tag) <= remarks.TAG_LENGTH_MAX:
        raise refused("tag")
    limit, question = whole(one.get("limit", str(LIMIT_DEFAULT)), "limit", LIMIT_MAX), listing.asked(one, "notes")
    after = paging.read(one["cursor"], question, "cursor").place if "cursor" in one else None
    wanted = books({"books": one.get("books", "all")})
    with store.look(db, key, wanted) as seen:
        rows = seen.tx.query(
            QUERIES["notes"],
            tenant_id=key.tenant_id,
            kind=choice(one, "kind", KINDS),
            tag=tag,
            is_detached=None if detached is None else detached == "true",
            patterns=scope.expressions(key.books),
            books=None if wanted is None else list(wanted),
            after_at=None if after is None else after.at,
            after_id=None if after is None else after.id,
            limit=limit + 1,
        )
    shown, has_more = rows[:limit], len(rows) > limit
    last = paging.Place(at=shown[-1]["updated_at"], id=shown[-1]["subject_id"]) if has_more else None
    page = answer(
        now,
        max((row["updated_at"] for row in shown), default=None),
        seen.books,
        count=len(shown),
        has_more=has_more,
        next_cursor=None if last is None else paging.written(last, question),
        notes=[_annotation(row) for row in shown],
    )
    return cast("AnnotationPage", page)


def _annotation(row: Mapping[str, Any]) -> Annotation:
    told = {
        "kind": row["kind"],
        "book_id": row["book_id"],
        "subject_id": str(row["subject_id"]),
        "trade_id": None if row["trade_id"] is None else str(row["trade_id"]),
        "ticker": row["ticker"],
        "is_detached": row["trade_id"] is None,
        "notes": row["notes"],
        "tags": list(row["tags"]),
        "strategy": row["strategy"],
        "is_hidden": row["hidden_at"] is not None,
        **instants("hidden", row["hidden_at"]),
        "version": row["version"],
        **instants("updated", row["updated_at"]),
        "updated_by": row["updated_by"],
    }
    return cast("Annotation", told)


def _writing(
    path: str, purpose: str, create: Any, change: Any, body: type, parameters: tuple[Parameter, ...]
) -> tuple[Route, ...]:
    """The two operations of a subject's words: the first ones, and others over a version that was seen."""
    return (
        Route(
            path=path,
            purpose=f"Say the first words about {purpose}.",
            use_case=create,
            answer=AnnotationAnswer,
            parameters=parameters,
            scope="admin",
            weight=Weight.ADMIN,
            method="POST",
            status=201,
            body=body,
            refusals=frozenset({408, 409, 413}),
        ),
        Route(
            path=path,
            purpose=f"Say something else about {purpose}: what is named changes, null clears.",
            use_case=change,
            answer=AnnotationAnswer,
            parameters=parameters,
            scope="admin",
            weight=Weight.ADMIN,
            method="PATCH",
            body=body,
            headers=(IF_MATCH,),
            refusals=frozenset({408, 412, 413, 428}),
        ),
    )


ROUTES: tuple[Route, ...] = (
    *_writing(
        "/timed/ledger/trades/{trade_id}/notes",
        "a position",
        create_position_notes,
        change_position_notes,
        PositionNotes,
        (filters.TRADE_ID, BOOK),
    ),
    *_writing(
        "/api/v1/trades/{trade_id}/notes",
        "a broker's trade",
        create_trade_notes,
        change_trade_notes,
        TradeNotes,
        (filters.TRADE_ID,),
    ),
    Route(
        path="/timed/notes",
        purpose="A user's words about trades, last changed first.",
        use_case=notes,
        answer=AnnotationPage,
        parameters=PARAMETERS,
        sources=frozenset({Source.ANNOTATIONS, Source.LEDGER, Source.IBKR, Source.MT5}),
    ),
)
