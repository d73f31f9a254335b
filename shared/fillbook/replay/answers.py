"""Wire names: answers of this room as JSON documents. The first nine keys of a bucket call are a fixed contract (replay.md 1)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fillbook.money import plain
from fillbook.replay.model import BucketAnswer, Run
from fillbook.signal.receipt import milliseconds


def bucket_answer(answer: BucketAnswer, *, date: str, ticker: str | None, elapsed_ms: int) -> dict[str, Any]:
    """The answer of a call of the bucket route."""
    return {
        "ok": True,
        "date": date,
        "ticker": ticker,
        "bucketProcessed": answer.bucket,
        "rowsProcessed": answer.rows,
        "tradesCreated": answer.trades_created,
        "tradesPurged": answer.trades_purged,
        "nextBucket": answer.next_bucket,
        "hasMore": answer.has_more,
        "hasMoreInBucket": answer.has_more_in_bucket,
        "after": answer.after,
        "runId": answer.run.run_id,
        "book": answer.run.book_id,
        "rowsSkipped": answer.skipped,
        "rowsConflict": answer.conflicts,
        "bucketsDone": answer.buckets_done,
        "bucketsTotal": answer.buckets_total,
        "changed": answer.changed,
        "elapsedMs": elapsed_ms,
        "resultHash": answer.result_hash,
    }


def run_record(run: Run, result_hash: str) -> dict[str, Any]:
    """One run with everything it pins, how far it is and what it made."""
    scope, pins = run.scope, run.pins
    speed = run.rows / run.wall_seconds if run.wall_seconds else None
    return {
        "runId": run.run_id,
        "name": run.name,
        "kind": run.kind.value,
        "book": run.book_id,
        "status": run.status.value,
        "dateFrom": scope.date_from.isoformat(),
        "dateTo": scope.date_to.isoformat(),
        "ticker": scope.ticker,
        "scriptVersion": scope.script_version,
        "session": scope.session.value,
        "inputs": pins.inputs.value,
        "start": pins.start_from,
        "facts": pins.facts.value,
        "profile": pins.profile,
        "configDigest": pins.config_digest,
        "codeVersion": pins.code_version,
        "acceptedCode": list(run.accepted_code),
        "inputDigest": run.input_digest,
        "rows": run.rows,
        "conflicts": run.conflicts,
        "tradesCreated": run.trades_created,
        "tradesPurged": run.trades_purged,
        "tickerPass": run.ticker_pass,
        "resultHash": result_hash,
        "stateHash": run.state_hash,
        "error": run.error,
        "pinned": run.pinned,
        "createdBy": run.created_by,
        "createdAt": _ms(run.created_at),
        "startedAt": _ms(run.started_at),
        "finishedAt": _ms(run.finished_at),
        "wallSeconds": plain(run.wall_seconds),
        "rowsPerSecond": None if speed is None else f"{speed:.1f}",
    }


def listed_run(row: Mapping[str, Any]) -> dict[str, Any]:
    """One run of a list: what a person looks for."""
    return {
        "runId": str(row["run_id"]),
        "name": row["name"],
        "kind": row["kind"],
        "status": row["status"],
        "dateFrom": row["date_from"].isoformat(),
        "dateTo": row["date_to"].isoformat(),
        "ticker": row["ticker"],
        "profile": row["profile"],
        "rows": row["rows"],
        "tradesCreated": row["trades_created"],
        "resultHash": row["result_hash"],
        "stateHash": row["state_hash"],
        "pinned": row["pinned"],
        "createdAt": _ms(row["created_at"]),
        "finishedAt": _ms(row["finished_at"]),
        "rowsPerSecond": None if row["rows_per_second"] is None else plain(row["rows_per_second"]),
    }


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else milliseconds(moment)
