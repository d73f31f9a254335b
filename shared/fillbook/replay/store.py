"""This room's tables: runs under their lock or lease, checkpoints, and where a run stands after each page. Decides nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from fillbook.replay.model import (
    Checkpoint,
    FactsFrom,
    Inputs,
    Pins,
    Run,
    RunKind,
    RunStatus,
    Scope,
    SessionKind,
)
from fillbook.replay.progress import Progress, progress_of
from fillbook.runtime.db import Tx
from fillbook.runtime.sql import encode, load_queries
from fillbook.signal.canonical import canonical
from fillbook.values import frozen

QUERIES = load_queries("fillbook.replay")

FULL: Final = "full"
INCREMENTAL: Final = "incremental"

_PLAIN = (
    "name", "book_id", "cursor", "rows", "conflicts", "trades_created", "trades_purged", "input_digest", "result_hash",
    "state_hash", "ticker_pass", "pinned", "error", "attempts", "created_by", "created_at", "started_at", "finished_at",
    "wall_seconds",
)  # fmt: skip


@frozen
class Held:
    """A run under its row lock: the record, its unfinished bucket, the ticker that is run again on its own.

    ``earlier``: how the run ended before it was purged, so that the same again can be held against it.
    """

    run: Run
    progress: Progress | None = None
    pass_ticker: str | None = None
    pass_cursor: str | None = None
    earlier: Mapping[str, Any] | None = None
    mode: str = FULL


def insert(tx: Tx, run: Run, *, status: RunStatus) -> bool:
    """Store a new run; False when its id or name is taken."""
    scope, pins = run.scope, run.pins
    return bool(
        tx.execute(
            QUERIES["run_insert"],
            run_id=run.run_id,
            name=run.name,
            kind=run.kind,
            book_id=run.book_id,
            date_from=scope.date_from,
            date_to=scope.date_to,
            ticker=scope.ticker,
            script_version=scope.script_version,
            session=scope.session,
            inputs=pins.inputs,
            start_from=pins.start_from,
            facts=pins.facts,
            profile=pins.profile,
            config=canonical(pins.config),
            config_digest=pins.config_digest,
            code_version=pins.code_version,
            status=status,
            gaps=None if run.gaps is None else encode(run.gaps),
            parent_run_id=run.parent_run_id,
            created_by=run.created_by,
            created_at=run.created_at,
        )
    )


def find(tx: Tx, run_id: str | None, name: str | None) -> Held | None:
    """A run by its id, else by its name."""
    rows = tx.query(QUERIES["run_found"], run_id=run_id, name=name)
    return _held(rows[0]) if rows else None


def lock(tx: Tx, run_id: str, token: str | None = None) -> Held | None:
    """A run under its row lock; ``None`` while another writer has it, by a lock or by a lease that is not ``token``'s."""
    rows = tx.query(QUERIES["run_locked"], run_id=run_id, token=token)
    return _held(rows[0]) if rows else None


def own(tx: Tx, run_id: str, token: str) -> Held | None:
    """A run under its row lock, for the holder of its lease; ``None`` when the lease is somebody else's by now."""
    rows = tx.query(QUERIES["run_owned"], run_id=run_id, token=token)
    return _held(rows[0]) if rows else None


def put(tx: Tx, held: Held, now: datetime, *, seconds: float, token: str | None = None, lease_seconds: int = 0) -> None:
    """Write where a run stands; ``seconds`` of work are added, a lease that is ``token``'s is prolonged."""
    run = held.run
    tx.execute(
        QUERIES["run_put"],
        run_id=run.run_id,
        status=run.status,
        open_bucket=None if held.progress is None else encode(held.progress.document()),
        pass_ticker=held.pass_ticker,
        pass_cursor=held.pass_cursor,
        earlier=None if held.earlier is None else encode(held.earlier),
        accepted_code=list(run.accepted_code),
        code_version=run.pins.code_version,
        gaps=None if run.gaps is None else encode(run.gaps),
        now=now,
        seconds=Decimal(round(seconds * 1000)) / 1000,
        token=token,
        lease_seconds=lease_seconds,
        **{name: getattr(run, name) for name in _PUT},
    )


_PUT = (
    "cursor", "rows", "conflicts", "trades_created", "trades_purged", "input_digest", "result_hash", "state_hash", "ticker_pass",
    "error", "finished_at",
)  # fmt: skip


def claim(tx: Tx, token: str, now: datetime, *, lease_seconds: int, attempts_max: int) -> str | None:
    """Lease the oldest waiting run and return its id; runs whose last attempt died are given up on the way."""
    tx.execute(QUERIES["run_given_up"], attempts_max=attempts_max, now=now)
    rows = tx.query(QUERIES["run_claimed"], token=token, lease_seconds=lease_seconds, attempts_max=attempts_max)
    return str(rows[0]["run_id"]) if rows else None


def release(tx: Tx, run_id: str, token: str) -> None:
    """Give a lease back."""
    tx.execute(QUERIES["run_released"], run_id=run_id, token=token)


def change(tx: Tx, statement: str, run_id: str, **params: object) -> bool:
    """Run one of the statements that move a single run on; True when it did."""
    return bool(tx.execute(QUERIES[statement], run_id=run_id, **params))


def active(tx: Tx) -> int:
    """How many runs are worked or wait for it."""
    return int(tx.query(QUERIES["runs_active"])[0]["n"])


def walking(tx: Tx) -> int:
    """How many runs are in the hands of a task."""
    return int(tx.query(QUERIES["runs_walking"])[0]["n"])


def expired(tx: Tx, *, kept_max: int, before: datetime, rows_max: int) -> list[str]:
    """Runs that are too many or too old."""
    rows = tx.query(QUERIES["runs_expired"], kept_max=kept_max, before=before, rows_max=rows_max)
    return [str(row["run_id"]) for row in rows]


def listed(tx: Tx, before_at: datetime | None, before_id: str | None, rows_max: int) -> list[dict[str, Any]]:
    """Runs as people see them, the youngest first."""
    return tx.query(QUERIES["runs_listed"], before_at=before_at, before_id=before_id, rows_max=rows_max)


def put_checkpoints(tx: Tx, checkpoints: Sequence[Checkpoint]) -> None:
    """Store the checkpoints of a page."""
    if checkpoints:
        names = [each.name for each in fields(Checkpoint)]
        tx.execute(QUERIES["checkpoints_put"], rows=encode([{name: getattr(one, name) for name in names} for one in checkpoints]))


def checkpoints(tx: Tx, run_id: str) -> list[dict[str, Any]]:
    """All checkpoints of a run in order, without their states."""
    return tx.query(QUERIES["checkpoints_of"], run_id=run_id)


def checkpoint_before(tx: Tx, run_id: str, bucket: int) -> Checkpoint | None:
    """The last checkpoint before a bucket."""
    rows = tx.query(QUERIES["checkpoint_before"], run_id=run_id, bucket=bucket)
    return Checkpoint(**{**rows[0], "run_id": run_id}) if rows else None


def cut_checkpoints(tx: Tx, run_id: str, bucket: int) -> None:
    """Forget the checkpoints from a bucket on."""
    tx.execute(QUERIES["checkpoints_cut"], run_id=run_id, bucket=bucket)


def rehash(tx: Tx, run_id: str, hashes: Iterable[tuple[int, str]]) -> None:
    """Write the run's hash at buckets that were kept behind others that were decided again."""
    rows = [{"bucket": bucket, "result_hash": result_hash} for bucket, result_hash in hashes]
    if rows:
        tx.execute(QUERIES["checkpoints_rehashed"], run_id=run_id, rows=encode(rows))


def _held(row: Mapping[str, Any]) -> Held:
    run_id = str(row["run_id"])
    scope = Scope(
        date_from=row["date_from"],
        date_to=row["date_to"],
        ticker=row["ticker"],
        script_version=row["script_version"],
        session=SessionKind(row["session"]),
    )
    pins = Pins(
        profile=row["profile"],
        config=json.loads(row["config_text"], parse_float=Decimal),
        config_digest=row["config_digest"],
        code_version=row["code_version"],
        inputs=Inputs(row["inputs"]),
        start_from=row["start_from"],
        facts=FactsFrom(row["facts"]),
    )
    run = Run(
        run_id=run_id,
        kind=RunKind(row["kind"]),
        status=RunStatus(row["status"]),
        scope=scope,
        pins=pins,
        gaps=None if row["gaps_text"] is None else json.loads(row["gaps_text"], parse_float=Decimal),
        accepted_code=tuple(row["accepted_code"]),
        parent_run_id=None if row["parent_run_id"] is None else str(row["parent_run_id"]),
        **{name: row[name] for name in _PLAIN},
    )
    return Held(
        run=run,
        progress=None if row["open_text"] is None else progress_of(json.loads(row["open_text"])),
        pass_ticker=row["pass_ticker"],
        pass_cursor=row["pass_cursor"],
        earlier=row["earlier"],
        mode=row["mode"],
    )
