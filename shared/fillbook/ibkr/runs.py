"""One run: ask, take in what came, say what it covered. Fetching happens while no transaction is open.

A run is one row: begun before the outside is asked, ended with its coverage, cursors and counts in one transaction. What
was good is stored batch by batch, one transaction per account; a run that breaks off is partial and moves no cursor, so
the next one asks for the same again, and everything already stored is recognised. Source: ibkr.md 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from fillbook.ibkr import store, times
from fillbook.ibkr.allowlist import AllowList
from fillbook.ibkr.ending import Ending, end_run
from fillbook.ibkr.intake import assign_commissions
from fillbook.ibkr.model import Anomaly, CommissionReport, Coverage, Refusal, Row, Sighting, SyncMetrics, Window
from fillbook.ibkr.sources import ExecutionSource, Fetched, StatementDocument, StatementHead, Target
from fillbook.ibkr.taking import Taken, of_account, take_in
from fillbook.ibkr.tally import Tally
from fillbook.ibkr.words import (
    CHUNK_ROWS_MAX,
    LOOKBACK_DAYS_MAX,
    OVERLAP_DAYS,
    PARSER_VERSION,
    AnomalyKind,
    RunSource,
    RunState,
    Source,
)
from fillbook.ledger import service as ledger
from fillbook.runtime.db import Call, Database, Tx
from fillbook.runtime.errors import FillbookError, Rejected, Unavailable

TABLES: Final = (
    "accounts",
    "account_aliases",
    "sync_runs",
    "sync_coverage",
    "sync_cursors",
    "execution_payloads",
    "broker_events",
    "trades",
    "trade_keys",
    "trade_executions",
    "booked_fills",
    "anomalies",
    "quarantine",
    "order_sizes",
    "jobs",
    "flex_tokens",
    "flex_requests",
    "broker_positions",
)
_FUNCTIONS: Final = ("known", "load", "apply", "put_aside", "begin_run", "end_run")


def check_trades_tables_ready(db: Database) -> None:
    """Raise ``Unavailable('ibkr_tables_missing')`` naming what this version of the code needs and the database lacks."""
    tables = [f"ibkr.{name}" for name in TABLES]
    functions = [f"ibkr.{name}(jsonb)" for name in _FUNCTIONS]
    with db.transaction(read_only=True) as tx:
        missing = [row["name"] for row in tx.query(store.QUERIES["missing_objects"], tables=tables, functions=functions)]
    if missing:
        raise Unavailable("ibkr_tables_missing", ", ".join(missing))


def sync_trades_once(
    db: Database,
    source: ExecutionSource,
    *,
    host: str,
    port: int,
    client_id: int,
    connect_timeout_seconds: int,
    lookback_days: int,
    now: datetime,
    job_id: str | None = None,
) -> SyncMetrics:
    """Ask the socket once and take in what it serves.

    Raises ``Rejected`` for a lookback out of range, and what ``source.fetch`` raises after the run was noted as failed.
    """
    if not 1 <= lookback_days <= LOOKBACK_DAYS_MAX:
        raise Rejected("lookback_days_invalid", field="lookback_days")
    check_trades_tables_ready(db)
    allowed, from_at = _socket_window(db, lookback_days, now)
    run = _Run.begin(db, RunSource.TWS, Window(from_at=from_at, to_at=now), allowed, now, job_id=job_id)
    target = Target(
        host=host, port=port, client_id=client_id, connect_timeout_seconds=connect_timeout_seconds, allow_list=allowed
    )
    try:
        fetched = source.fetch(target, run.window)
        chunks, ambiguous = _placed(fetched)
        run.tally.fetched = fetched.fetched_count
        run.tally.library_dropped = fetched.library_dropped_count
        run.refuse(fetched.refusals)
        for rows in chunks:
            run.take(rows, ambiguous)
    except FillbookError as error:
        run.fail(error)
        raise
    return run.finish_socket(fetched)


def import_statement_once(
    db: Database, document: StatementDocument, *, request_id: str | None, now: datetime, job_id: str | None = None
) -> SyncMetrics:
    """Take in one Flex document; a broken one raises ``Rejected`` before anything of it is written.

    ``request_id`` names the row of ``flex_requests`` it was fetched for; the caller notes the run there.
    """
    check_trades_tables_ready(db)
    head = document.check()
    with db.transaction(read_only=True) as tx:
        allowed = store.allow_list(tx)
    covered = _statement_windows(head, allowed)
    window = _hull(covered.values(), now)
    is_backfill = request_id is not None and now - window.to_at > timedelta(days=OVERLAP_DAYS)
    run = _Run.begin(db, RunSource.FLEX, window, allowed, now, job_id=job_id, is_backfill=is_backfill)
    try:
        for chunk in document.chunks(allowed):
            run.tally.fetched += chunk.fetched_count
            run.tally.skipped += chunk.skipped_count
            run.refuse(chunk.refusals)
            run.take(chunk.rows, ())
    except FillbookError as error:
        run.fail(error)
        raise
    return run.finish_statement(head, covered)


def _socket_window(db: Database, lookback_days: int, now: datetime) -> tuple[AllowList, datetime]:
    """The earlier of the lookback and of what complete runs reach, less an overlap."""
    with db.transaction(read_only=True) as tx:
        allowed = store.allow_list(tx)
        reached = [row["high_water_at"] for row in tx.query(store.QUERIES["high_waters"], source=RunSource.TWS.value)]
    from_at = now - timedelta(days=lookback_days)
    known = [at for at in reached if at is not None]
    if known:
        earliest = min(known) - timedelta(days=OVERLAP_DAYS)
        from_at = max(min(from_at, earliest), now - timedelta(days=LOOKBACK_DAYS_MAX))
    return allowed, from_at


def _placed(fetched: Fetched) -> tuple[list[list[Row]], list[Anomaly]]:
    """Chunks in which each commission report rides with its execution, and anomalies for reports that nobody can place."""
    reports, ambiguous = assign_commissions(fetched.rows)
    paid: dict[tuple[int | None, str], list[Row]] = {}
    for report in reports:
        paid.setdefault((report.account_id, report.ib_exec_id), []).append(report)
    chunks: list[list[Row]] = [[]]
    for row in fetched.rows:
        if isinstance(row, CommissionReport):
            continue
        if len(chunks[-1]) >= CHUNK_ROWS_MAX:
            chunks.append([])
        chunks[-1].append(row)
        if isinstance(row, Sighting):
            chunks[-1] += paid.pop((row.account_id, row.ib_exec_id), [])
    kind = AnomalyKind.COMMISSION_AMBIGUOUS
    return chunks, [Anomaly(account_id=account_id, kind=kind, subject=exec_id) for account_id, exec_id in ambiguous]


def _statement_windows(head: StatementHead, allowed: AllowList) -> dict[int, Window]:
    """The span of every account a document states, days from midnight to midnight of the account's statement zone."""
    found: dict[int, Window] = {}
    for span in head.spans:
        account = allowed.find(span.account_code)
        if account is None:
            continue
        from_at = times.start_of_day(span.from_date, account.flex_time_zone)
        to_at = times.start_of_day(span.to_date + timedelta(days=1), account.flex_time_zone)
        known = found.get(account.account_id)
        if known is not None:
            from_at, to_at = min(from_at, known.from_at), max(to_at, known.to_at)
        found[account.account_id] = Window(from_at=from_at, to_at=to_at)
    return found


def _hull(windows: Iterable[Window], now: datetime) -> Window:
    spans = list(windows)
    if not spans:
        return Window(from_at=now - timedelta(days=1), to_at=now)
    return Window(from_at=min(one.from_at for one in spans), to_at=max(one.to_at for one in spans))


@dataclass(slots=True, kw_only=True)
class _Run:
    """A run under way."""

    db: Database
    run_id: str
    source: RunSource
    window: Window
    allowed: AllowList
    now: datetime
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def begin(
        cls,
        db: Database,
        source: RunSource,
        window: Window,
        allowed: AllowList,
        now: datetime,
        *,
        job_id: str | None,
        is_backfill: bool = False,
    ) -> _Run:
        run_id = str(uuid4())
        document: dict[str, Any] = {
            "id": run_id,
            "job_id": job_id,
            "source": source,
            "kind": "executions",
            "is_backfill": is_backfill,
            "requested_from": window.from_at,
            "requested_to": window.to_at,
            "now": now,
            "parser_version": PARSER_VERSION,
        }
        db.call(Call("ibkr.begin_run", document))
        return cls(db=db, run_id=run_id, source=source, window=window, allowed=allowed, now=now)

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Keep refused rows."""
        for begin in range(0, len(refusals), CHUNK_ROWS_MAX):
            part = refusals[begin : begin + CHUNK_ROWS_MAX]
            (answer,) = self.db.call(store.put_aside(part, self.run_id, self.now))
            self.tally.add_refusals(part, answer["open"])

    def take(self, rows: Sequence[Row], ambiguous: Sequence[Anomaly]) -> None:
        """Take a chunk in, one transaction per account, ascending."""
        by_id = {account.account_id: account for account in self.allowed.accounts}
        for account_id, own in of_account(rows).items():
            account = by_id[account_id]
            mine = [one for one in ambiguous if one.account_id == account_id]

            def work(tx: Tx, account: Any = account, own: Any = own, mine: Any = mine) -> Taken:
                return take_in(tx, account, own, run_id=self.run_id, now=self.now, ambiguous=mine)

            self.tally.add(account_id, own, ledger.run(self.db, work))

    def fail(self, error: FillbookError) -> None:
        """Note a run that nothing came of, or that broke off."""
        is_empty = not (self.tally.inserted or self.tally.updated or self.tally.unchanged or self.tally.cancels)
        state = RunState.FAILED if is_empty else RunState.PARTIAL
        self._end(state, {}, error_class=error.reason, error_detail=error.detail)

    def finish_socket(self, fetched: Fetched) -> SyncMetrics:
        """End a socket run: complete when the end was seen and nothing was dropped or is waiting for a decision."""
        is_complete = fetched.is_end_seen and not self.tally.open_refusals and fetched.error_class is None
        return self._end(
            RunState.COMPLETE if is_complete else RunState.PARTIAL,
            {span.account_id: span.covered for span in fetched.covered},
            error_class=fetched.error_class,
            error_detail=fetched.error_detail,
            client_version=fetched.client_version,
        )

    def finish_statement(self, head: StatementHead, covered: dict[int, Window]) -> SyncMetrics:
        """End a statement run; the days of a complete one settle what the socket told."""
        state = RunState.PARTIAL if self.tally.open_refusals else RunState.COMPLETE
        settles = [
            (self.allowed.find(span.account_code), span.from_date, span.to_date)
            for span in head.spans
            if head.source is Source.STATEMENT and state is RunState.COMPLETE
        ]
        return self._end(state, covered, settles=tuple((one[0].account_id, *one[1:]) for one in settles if one[0] is not None))

    def _end(self, state: RunState, covered: dict[int, Window], **options: Any) -> SyncMetrics:
        asked = sorted(covered) or [account.account_id for account in self.allowed.accounts]
        coverage = tuple(
            Coverage(
                account_id=account_id,
                covered=covered.get(account_id),
                earliest_seen_at=self.tally.earliest.get(account_id),
                latest_seen_at=self.tally.latest.get(account_id),
                is_complete=state is RunState.COMPLETE and account_id in covered,
            )
            for account_id in asked
        )
        metrics = self.tally.metrics(
            run_id=self.run_id,
            source=self.source,
            state=state,
            window=(self.window.from_at, self.window.to_at),
            covered=coverage,
            error_class=options.get("error_class"),
        )
        return end_run(self.db, metrics, Ending(allowed=self.allowed, now=self.now, **options))
