"""Positions as the broker states them: stored, and handed to the ledger, which alone compares, keeps and announces breaks.

No end and no answer is not flat. An empty answer against a book that holds something is believed only when a second one, at
least a minute later, says the same. The first complete answer books the opening balance of its account. What only this room
can know about a difference goes along: ``executions_pending``, ``open_anomaly``, ``quarantined_row``, ``before_history``.
Source: ibkr.md 13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

from fillbook.ibkr import alerts, store
from fillbook.ibkr.allowlist import Account, AllowList
from fillbook.ibkr.model import PositionRow, Refusal
from fillbook.ibkr.openings import book_opening_once
from fillbook.ibkr.runs import check_trades_tables_ready
from fillbook.ibkr.sources import PositionSource, PositionsSnapshot, Target
from fillbook.ibkr.words import PARSER_VERSION, RunSource, RunState
from fillbook.ledger import reconcile
from fillbook.ledger import service as ledger
from fillbook.ledger.model import Mark
from fillbook.ledger.statement import EVERYTHING, StatedPosition, Statement
from fillbook.money import NumberError, parse
from fillbook.outbox.service import partitions_of
from fillbook.runtime.db import Call, Database, Tx
from fillbook.runtime.errors import FillbookError, Rejected
from fillbook.values import frozen

EMPTY_AGAIN: Final = timedelta(seconds=60)
PENDING: Final = timedelta(minutes=5)
OPENING_COST_UNKNOWN: Final = "opening_cost_unknown"
EXECUTIONS_PENDING: Final = "executions_pending"
_CASH: Final = "CASH"


@frozen
class PositionsMetrics:
    """What a positions run did. ``complete``: account ids whose statement was complete; ``results`` by account code."""

    run_id: str
    source: RunSource
    state: RunState
    positions_count: int
    quarantined_rows_count: int
    opened_count: int
    results: Mapping[str, str]
    complete: tuple[int, ...]
    error_class: str | None = None
    partitions: tuple[int, ...] = ()


@frozen
class Taken:
    """What became of one account's answer; ``result`` is the ledger's word, or why it was not asked."""

    is_complete: bool
    is_opened: bool = False
    result: str
    partitions: tuple[int, ...] = ()


def sync_positions_once(
    db: Database,
    source: PositionSource,
    *,
    host: str,
    port: int,
    client_id: int,
    connect_timeout_seconds: int,
    now: datetime,
    job_id: str | None = None,
) -> PositionsMetrics:
    """Ask the socket once for all positions, store them and have them compared.

    Raises what ``source.fetch_positions`` raises after the run was noted as failed.
    """
    check_trades_tables_ready(db)
    with db.transaction(read_only=True) as tx:
        allowed = store.allow_list(tx)
    run_id = _begin(db, RunSource.TWS, now, job_id)
    target = Target(
        host=host, port=port, client_id=client_id, connect_timeout_seconds=connect_timeout_seconds, allow_list=allowed
    )
    try:
        snapshot = source.fetch_positions(target)
        return take_positions(db, snapshot, RunSource.TWS, allowed, run_id=run_id, name="tws", now=now)
    except FillbookError as error:
        _end(db, RunSource.TWS, RunState.FAILED, run_id, [], {}, now, error_class=error.reason, error_detail=error.detail)
        raise


def begin_statement_positions(db: Database, now: datetime, job_id: str | None) -> str:
    """Begin the run of a statement's positions; returns its id."""
    return _begin(db, RunSource.FLEX, now, job_id)


def take_positions(
    db: Database,
    snapshot: PositionsSnapshot,
    source: RunSource,
    allowed: AllowList,
    *,
    run_id: str,
    name: str,
    now: datetime,
) -> PositionsMetrics:
    """Store a snapshot and have it compared, one transaction per account; ``name`` is the statement's source for the ledger."""
    open_rows = _put_aside(db, snapshot.refusals, run_id, now)
    is_sound = snapshot.is_end_seen and snapshot.error_class is None and not open_rows
    taken: dict[Account, Taken] = {}
    asked = set(snapshot.accounts)
    for account in allowed.accounts:
        if account.account_id in asked:
            rows = [row for row in snapshot.rows if row.account_id == account.account_id and row.quantity]
            answer = _Answer(account=account, rows=tuple(rows), as_of=snapshot.as_of, source=source, name=name, run_id=run_id)
            taken[account] = answer.take(db, is_sound=is_sound, now=now)
    complete = [account for account, one in taken.items() if one.is_complete]
    state = RunState.COMPLETE if taken and len(complete) == len(taken) else RunState.PARTIAL
    counts = {
        "positions_count": len(snapshot.rows),
        "quarantined_rows_count": len(snapshot.refusals),
        "opened_count": sum(one.is_opened for one in taken.values()),
        "results": {account.code: one.result for account, one in taken.items()},
    }
    seen = list(taken) if snapshot.is_end_seen else []
    own = _end(
        db,
        source,
        state,
        run_id,
        [(account, snapshot.as_of, taken[account].is_complete) for account in seen],
        counts,
        now,
        error_class=snapshot.error_class,
        error_detail=snapshot.error_detail,
        client_version=snapshot.client_version,
    )
    return PositionsMetrics(
        run_id=run_id,
        source=source,
        state=state,
        positions_count=len(snapshot.rows),
        quarantined_rows_count=len(snapshot.refusals),
        opened_count=sum(one.is_opened for one in taken.values()),
        results=counts["results"],  # type: ignore[arg-type]
        complete=tuple(account.account_id for account in complete),
        error_class=snapshot.error_class,
        partitions=tuple(sorted({*own, *(number for one in taken.values() for number in one.partitions)})),
    )


def open_account(
    db: Database, account: Account, rows: Sequence[PositionRow], *, as_of: datetime, run_id: str, now: datetime
) -> tuple[str | None, tuple[int, ...]]:
    """Book the opening balance if executions are known up to ``as_of``; returns why not (None: it is booked) and partitions.

    A fill the broker counts and we do not know yet would be booked twice: with the opening, and when it comes.
    """
    with db.transaction(read_only=True) as tx:
        (reached,) = tx.query(store.QUERIES["reached_at"], account_id=account.account_id)
    if reached["high_water_at"] is None or reached["high_water_at"] < as_of:
        return EXECUTIONS_PENDING, ()
    try:
        return None, book_opening_once(db, account, rows, as_of=as_of, run_id=run_id, now=now)
    except Rejected as error:
        if error.reason != OPENING_COST_UNKNOWN:
            raise
        return OPENING_COST_UNKNOWN, ()


def open_waiting(db: Database, now: datetime) -> tuple[int, ...]:
    """Open accounts whose last complete snapshot has been reached by executions since; returns partitions to relay."""
    with db.transaction(read_only=True) as tx:
        accounts = {account.account_id: account for account in store.allow_list(tx).accounts}
        waiting = [row for row in tx.query(store.QUERIES["waiting_snapshots"]) if row["account_id"] in accounts]
    partitions: set[int] = set()
    for row in waiting:
        account = accounts[row["account_id"]]
        held = [_stored(account, one) for one in row["positions"]]
        _, own = open_account(db, account, held, as_of=row["as_of"], run_id=str(row["run_id"]), now=now)
        partitions.update(own)
    return tuple(sorted(partitions))


def _stored(account: Account, row: Mapping[str, Any]) -> PositionRow:
    return PositionRow(
        account_id=account.account_id,
        conid=row["conid"],
        symbol=row["symbol"],
        sec_type=row["sec_type"],
        currency=row["currency"],
        quantity=Decimal(row["quantity"]),
        average_cost=None if row["average_cost"] is None else Decimal(row["average_cost"]),
        multiplier=_multiplier(row["raw"].get("multiplier", "")),
        raw=row["raw"],
    )


def _multiplier(text: str) -> Decimal | None:
    try:
        value = parse(text)
    except NumberError:
        return None
    return value if value > 0 else None


@frozen
class _Answer:
    """What the broker says one account holds."""

    account: Account
    rows: tuple[PositionRow, ...]
    as_of: datetime
    source: RunSource
    name: str
    run_id: str

    def take(self, db: Database, *, is_sound: bool, now: datetime) -> Taken:
        """Store the rows; if the answer is complete, open the account and reconcile."""

        def judge(tx: Tx) -> tuple[bool, bool]:
            (row,) = tx.query(store.QUERIES["lock_account"], account_id=self.account.account_id)
            is_complete = is_sound and self._is_believed(tx, is_opened=row["opened_at"] is not None)
            tx.send(Call("ibkr.store_positions", self._document()))
            return is_complete, row["opened_at"] is not None

        is_complete, was_opened = db.run(judge)
        partitions: tuple[int, ...] = ()
        if not was_opened:
            if not is_complete:
                return Taken(is_complete=False, result=reconcile.INCONCLUSIVE)
            why_not, partitions = open_account(db, self.account, self.rows, as_of=self.as_of, run_id=self.run_id, now=now)
            if why_not is not None:
                return Taken(is_complete=True, result=why_not)
        outcome = ledger.run(db, lambda tx: self._compare(tx, is_complete=is_complete, now=now))
        return Taken(
            is_complete=is_complete,
            is_opened=not was_opened,
            result=outcome.result,
            partitions=tuple(sorted({*partitions, *outcome.partitions})),
        )

    def _is_believed(self, tx: Tx, *, is_opened: bool) -> bool:
        """A list is believed; an empty one where nothing is held, or when it was empty a minute ago already."""
        if self.rows:
            return True
        account_id = self.account.account_id
        if is_opened:
            cash = [f"ibkr:{row['conid']}" for row in self._instruments(tx) if row["is_cash"]]
            (row,) = tx.query(store.QUERIES["has_open_book"], book_id=self.account.book_id, not_compared=cash)
            is_held = bool(row["is_open"])
        else:
            is_held = bool(tx.query(store.QUERIES["net_executed"], account_id=account_id))
        if not is_held:
            return True
        (row,) = tx.query(store.QUERIES["empty_since"], account_id=account_id, source=self.source.value, as_of=self.as_of)
        return row["at"] is not None and self.as_of - row["at"] >= EMPTY_AGAIN

    def _document(self) -> dict[str, Any]:
        names = ("conid", "symbol", "sec_type", "currency", "quantity", "average_cost", "raw")
        rows = [{name: getattr(row, name) for name in names} for row in sorted(self.rows, key=lambda row: row.conid)]
        return {"account_id": self.account.account_id, "run_id": self.run_id, "as_of": self.as_of, "rows": rows}

    def _instruments(self, tx: Tx) -> list[dict[str, Any]]:
        return tx.query(store.QUERIES["known_instruments"], account_id=self.account.account_id)

    def _compare(self, tx: Tx, *, is_complete: bool, now: datetime) -> reconcile.Reconciled:
        """Marks first, the comparison last: it takes the book's row."""
        instruments = self._instruments(tx)
        marks = [
            Mark(instrument=f"ibkr:{row.conid}", price=row.mark_price, marked_at=self.as_of, source=self.source.value)
            for row in self.rows
            if row.mark_price is not None
        ]
        if marks and is_complete:
            ledger.mark(tx, self.account.book_id, marks, now)
        cash = {row["conid"] for row in instruments if row["is_cash"]} | {row.conid for row in self.rows if row.sec_type == _CASH}
        statement = Statement(
            book_id=self.account.book_id,
            as_of=self.as_of,
            source=self.name,
            complete=is_complete,
            account=self.account.code,
            positions=tuple(_stated(row) for row in self.rows if row.conid not in cash),
            not_compared=frozenset(f"ibkr:{conid}" for conid in cash),
            known_causes=self._known_causes(tx, instruments),
        )
        return reconcile.reconcile(tx, statement, now)

    def _known_causes(self, tx: Tx, instruments: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Instrument -> cause, the first that fits; ``"*"`` stands for all that have none of their own."""
        (reached,) = tx.query(store.QUERIES["reached_at"], account_id=self.account.account_id)
        if reached["high_water_at"] is None or reached["high_water_at"] < self.as_of - PENDING:
            return {EVERYTHING: EXECUTIONS_PENDING}
        cancelled = {row["conid"] for row in tx.query(store.QUERIES["cancelled_instruments"], account_id=self.account.account_id)}
        open_ones = {row["conid"] for row in instruments if row["has_anomaly"]} | cancelled
        causes = {f"ibkr:{conid}": "open_anomaly" for conid in sorted(open_ones)}
        (row,) = tx.query(store.QUERIES["has_refused_rows"], account_id=self.account.account_id, code=self.account.code)
        if row["is_refused"]:
            return causes | {EVERYTHING: "quarantined_row"}
        known = {row["conid"] for row in instruments}
        before = {f"ibkr:{row.conid}": "before_history" for row in self.rows if row.conid not in known}
        return before | causes


def _stated(row: PositionRow) -> StatedPosition:
    return StatedPosition(
        instrument=f"ibkr:{row.conid}", quantity=row.quantity, average_price=row.average_cost, currency=row.currency
    )


def _begin(db: Database, source: RunSource, now: datetime, job_id: str | None) -> str:
    run_id = str(uuid4())
    document = {
        "id": run_id,
        "job_id": job_id,
        "source": source,
        "kind": "positions",
        "is_backfill": False,
        "requested_from": now - timedelta(seconds=1),
        "requested_to": now,
        "now": now,
        "parser_version": PARSER_VERSION,
    }
    db.call(Call("ibkr.begin_run", document))
    return run_id


def _put_aside(db: Database, refusals: Sequence[Refusal], run_id: str, now: datetime) -> int:
    if not refusals:
        return 0
    (answer,) = db.call(store.put_aside(refusals, run_id, now))
    return int(answer["open"])


def _end(
    db: Database,
    source: RunSource,
    state: RunState,
    run_id: str,
    seen: Sequence[tuple[Account, datetime, bool]],
    counts: Mapping[str, object],
    now: datetime,
    *,
    error_class: str | None = None,
    error_detail: str | None = None,
    client_version: str = "",
) -> tuple[int, ...]:
    document = {
        "id": run_id,
        "source": source,
        "state": state,
        "now": now,
        "counts": counts,
        "error_class": error_class,
        "error_detail": error_detail,
        "client_version": client_version,
        "coverage": [
            {
                "account_id": account.account_id,
                "covered_from": None,
                "covered_to": None,
                "earliest_seen_at": as_of,
                "latest_seen_at": as_of,
                "is_complete": is_complete,
                "settles_from": None,
                "settles_to": None,
            }
            for account, as_of, is_complete in seen
        ],
        "anomalies": [],
    }

    def work(tx: Tx) -> tuple[int, ...]:
        accounts = [account for account, _, is_complete in seen if is_complete]
        alerts.lock(tx, accounts)
        tx.call(Call("ibkr.end_run", document))
        if source is not RunSource.TWS or not accounts:
            return ()
        return partitions_of(alerts.recover(tx, accounts, alerts.POSITIONS, run_id=run_id, now=now))

    return db.run(work)
