"""Messages: what should stand on Discord and what does, every request that was made, what died and why, what was proven.

A row of a book exists for whoever may see that book. What belongs to no book (the desk's own troubles), the channels and the runs
of the proof are of the desk as a whole: they exist for whoever may see the live book. Source: tracker.md 5; notify.md 6, 8, 11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import load_queries
from fillbook.tracker import listing, paging, store
from fillbook.tracker.messages_model import Channels, DeadLetters, Deliveries, Messages, Proofs
from fillbook.tracker.model import books, choice, instant, refused, single, whole
from fillbook.tracker.parameter import Parameter, names
from fillbook.tracker.route import Given, Route, Source
from fillbook.tracker.trades import message_state
from fillbook.tracker.wire import answer, instants, text
from fillbook.values import frozen

QUERIES = load_queries("fillbook.tracker", "messages.sql")
Document = dict[str, Any]
LIVE = "live"
NOBODY, UUID_LENGTH = UUID(int=0), 36
LIMIT_DEFAULT, LIMIT_MAX = 100, 500
FINDINGS_MAX = 500
CHANNELS = ("executions", "ops", "lanes")
STATES = ("pending", "sending", "posted", "ambiguous", "dead", "suppressed", "muted", "removed")
KINDS = ("execution", "ops", "lane")
OPERATIONS = ("create", "edit", "delete", "get")
COUNTED = ("actions", "messages", "equal", "missing", "wrong", "double", "orphan", "unverifiable", "repaired")
VERB = "python3 infra/dev.py op notify"
REMEDIES = {
    "exhausted": "Every try failed. Once Discord answers again, send them again.",
    "expired": "They waited for two days. See why the channel stood still, then send them again if they still matter.",
    "too_large": "The message does not fit even when cut. It cannot be sent as it is: the ledger has the figures.",
    "ambiguous_twice": "Twice no answer came: it may stand there already. Look for it: adopt what stands, send again the rest.",
}
REJECTED = (
    "Discord refused the message for what it says. See the excerpt of its last request, mend the cause, then send them again."
)
BOOKS = Parameter(
    name="books",
    schema={"type": "string", "minLength": 1, "examples": ["all", "live,ibkr:U1"]},
    purpose="Books that are told of; every book of the key when left out.",
)
CHANNEL = Parameter(name="channel", schema={"enum": list(CHANNELS)}, purpose="Of one channel.")
ACTION = Parameter(name="action_id", schema={"type": "string", "format": "uuid"}, purpose="About one execution.")
POSITION = Parameter(name="position_id", schema={"type": "string", "format": "uuid"}, purpose="About one position.")
SUBJECT_LENGTH_MAX = 200
SUBJECT = Parameter(
    name="subject",
    schema={
        "type": "string",
        "minLength": 1,
        "maxLength": SUBJECT_LENGTH_MAX,
        "examples": ["live/0d6fd3a6-2f6b-5a53-9a4a-7f0c4f5a2b11"],
    },
    purpose="About one subject, by the `subject_key` of its message.",
)
PAGE = (listing.limit(LIMIT_DEFAULT, LIMIT_MAX), listing.CURSOR)
ABOUT = (BOOKS, CHANNEL, ACTION, POSITION, *listing.RANGE, *PAGE)
MESSAGE_PARAMETERS = (
    Parameter(name="state", schema={"enum": list(STATES)}, purpose="How far the telling is."),
    Parameter(name="kind", schema={"enum": list(KINDS)}, purpose="What is told."),
    *ABOUT,
)
DELIVERY_PARAMETERS = (
    Parameter(name="operation", schema={"enum": list(OPERATIONS)}, purpose="What was asked of Discord."),
    SUBJECT,
    *ABOUT,
)
DEAD_PARAMETERS = (BOOKS, CHANNEL, *PAGE)
PROOF_PARAMETERS = (
    Parameter(name="run_id", schema={"type": "string", "format": "uuid"}, purpose="One run."),
    *listing.RANGE,
    *PAGE,
)


@frozen
class Query:
    """What of a list is asked for, with the parameters of its statement."""

    books: tuple[str, ...] | None
    limit: int
    question: Mapping[str, str]
    after: paging.Place | None
    asked: Mapping[str, Any]


def _query(given: Given, name: str, parameters: Sequence[Parameter]) -> tuple[Query, Mapping[str, str]]:
    one = single(given, names(parameters))
    since, until = (instant(one[end], end) if end in one else None for end in ("since", "until"))
    if since is not None and until is not None and since >= until:
        raise refused("until")
    question = listing.asked(one, name)
    query = Query(
        books=books({"books": one.get("books", "all")}),
        limit=whole(one.get("limit", str(LIMIT_DEFAULT)), "limit", LIMIT_MAX),
        question=question,
        after=paging.read(one["cursor"], question, "cursor").place if "cursor" in one else None,
        asked={"since": since, "until": until},
    )
    return query, one


def messages(db: Database, key: DeskKey, given: Given, now: datetime) -> Messages:
    """A page of messages, newest subject first."""
    query, one = _query(given, "messages", MESSAGE_PARAMETERS)
    asked = {"state": choice(one, "state", STATES), "kind": choice(one, "kind", KINDS), **_about(one)}
    with store.look(db, key, query.books) as seen:
        theirs = _told_of(seen, key, query.books)
        shown, after = _page_of_messages(seen, theirs, query, choice(one, "channel", CHANNELS), asked)
    return cast("Messages", _page(now, seen, shown, after, messages=[_message(row) for row in shown]))


def deliveries(db: Database, key: DeskKey, given: Given, now: datetime) -> Deliveries:
    """A page of the delivery log, newest request first; requests that are still open may change, others never do."""
    query, one = _query(given, "deliveries", DELIVERY_PARAMETERS)
    about: Document = {**_about(one), "subject": _subject(one), "channels": list(CHANNELS)}
    is_about = any(about[name] is not None for name in ("action_id", "position_id", "subject"))
    with store.look(db, key, query.books) as seen:
        rows = seen.tx.query(
            QUERIES["deliveries_about" if is_about else "deliveries"],
            books=_told_of(seen, key, query.books),
            channel=choice(one, "channel", CHANNELS),
            operation=choice(one, "operation", OPERATIONS),
            limit=query.limit + 1,
            after_id=None if query.after is None else query.after.id,
            **_after(query),
            **(about if is_about else {}),
            **query.asked,
        )
    shown = rows[: query.limit]
    after = _cursor(query, shown[-1], "started_at", shown[-1]["attempt_id"]) if len(rows) > query.limit else None
    told = [_delivery(row, is_admin=key.may("admin")) for row in shown]
    return cast("Deliveries", _page(now, seen, shown, after, deliveries=told))


def channels(db: Database, key: DeskKey, given: Given, now: datetime) -> Channels:
    """All channels with how much waits in them."""
    single(given, frozenset())
    with store.look(db, key, None) as seen:
        rows = seen.tx.query(QUERIES["told_channels"]) if LIVE in _told_of(seen, key, None) else []
    newest = max((row["last_posted_at"] for row in rows if row["last_posted_at"] is not None), default=None)
    told = [_channel(row) for row in rows]
    return cast("Channels", answer(now, newest, seen.books, count=len(told), channels=told))


def dead_letters(db: Database, key: DeskKey, given: Given, now: datetime) -> DeadLetters:
    """What died, by reason with its remedy, and a page of it, newest first."""
    query, one = _query(given, "dead_letters", DEAD_PARAMETERS)
    nothing = {"kind": None, "action_id": None, "position_id": None}
    with store.look(db, key, query.books) as seen:
        theirs = _told_of(seen, key, query.books)
        groups = seen.tx.query(QUERIES["dead_groups"], books=theirs)
        shown, after = _page_of_messages(seen, theirs, query, choice(one, "channel", CHANNELS), {"state": "dead", **nothing})
    told = [_group(row) for row in groups]
    return cast("DeadLetters", _page(now, seen, shown, after, groups=told, messages=[_message(row) for row in shown]))


def reconciliation(db: Database, key: DeskKey, given: Given, now: datetime) -> Proofs:
    """Runs of the proof, newest first, with what those on the page found; 404 ``run_unknown`` for a run that is not there."""
    query, one = _query(given, "reconciliation", PROOF_PARAMETERS)
    run_id = _id(one, "run_id")
    with store.look(db, key, None) as seen:
        theirs = _told_of(seen, key, None)
        rows = (
            seen.tx.query(
                QUERIES["proofs"],
                run_id=run_id,
                after_at=None if query.after is None else query.after.at,
                after_id=None if query.after is None else query.after.id,
                limit=query.limit + 1,
                **query.asked,
            )
            if LIVE in theirs
            else []
        )
        shown = rows[: query.limit]
        ids = [row["run_id"] for row in shown]
        found = seen.tx.query(QUERIES["findings"], run_ids=ids, books=theirs, limit=FINDINGS_MAX + 1) if ids else []
    if run_id is not None and not shown:
        raise Rejected("run_unknown", "no such run for this key", field="run_id", status=404)
    after = None
    if len(rows) > query.limit:
        after = paging.written(paging.Place(at=shown[-1]["queued_at"], id=shown[-1]["run_id"]), query.question)
    more = {"findings": [_finding(row) for row in found[:FINDINGS_MAX]], "has_more_findings": len(found) > FINDINGS_MAX}
    return cast("Proofs", _page(now, seen, shown, after, runs=[_proof(row) for row in shown], **more))


# --- pages ------------------------------------------------------------------------------------------------------------


def _page_of_messages(
    seen: store.Seen, theirs: Sequence[str], query: Query, channel: str | None, asked: Mapping[str, Any]
) -> tuple[list[store.Row], str | None]:
    """The messages of a page, and the cursor of the next."""
    rows = seen.tx.query(
        QUERIES["messages"],
        books=theirs,
        channels=list(CHANNELS) if channel is None else [channel],
        limit=query.limit + 1,
        **_after(query),
        **asked,
        **query.asked,
    )
    shown = rows[: query.limit]
    return shown, _cursor(query, shown[-1], "occurred_at", NOBODY) if len(rows) > query.limit else None


def _told_of(seen: store.Seen, key: DeskKey, wanted: Sequence[str] | None) -> list[str]:
    """The books of the answer, and the live one before it has its first row: then nobody owns the desk yet."""
    is_asked = wanted is None or LIVE in wanted
    if LIVE in seen.books or not is_asked or not key.sees(LIVE) or seen.tx.query(QUERIES["desk"]):
        return seen.book_ids
    return [*seen.book_ids, LIVE]


def _after(query: Query) -> Document:
    """The place a page begins after, as statements name it: subjects are texts, unique within their channel."""
    if query.after is None:
        return {"after_at": None, "after_key": None, "after_channel": None}
    channel, _, subject = query.after.book_id.partition(" ")
    return {"after_at": query.after.at, "after_key": subject, "after_channel": channel}


def _cursor(query: Query, last: store.Row, at: str, identity: UUID) -> str:
    place = paging.Place(at=last[at], id=identity, book_id=f"{last['channel_id']} {last['subject_key']}")
    return paging.written(place, query.question)


def _page(now: datetime, seen: store.Seen, shown: Sequence[store.Row], after: str | None, **content: Any) -> Document:
    names_of = ("posted_at", "proven_at", "created_at", "finished_at", "started_at", "queued_at")
    newest = (row[name] for row in shown for name in names_of if row.get(name) is not None)
    return answer(
        now,
        max(newest, default=None),
        seen.books,
        count=len(shown),
        has_more=after is not None,
        next_cursor=after,
        **content,
    )


def _about(one: Mapping[str, str]) -> dict[str, UUID | None]:
    return {name: _id(one, name) for name in ("action_id", "position_id")}


def _subject(one: Mapping[str, str]) -> str | None:
    subject = one.get("subject")
    if subject is not None and not (0 < len(subject) <= SUBJECT_LENGTH_MAX and subject.isprintable()):
        raise refused("subject")
    return subject


def _id(one: Mapping[str, str], name: str) -> UUID | None:
    if name not in one:
        return None
    try:
        if len(one[name]) == UUID_LENGTH:
            return UUID(one[name])
    except ValueError:
        pass
    raise refused(name)


# --- rows -------------------------------------------------------------------------------------------------------------


def _same(row: Mapping[str, Any], *fields: str) -> Document:
    """These fields as they are, ids as texts."""
    return {name: str(row[name]) if isinstance(row[name], UUID) else row[name] for name in fields}


def _message(row: Mapping[str, Any]) -> Document:
    return {
        **_same(row, "channel_id", "subject_key", "subject_kind", "book_id", "action_id", "position_id", "title"),
        "state": "sending" if row["state"] == "sending" else message_state(row),
        **_same(row, "dead_reason", "deaths", "wanted_version", "posted_version", "message_id"),
        "url": row["message_url"],
        **_same(row, "embed_index", "attempts", "maybe_created", "blind_resends", "notes", "verify_due", "last_finding"),
        **instants("occurred", row["occurred_at"]),
        **instants("created", row["created_at"]),
        **instants("posted", row["posted_at"]),
        **instants("proven", row["proven_at"]),
        **instants("next_attempt", row["next_attempt_at"]),
        **instants("pending_since", row["pending_since"]),
    }


def _delivery(row: Mapping[str, Any], *, is_admin: bool) -> Document:
    return {
        **_same(
            row, "attempt_id", "channel_id", "subject_key", "subject_kind", "book_id", "action_id", "position_id", "operation"
        ),
        **instants("started", row["started_at"]),
        **instants("finished", row["finished_at"]),
        **_same(row, "http_status", "discord_code"),
        "wait_seconds": text(row["retry_after_seconds"]),
        "message_id": row["answered_message_id"],
        "error": row["error"],
        "response_excerpt": row["response_excerpt"] if is_admin else None,
    }


def _channel(row: Mapping[str, Any]) -> Document:
    return {
        **_same(row, "channel_id", "kind", "status", "status_reason"),
        **instants("status", row["status_at"]),
        **_same(row, "digest", "pending", "ambiguous", "dead"),
        **instants("oldest_pending", row["oldest_pending_at"]),
        **instants("last_posted", row["last_posted_at"]),
        **instants("paused_until", row["paused_until"]),
        "paused_reason": row["paused_reason"],
    }


def _group(row: Mapping[str, Any]) -> Document:
    reason = row["dead_reason"]
    return {
        "channel_id": row["channel_id"],
        "reason": reason,
        "count": row["count"],
        **instants("oldest", row["oldest_at"]),
        **instants("newest", row["newest_at"]),
        "remedy": {
            "text": REMEDIES.get(reason, REJECTED),
            "command": f"{VERB} replay --channel {row['channel_id']} --reason {reason} --dry-run",
        },
    }


def _proof(row: Mapping[str, Any]) -> Document:
    return {
        **_same(row, "run_id", "channel_id", "status", "reason", "is_repairing", "requested_by"),
        **instants("since", row["since"]),
        **instants("until", row["until"]),
        **instants("queued", row["queued_at"]),
        **instants("started", row["started_at"]),
        **instants("finished", row["finished_at"]),
        "counts": {name: row["counts"].get(name, 0) for name in COUNTED},
    }


def _finding(row: Mapping[str, Any]) -> Document:
    return {
        **_same(row, "run_id", "ordinal", "kind", "channel_id", "subject_key", "book_id", "action_id", "message_id"),
        "differences": [{name: one.get(name) for name in ("field", "expected", "found")} for one in row["differences"]],
        "note": row["note"],
        **instants("found", row["found_at"]),
        **instants("repaired", row["repaired_at"]),
    }


SOURCES = frozenset({Source.NOTIFY, Source.LEDGER})


def _route(name: str, purpose: str, use_case: Any, told: type, parameters: tuple[Parameter, ...]) -> Route:
    path = f"/api/v1/notifications/{name}"
    return Route(path=path, purpose=purpose, use_case=use_case, answer=told, parameters=parameters, sources=SOURCES)


ROUTES: tuple[Route, ...] = (
    _route("messages", "Messages by version and state, newest subject first.", messages, Messages, MESSAGE_PARAMETERS),
    _route("deliveries", "Every request to Discord, newest first.", deliveries, Deliveries, DELIVERY_PARAMETERS),
    _route("channels", "Channels: what waits, until when, and why they stand still.", channels, Channels, ()),
    _route("dead-letters", "What died, by reason with its remedy.", dead_letters, DeadLetters, DEAD_PARAMETERS),
    _route(
        "reconciliation", "Runs that compared Discord with the ledger, field by field.", reconciliation, Proofs, PROOF_PARAMETERS
    ),
)
