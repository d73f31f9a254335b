"""Replays as people see them: which runs there are, what each pins and made, how far it is, bucket by bucket.

A run is named by its id or its name, and exists for whoever may see its book. Source: tracker.md 5, replay.md 2, 7, 11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from fillbook.runtime.db import Database, Tx
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import load_queries
from fillbook.tracker import filters, listing, paging, scope, store
from fillbook.tracker.model import choice, single, whole
from fillbook.tracker.parameter import Parameter, names
from fillbook.tracker.replays_model import Buckets, OneRun, Runs
from fillbook.tracker.route import Given, Route, Source
from fillbook.tracker.wire import answer, instants, text

QUERIES = load_queries("fillbook.tracker", "replays.sql")
Document = dict[str, Any]
LIMIT_DEFAULT, LIMIT_MAX = 20, 100
BUCKETS_DEFAULT, BUCKETS_MAX = 500, 1_000
NAME_LENGTH_MAX = 64
STATUSES = ("planned", "running", "paused", "done", "failed", "cancelled")
SOURCES = frozenset({Source.REPLAY, Source.LEDGER})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RUN = Parameter(
    name="run",
    schema={"type": "string", "minLength": 1, "maxLength": NAME_LENGTH_MAX},
    purpose="A run's id or name.",
)
PARAMETERS = (
    Parameter(name="status", schema={"enum": list(STATUSES)}, purpose="How far the runs are."),
    Parameter(name="date", schema={"type": "string", "format": "date"}, purpose="Runs that hold this session date."),
    listing.limit(LIMIT_DEFAULT, LIMIT_MAX),
    listing.CURSOR,
)
BUCKET_PARAMETERS = (listing.limit(BUCKETS_DEFAULT, BUCKETS_MAX), listing.CURSOR)


def runs(db: Database, key: DeskKey, given: Given, now: datetime) -> Runs:
    """A page of runs, youngest first."""
    one = single(given, names(PARAMETERS))
    limit, question = whole(one.get("limit", str(LIMIT_DEFAULT)), "limit", LIMIT_MAX), listing.asked(one, "replay_runs")
    after = paging.read(one["cursor"], question, "cursor").place if "cursor" in one else None
    status, day = choice(one, "status", STATUSES), filters.day(one["date"], "date") if "date" in one else None
    with store.look(db, key, ()) as seen:
        rows = found(seen.tx, key, status=status, day=day, after=after, limit=limit + 1)
    shown, has_more = rows[:limit], len(rows) > limit
    last = paging.Place(at=shown[-1]["created_at"], id=shown[-1]["run_id"]) if has_more else None
    page = answer(
        now,
        _newest(shown),
        seen.books,
        count=len(shown),
        has_more=has_more,
        next_cursor=None if last is None else paging.written(last, question),
        runs=[_run(row) for row in shown],
    )
    return cast("Runs", page)


def run(db: Database, key: DeskKey, given: Given, now: datetime, *, run: str) -> OneRun:
    """One run with the gaps found before it; 404 ``run_unknown``."""
    single(given, frozenset())
    with store.look(db, key, ()) as seen:
        row = known(seen.tx, key, run)
    gaps = None if row["gaps"] is None else [_day(day) for day in row["gaps"].get("days", ())]
    return cast("OneRun", answer(now, _newest([row]), seen.books, run=_run(row) | {"gaps": gaps}))


def buckets(db: Database, key: DeskKey, given: Given, now: datetime, *, run: str) -> Buckets:
    """A page of a run's finished buckets, the oldest first; 404 ``run_unknown``."""
    one = single(given, names(BUCKET_PARAMETERS))
    limit = whole(one.get("limit", str(BUCKETS_DEFAULT)), "limit", BUCKETS_MAX)
    with store.look(db, key, ()) as seen:
        row = known(seen.tx, key, run)
        question = {"list": "replay_buckets", "run": str(row["run_id"])}
        after = paging.read(one["cursor"], question, "cursor").place if "cursor" in one else None
        begins = -1 if after is None else round((after.at - EPOCH) / timedelta(milliseconds=1))
        rows = seen.tx.query(QUERIES["buckets"], run_id=row["run_id"], after=begins, limit=limit + 1)
    shown, has_more = rows[:limit], len(rows) > limit
    last = paging.Place(at=at_of(shown[-1]["bucket"]), id=row["run_id"]) if has_more else None
    page = answer(
        now,
        max((one["recorded_at"] for one in shown), default=None),
        seen.books,
        count=len(shown),
        has_more=has_more,
        next_cursor=None if last is None else paging.written(last, question),
        run_id=str(row["run_id"]),
        status=row["status"],
        buckets=[_bucket(bucket) for bucket in shown],
    )
    return cast("Buckets", page)


def found(
    tx: Tx,
    key: DeskKey,
    *,
    run: str | None = None,
    status: str | None = None,
    day: date | None = None,
    after: paging.Place | None = None,
    limit: int = 1,
) -> list[store.Row]:
    """Runs that exist for a key."""
    return tx.query(
        QUERIES["runs"],
        tenant_id=key.tenant_id,
        patterns=scope.expressions(key.books),
        run=run,
        status=status,
        date=day,
        after_at=None if after is None else after.at,
        after_id=None if after is None else after.id,
        limit=limit,
    )


def known(tx: Tx, key: DeskKey, name: str, field: str | None = None) -> store.Row:
    """The run of an id or name; 404 ``run_unknown``."""
    rows = found(tx, key, run=name) if 0 < len(name) <= NAME_LENGTH_MAX else []
    if not rows:
        raise Rejected("run_unknown", "no such run for this key", field=field, status=404)
    return rows[0]


def at_of(milliseconds: int) -> datetime:
    """The instant of epoch milliseconds."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def pair(name: str, milliseconds: int | None) -> Document:
    """An instant that is stored as milliseconds, as a pair."""
    return instants(name, None if milliseconds is None else at_of(milliseconds))


def _newest(rows: Sequence[Mapping[str, Any]]) -> datetime | None:
    ends = (row[name] for row in rows for name in ("finished_at", "started_at", "created_at"))
    return max((at for at in ends if at is not None), default=None)


def _run(row: Mapping[str, Any]) -> Document:
    same = (
        "name",
        "kind",
        "book_id",
        "ticker",
        "script_version",
        "session",
        "inputs",
        "facts",
        "profile",
        "config_digest",
        "code_version",
        "accepted_code",
        "input_digest",
        "status",
        "conflicts",
        "trades_created",
        "trades_purged",
        "result_hash",
        "state_hash",
        "ticker_pass",
        "error",
        "pinned",
        "created_by",
    )
    days = (row["gaps"] or {}).get("days")
    expected = None if days is None else sum(day["bucketsExpected"] for day in days)
    return {
        "run_id": str(row["run_id"]),
        **{name: row[name] for name in same},
        "date_from": row["date_from"].isoformat(),
        "date_to": row["date_to"].isoformat(),
        "start": row["start_from"],
        "progress": {
            "buckets_done": row["buckets_done"],
            "buckets_total": None if expected is None else max(expected, row["buckets_done"]),
            **pair("bucket", row["last_bucket"]),
            "rows": row["rows"],
            "rows_per_second": text(row["rows_per_second"]),
        },
        "realized": [
            {"currency": currency, "realized_pnl": None if realized is None else text(Decimal(realized))}
            for currency, realized in row["money"] or ()
        ],
        "grade": (row["gaps"] or {}).get("grade"),
        **instants("created", row["created_at"]),
        **instants("started", row["started_at"]),
        **instants("finished", row["finished_at"]),
        "wall_seconds": text(row["wall_seconds"]),
    }


def _bucket(row: Mapping[str, Any]) -> Document:
    same = ("rows", "conflicts", "actions", "input_digest", "state_digest", "result_hash")
    return {**pair("bucket", row["bucket"]), **{name: row[name] for name in same}, **instants("recorded", row["recorded_at"])}


def _day(day: Mapping[str, Any]) -> Document:
    """A day of a stored gap report (``replay.md`` 7) in the words of this API."""
    return {
        "date": day["date"],
        "grade": day["grade"],
        "buckets_expected": day["bucketsExpected"],
        "buckets_present": day["bucketsPresent"],
        "empty": _stretches(day["empty"]),
        "tickers_seen": day["tickersSeen"],
        "unseen": list(day["unseen"]),
        "minutes_expected": day["minutesExpected"],
        "minutes_present": day["minutesPresent"],
        "by_script": dict(day["byScript"]),
        "by_result": dict(day["byResult"]),
        "quarantined": day["quarantined"],
        "tickers": [
            {
                "ticker": one["ticker"],
                "minutes": one["minutes"],
                **pair("first", one["first"]),
                **pair("last", one["last"]),
                "missing": _stretches(one["missing"]),
            }
            for one in day["tickers"]
        ],
    }


def _stretches(ranges: Sequence[Sequence[int]]) -> list[Document]:
    return [pair("first", first) | pair("last", last) for first, last in ranges]


ROUTES: tuple[Route, ...] = (
    Route(
        path="/timed/replay/runs",
        purpose="Runs of stored days, youngest first.",
        use_case=runs,
        answer=Runs,
        parameters=PARAMETERS,
        sources=SOURCES,
    ),
    Route(
        path="/timed/replay/runs/{run}",
        purpose="One run with the gaps found before it.",
        use_case=run,
        answer=OneRun,
        parameters=(RUN,),
        sources=SOURCES,
    ),
    Route(
        path="/timed/replay/runs/{run}/buckets",
        purpose="A run's finished buckets, the oldest first.",
        use_case=buckets,
        answer=Buckets,
        parameters=(RUN, *BUCKET_PARAMETERS),
        sources=SOURCES,
    ),
)
