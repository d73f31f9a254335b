"""What happened on the desk, newest first, of every kind in one list.

Pages go by (time, id): keys that do not change, and what was recorded after the first page was asked for is not shown on the
later ones, so that nothing comes twice and nothing is skipped. A sync run that found nothing and a publication that changed
nothing did not happen. Source: tracker.md 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast
from uuid import UUID

from fillbook.ledger import asof
from fillbook.ledger.moment import Moment
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import counted, load_queries
from fillbook.signal.rules import reason_words
from fillbook.tracker import listing, paging, store
from fillbook.tracker.activity_model import Activity, Item
from fillbook.tracker.listing import Common
from fillbook.tracker.model import refused, single
from fillbook.tracker.route import Given, Parameter, Route, Source, names
from fillbook.tracker.store import Row, Seen
from fillbook.tracker.wire import answer, exact, instants, text
from fillbook.values import frozen

QUERIES: Final = load_queries("fillbook.tracker", "activity.sql")
COUNTED: Final = {kind: counted(asked) for kind, asked in QUERIES.items()}
LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 500
TICKER_LENGTH_MAX: Final = 64
EVER: Final = datetime(1900, 1, 1, tzinfo=UTC)
FOR_EVER: Final = datetime(9000, 1, 1, tzinfo=UTC)
LAST_ID: Final = UUID(int=2**128 - 1)
KINDS: Final = ("execution", "correction", "lane_move", "message", "snapshot", "sync", "replay")
VERBS: Final[Mapping[str, str]] = {"ENTRY": "Entered", "ADD_ENTRY": "Added to", "TRIM": "Trimmed", "EXIT": "Exited"}

WANTED: Final = Parameter(
    name="kinds",
    schema={"type": "string", "minLength": 1, "examples": ["execution", "execution,correction"]},
    purpose=f"Kinds with commas between, of {', '.join(KINDS)}; all when left out.",
)
TICKER: Final = Parameter(
    name="ticker", schema={"type": "string", "minLength": 1, "maxLength": TICKER_LENGTH_MAX}, purpose="Of this ticker alone."
)
PARAMETERS: Final = (
    listing.BOOKS,
    *listing.RANGE,
    listing.KNOWN_AS_OF,
    WANTED,
    TICKER,
    listing.limit(LIMIT_DEFAULT, LIMIT_MAX),
    listing.CURSOR,
)


@frozen
class Asked:
    """Which kinds, of which ticker, besides the common parameters."""

    kinds: tuple[str, ...]
    ticker: str | None
    common: Common


def asked(given: Given) -> Asked:
    """Understand the parameters; raises ``Rejected`` naming the one that is wrong."""
    one = single(given, names(PARAMETERS))
    kinds = tuple(one["kinds"].split(",")) if "kinds" in one else KINDS
    if not set(kinds) <= set(KINDS) or len(set(kinds)) != len(kinds):
        raise refused("kinds")
    ticker = one.get("ticker")
    if ticker is not None and not 0 < len(ticker) <= TICKER_LENGTH_MAX:
        raise refused("ticker")
    return Asked(kinds=kinds, ticker=ticker, common=listing.read(one, "activity", LIMIT_DEFAULT, LIMIT_MAX))


def activity(db: Database, key: DeskKey, given: Given, now: datetime) -> Activity:
    """A page of what happened."""
    what = asked(given)
    with store.look(db, key, what.common.books) as seen:
        known = known_as_of(what.common, seen.recorded_at, now)
        rows = page(seen, key, what, known)
        seqs = seen.books
        if what.common.known_as_of is not None:
            then = asof.books(seen.tx, seen.book_ids, Moment(as_of=known, known_as_of=known))
            seqs = {name: then[name].seq for name in seen.books}
    shown, has_more = rows[: what.common.limit], len(rows) > what.common.limit
    found = answer(
        now,
        max((row["at"] for _, row in shown), default=None),
        seqs,
        **exact("known_as_of", known),
        count=len(shown),
        has_more=has_more,
        next_cursor=what.common.cursor(place_of(shown[-1][1]), known) if has_more else None,
        items=[item(kind, row) for kind, row in shown],
    )
    return cast("Activity", found)


def known_as_of(query: Common, recorded_at: datetime | None, now: datetime) -> datetime:
    """What is known to an answer: as asked, as on the first page, else all there is."""
    if query.after is not None and query.after.known_as_of is not None:
        return query.after.known_as_of
    return query.known_as_of or max(now, recorded_at or now)


def page(seen: Seen, key: DeskKey, what: Asked, known: datetime) -> list[tuple[str, Row]]:
    """The rows of a page with their kinds, newest first, and one more where there are more."""
    found: list[tuple[str, Row]] = []
    limit = what.common.limit + 1
    for kind in what.kinds:
        asked_of = _asked_of(seen, key, what, known, kind, limit)
        found += [(kind, row) for row in seen.tx.query(QUERIES[kind], **asked_of)]
    found.sort(key=lambda one: (one[1]["at"], one[1]["uid"]), reverse=True)
    return found[:limit]


def count(seen: Seen, key: DeskKey, what: Asked, known: datetime, limit: int) -> int:
    """How much happened, of each kind ``limit`` at most."""
    return sum(
        int(row["count"])
        for kind in what.kinds
        for row in seen.tx.query(COUNTED[kind], **_asked_of(seen, key, what, known, kind, limit))
    )


def _asked_of(seen: Seen, key: DeskKey, what: Asked, known: datetime, kind: str, limit: int) -> dict[str, object]:
    """The parameters that the statement of a kind has."""
    query = what.common
    given: dict[str, object] = {
        "books": _replayed(seen, key) if kind == "replay" else seen.book_ids,
        "since": query.since or EVER,
        "until": query.until or FOR_EVER,
        "known_as_of": known,
        "ticker": what.ticker,
        "after_at": FOR_EVER if query.place is None else query.place.at,
        "after_id": LAST_ID if query.place is None else query.place.id,
        "limit": limit,
    }
    return {name: given[name] for name in QUERIES[kind].parameters}


def _replayed(seen: Seen, key: DeskKey) -> list[str]:
    """The books of runs that exist for a key."""
    return [row["book_id"] for row in seen.tx.query(QUERIES["replay_books"]) if key.sees(row["book_id"])]


def place_of(row: Row) -> paging.Place:
    """Where something stands in the list."""
    return paging.Place(at=row["at"], id=row["uid"])


def item(kind: str, row: Row) -> Item:
    """One thing that happened, as it is shown."""
    title, figures = TELLERS[kind](row)
    position = row.get("position_id")
    return cast(
        "Item",
        {
            "id": str(row["uid"]),
            "kind": kind,
            **instants("", row["at"]),
            "book_id": row.get("book_id"),
            "ticker": row.get("ticker"),
            "title": title,
            "figures": figures,
            "position_id": None if position is None else str(position),
            "action_id": row.get("action_id"),
        },
    )


Told = tuple[str, dict[str, Any]]


def _execution(row: Row) -> Told:
    title = (
        f"{VERBS[row['action_type']]} {row['ticker']} {row['direction'].lower()}: {text(row['quantity'])} at {text(row['price'])}"
    )
    return title, _of_an_action(row) | {
        "value": text(row["value"]),
        "fees": text(row["fees"]),
        "reason": row["reason"],
        "reason_text": None if row["reason"] is None else reason_words(row["reason"]),
    }


def _of_an_action(row: Row) -> dict[str, Any]:
    return {
        "action_type": row["action_type"],
        "direction": row["direction"],
        "qty": text(row["quantity"]),
        "price": text(row["price"]),
        "pnl_realized": text(row["realized_pnl"]),
        "currency": row["currency"],
        "version": row["version"],
    }


def _correction(row: Row) -> Told:
    became = "was taken back" if row["state"] == "VOID" else f"became version {row['version']}"
    title = f"{row['action_type']} of {row['ticker']} {became}"
    return title, _of_an_action(row) | {
        "state": row["state"],
        "reason": row["cause"],
        "pnl_before": text(row["realized_before"]),
    }


def _lane_move(row: Row) -> Told:
    before = "" if row["from_lane"] is None else f" from {_words(row['from_lane'])}"
    return f"{row['ticker']} moved{before} to {_words(row['lane'])}", {
        "from_lane": row["from_lane"],
        "lane": row["lane"],
        "reason": row["reason"],
        "reason_text": reason_words(row["reason"]),
        "score": text(row["score"]),
        "price": text(row["price"]),
        "receipt_id": str(row["receipt_id"]),
    }


def _message(row: Row) -> Told:
    return row["title"] or "Message", {
        "state": row["state"],
        "message_id": row["message_id"],
        "url": row["message_url"],
        "version": row["version"],
    }


def _snapshot(row: Row) -> Told:
    day = row["report_date"].isoformat()
    return f"Day {day} {_words(row['status'])}", {
        "date": day,
        "stage": row["stage"],
        "state": row["status"],
        "target": row["target"],
        "version": row["version"],
        "run_id": str(row["run_id"]),
    }


def _sync(row: Row) -> Told:
    count = row["rows"] or 0
    return f"Sync by {row['source']} {_words(row['state'])}: {count} rows", {
        "source": row["source"],
        "state": row["state"],
        "error": row["error"],
        "rows": count,
        "run_id": str(row["run_id"]),
    }


def _replay(row: Row) -> Told:
    days = row["date_from"].isoformat()
    if row["date_to"] != row["date_from"]:
        days += f" to {row['date_to'].isoformat()}"
    return f"Replay of {days} {_words(row['status'])}", {
        "state": row["status"],
        "date": row["date_from"].isoformat(),
        "error": row["error"],
        "rows": row["rows"],
        "run_id": str(row["run_id"]),
    }


def _words(slug: str) -> str:
    return slug.replace("_", " ")


TELLERS: Final[Mapping[str, Callable[[Row], Told]]] = {
    "execution": _execution,
    "correction": _correction,
    "lane_move": _lane_move,
    "message": _message,
    "snapshot": _snapshot,
    "sync": _sync,
    "replay": _replay,
}
"""Title and figures of each kind."""

ROUTES: Final = (
    Route(
        path="/timed/activity",
        purpose="What happened on the desk, of every kind, newest first.",
        use_case=activity,
        answer=Activity,
        parameters=PARAMETERS,
        sources=frozenset({Source.LEDGER, Source.SIGNAL, Source.NOTIFY, Source.METRICS, Source.IBKR, Source.MT5, Source.REPLAY}),
    ),
)
