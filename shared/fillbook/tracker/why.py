"""Why an execution was booked, and what came of it: receipt, signal, lane decision, intent, fill, action, closings, event,
message, figures. Every link is there; one that cannot be followed says so and why, instead of being left out.

An execution that a broker reported has no receipt, signal, lane or intent. Bodies and payloads are not shown. Source:
tracker.md 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

from fillbook.calendar import CalendarError, calendar
from fillbook.ledger.ids import event_id
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import load_queries
from fillbook.signal.rules import reason_words
from fillbook.tracker import days, listing, store
from fillbook.tracker.filters import path_uuid
from fillbook.tracker.lanes import block_words
from fillbook.tracker.model import books, single, whole
from fillbook.tracker.route import Given, Parameter, Route, Source, names
from fillbook.tracker.store import Row, Seen
from fillbook.tracker.trades import message_state
from fillbook.tracker.why_model import Link, LinkName, LinkState, Why
from fillbook.tracker.wire import answer, instants, text

QUERIES: Final = load_queries("fillbook.tracker", "why.sql")
SIGNAL: Final = "signal"
BEFORE: Final[tuple[LinkName, ...]] = ("receipt", "signal", "lane", "intent")
VERSIONS_MAX: Final = 1_000_000
EVENTS: Final = ("execution_booked", "execution_corrected", "execution_busted")
GONE: Final[Mapping[str, str]] = {
    "removed": "the message was removed",
    "missing": "the message is not there any more",
    "dead": "the message could not be posted",
    "none": "no message was asked for",
}
WAITING: Final = frozenset({"pending", "ambiguous"})
UNTOLD: Final[Mapping[str, str]] = {"suppressed": "history is not told", "muted": "the book is not told"}
OF_ALL: Final = ("Daily PnL", "Total PnL", "Equity", "Traded value", "Fees paid")
OF_CLOSINGS: Final = ("Realized PnL", "Profit factor")
OF_OPENINGS: Final = ("Unrealized PnL", "Gross exposure", "Net exposure")
FIGURES: Final[Mapping[str, tuple[str, ...]]] = {
    "ENTRY": (*OF_ALL, *OF_OPENINGS, "Entries opened"),
    "ADD_ENTRY": (*OF_ALL, *OF_OPENINGS, "Add entries"),
    "TRIM": (*OF_ALL, *OF_CLOSINGS, "Trims taken"),
    "EXIT": (*OF_ALL, *OF_CLOSINGS, "Exits closed", "Win rate", "Expectancy", "Avg win", "Avg loss", "Avg hold time"),
}
"""The published figures that an action of each type is a part of (snapshot specification, 2.3)."""

VERSION: Final = Parameter(
    name="version",
    schema={"type": "integer", "minimum": 1, "maximum": VERSIONS_MAX},
    purpose="A version of the execution; the newest when left out.",
)
ACTION_ID: Final = Parameter(name="action_id", schema={"type": "string", "format": "uuid"}, purpose="The execution.")
PARAMETERS: Final = (listing.BOOKS, VERSION, ACTION_ID)


def why(db: Database, key: DeskKey, given: Given, now: datetime, *, action_id: str) -> Why:
    """The chain of an execution; 404 ``action_unknown`` for one that does not exist for the key."""
    one = single(given, names((listing.BOOKS, VERSION)))
    version = whole(one["version"], "version", VERSIONS_MAX) if "version" in one else None
    identity = path_uuid(action_id, "action_unknown")
    with store.look(db, key, books(one) if "books" in one else None) as seen:
        versions = seen.tx.query(QUERIES["versions"], books=seen.book_ids, action_id=identity)
        row = next((each for each in versions if version in (None, each["version"])), None)
        if row is None:
            raise Rejected("action_unknown", "no such execution for this key", status=404)
        chain = _timed(list(_chain(seen, row, now)))
    missing = list(dict.fromkeys(link["link"] for link in chain if link["state"] == "missing"))
    found = answer(
        now,
        row["known_from"],
        seen.books,
        action_id=row["action_id"],
        book_id=row["book_id"],
        position_id=row["position_id"],
        ticker=row["ticker"],
        version=row["version"],
        versions=versions[0]["version"],
        is_whole=not missing,
        missing=missing,
        chain=chain,
    )
    return cast("Why", found)


def _timed(chain: Sequence[Link]) -> list[Link]:
    """The chain with the time from each link to the one before that has a time."""
    before: int | None = None
    found: list[Link] = []
    for link in chain:
        gap = None if before is None or link["ts"] is None else link["ts"] - before
        found.append({**link, "gap_ms": gap})
        before = before if link["ts"] is None else link["ts"]
    return found


def _link(
    name: LinkName, identity: object, at: datetime | None, note: str | None = None, is_there: LinkState = "found", **facts: Any
) -> Link:
    told = {
        "link": name,
        "state": is_there,
        "id": None if identity is None else str(identity),
        **instants("", at),
        "gap_ms": None,
        "note": note,
        "facts": facts,
    }
    return cast("Link", told)


def _without(name: LinkName, note: str, state: LinkState = "missing", identity: object = None) -> Link:
    return _link(name, identity, None, note, state)


def _chain(seen: Seen, row: Row, now: datetime) -> Iterator[Link]:
    place = {"book_id": row["book_id"], "fill_id": UUID(row["fill_id"]), "seq": row["fill_seq"]}
    fills = seen.tx.query(QUERIES["fill"], **place)
    source = fills[0]["source"] if fills else None
    if source == SIGNAL:
        yield from _before(seen, row)
    else:
        note = "not looked for: the fill is missing" if source is None else f"reported by {source}, not decided here"
        for name in BEFORE:
            yield _without(name, note, "not_applicable")
    if fills:
        yield _fill(row, fills[0])
    else:
        yield _without("fill", "the fill is not in the journal", identity=row["fill_id"])
    yield _action(row)
    yield from _closings(seen, row)
    yield from _events(seen, row)
    yield from _messages(seen, row)
    yield from _figures(seen, row, now)


def _before(seen: Seen, row: Row) -> Iterator[Link]:
    """What a signal's execution was decided from."""
    named = (row["meta"] or {}).get("receipt_id")
    if named is None:
        for name in BEFORE:
            yield _without(name, "the execution does not name its receipt")
        return
    receipt_id = UUID(named)
    decisions = seen.tx.query(QUERIES["decision"], book_id=row["book_id"], receipt_id=receipt_id)
    ts = decisions[0]["ts"] if decisions else None
    receipts = seen.tx.query(QUERIES["receipt"], receipt_id=receipt_id, ts=ts)
    if receipts:
        yield from _receipt(named, receipts[0])
    else:
        yield _without("receipt", "the receipt is not kept any more", identity=named)
        yield _without("signal", "nothing is left of the receipt", identity=named)
    if not decisions:
        yield _without("lane", "the decision is not kept any more", identity=named)
        yield _without("intent", "nothing is left of the decision")
        return
    yield _lane(named, decisions[0])
    yield _intent(named, row, decisions[0])


def _receipt(named: str, receipt: Row) -> Iterator[Link]:
    yield _link("receipt", named, receipt["received_at"], payload_hash=receipt["payload_hash"], ticker=receipt["ticker"])
    yield _link(
        "signal",
        named,
        receipt["recorded_at"],
        script_version=receipt["script_version"],
        result=receipt["result"],
        repairs=list(receipt["repairs"]),
        **instants("bar", receipt["ts"]),
    )


def _lane(named: str, decision: Row) -> Link:
    trace = decision["trace"] or {}
    return _link(
        "lane",
        named,
        decision["recorded_at"],
        lane=decision["lane"],
        computed_lane=decision["computed_lane"],
        rule=decision["rule"],
        reason=decision["reason"],
        reason_text=reason_words(decision["reason"]),
        direction=decision["side"],
        score=text(decision["score"]),
        badges=list(decision["badges"]),
        inputs=trace.get("inputs", {}),
        compared=trace.get("compared", []),
        block_reasons=[
            {"code": block["rule"], "text": block_words(block), "value": block["value"], "limit": block["limit"]}
            for block in decision["blocks"]
        ],
        profile=decision["profile"],
    )


def _intent(named: str, row: Row, decision: Row) -> Link:
    """The intent whose ordinal the fill carries."""
    ordinal = row["venue_order"]
    found = next((one for one in decision["intents"] if f"{one['ordinal']:02d}" == ordinal), None)
    if found is None:
        return _without("intent", "the decision has no such intent")
    return _link(
        "intent",
        f"{named}#{found['ordinal']}",
        decision["recorded_at"],
        kind=found["kind"],
        direction=found["side"],
        rule=found["rule"],
        reason=found["reason"],
        reason_text=reason_words(found["reason"]),
        price=text(Decimal(found["price"])),
        qty=None if found["quantity"] is None else text(Decimal(found["quantity"])),
        refused_by=list(found["refused_by"]),
    )


def _fill(row: Row, fill: Row) -> Link:
    return _link(
        "fill",
        row["fill_id"],
        fill["recorded_at"],
        source=fill["source"],
        source_id=fill["source_id"],
        version=fill["source_revision"],
        qty=text(fill["quantity"]),
        price=text(fill["price"]),
        fees=text(fill["fees"]),
        currency=fill["currency"],
        **instants("executed", fill["executed_at"]),
    )


def _action(row: Row) -> Link:
    return _link(
        "action",
        row["action_id"],
        row["known_from"],
        "the execution was taken back" if row["state"] == "VOID" else None,
        book_id=row["book_id"],
        ticker=row["ticker"],
        position_id=row["position_id"],
        action_type=row["action_type"],
        direction=row["direction"],
        version=row["version"],
        cause=row["cause"],
        qty=text(row["quantity"]),
        price=text(row["price"]),
        value=text(row["value"]),
        fees=text(row["fees"]),
        pnl_realized=text(row["realized_pnl"]),
        currency=row["currency"],
        reason=row["reason"],
        **instants("executed", row["executed_at"]),
    )


def _closings(seen: Seen, row: Row) -> Iterator[Link]:
    if row["action_type"] not in ("TRIM", "EXIT"):
        yield _without("closing", "an opening closes nothing", "not_applicable")
        return
    found = seen.tx.query(QUERIES["closings"], book_id=row["book_id"], action_id=UUID(row["action_id"]), version=row["version"])
    for one in found:
        yield _link(
            "closing",
            one["lot_id"],
            one["recorded_at"],
            qty=text(one["quantity"]),
            lot_price=text(one["lot_price"]),
            pnl_realized=text(one["realized_pnl"]),
            currency=row["currency"],
        )
    if not found:
        yield _without("closing", "no lot was closed")


def _events(seen: Seen, row: Row) -> Iterator[Link]:
    book_id, version = row["book_id"], row["version"]
    if book_id.startswith("replay:"):
        yield _without("event", "a replay announces nothing", "not_applicable")
        return
    ids = [UUID(event_id(book_id, kind, row["action_id"], version)) for kind in EVENTS]
    found = seen.tx.query(QUERIES["events"], ids=ids)
    for one in found:
        waits = one["published_at"] is None
        note = None if not waits else "it waits to be published" if one["parked_at"] is None else "it could not be published"
        yield _link(
            "event",
            one["event_id"],
            one["recorded_at"],
            note,
            event_type=one["event_type"],
            **instants("published", one["published_at"]),
        )
    if not found:
        yield _without("event", "it was not announced by itself, or is not kept any more")


def _messages(seen: Seen, row: Row) -> Iterator[Link]:
    if row["book_id"].startswith("replay:"):
        yield _without("message", "a replay posts nothing", "not_applicable")
        return
    found = seen.tx.query(QUERIES["messages"], book_id=row["book_id"], action_id=UUID(row["action_id"]))
    for one in found:
        state = message_state(one)
        yield _link(
            "message",
            one["message_id"] or one["subject_key"],
            one["posted_at"],
            GONE.get(state) or UNTOLD.get(state),
            "missing" if state in GONE else "not_yet" if state in WAITING else "not_applicable" if state in UNTOLD else "found",
            channel=one["channel_id"],
            message_id=one["message_id"],
            url=one["message_url"],
            state=state,
            version=one["wanted_version"],
            posted_version=one["posted_version"],
        )
    if not found:
        yield _without("message", GONE["none"])


def _figures(seen: Seen, row: Row, now: datetime) -> Iterator[Link]:
    """The figures of the day that counts the execution, as they are published now."""
    try:
        day = calendar().trading_day(row["executed_at"])
    except CalendarError:
        yield _without("kpi", "the exchange's calendar does not know the day")
        return
    kpis = list(FIGURES[row["action_type"]])
    found = seen.tx.query(QUERIES["day"], date=day, kpis=kpis, book_id=row["book_id"], books=seen.book_ids)
    for one in found:
        if one["kpi"] is None:
            yield _without("kpi", f"the day {day} is published without such figures", identity=day)
            continue
        yield _link(
            "kpi",
            f"{day}/{one['kpi']}",
            one["received_at"],
            date=day.isoformat(),
            stage=one["stage"],
            version=one["version"],
            kind=one["kpi"],
            display=one["value_text"],
            value=text(one["value_num"]),
            unit=one["unit"],
        )
    if not found:
        is_over = days.window(day, calendar())[1] <= now
        yield _without("kpi", f"the day {day} is not published for this book", "missing" if is_over else "not_yet", day)


ROUTES: Final = (
    Route(
        path="/timed/why/{action_id}",
        purpose="What led to an execution and what came of it, link by link.",
        use_case=why,
        answer=Why,
        parameters=PARAMETERS,
        sources=frozenset({Source.LEDGER, Source.SIGNAL, Source.OUTBOX, Source.NOTIFY, Source.METRICS, Source.MINUTE}),
    ),
)
