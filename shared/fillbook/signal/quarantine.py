"""Bodies that could not be used: kept once per reason and content, counted after that, and sent again when fixed.

The first 2,000 bodies of a day are kept; beyond that only a count per reason grows, so that a sender gone mad cannot fill
the disk. A redriven body is judged like any receipt: an old one ends ``stale``. Source: signals.md 2 and 2.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from fillbook.outbox.model import derived_id
from fillbook.runtime.db import Call, Database
from fillbook.runtime.errors import Rejected
from fillbook.runtime.pubsub import Publish
from fillbook.runtime.sql import load_queries
from fillbook.signal import receipt
from fillbook.signal.ingest import BODY_BYTES_MAX, receipt_message
from fillbook.signal.receipt import Limits
from fillbook.values import frozen

KEPT_A_DAY_MAX: Final = 2_000
FIELD_LENGTH_MAX: Final = 256
SOURCES: Final = ("ingest", "worker", "dead_letter")

_QUERIES = load_queries("fillbook.signal")


@frozen
class RefusedBody:
    """What is put aside: whose refusal, why, and the body as it came (only its first 64 KiB are kept)."""

    source: str
    reason: str
    body: bytes
    field: str | None = None
    ticker: str | None = None


@frozen
class Redriven:
    """A body that was sent again, and the receipt it became."""

    quarantine_id: UUID
    receipt_id: str
    ticker: str
    ts: int


def put_aside(db: Database, refused: RefusedBody, now: datetime) -> int:
    """Keep or count a refused body; return how often it was seen (beyond the day's limit: how many are only counted)."""
    digest = hashlib.sha256(refused.body).digest()
    document = {
        "quarantine_id": derived_id("quarantine", refused.reason, digest.hex()),
        "overflow_id": derived_id("quarantine", refused.reason, None),
        "source": refused.source,
        "reason": _text(refused.reason),
        "field": _text(refused.field),
        "ticker": _text(refused.ticker),
        "body": refused.body[:BODY_BYTES_MAX],
        "body_bytes": len(refused.body),
        "body_hash": digest,
        "now": now,
        "day_from": now.replace(hour=0, minute=0, second=0, microsecond=0),
        "kept_max": KEPT_A_DAY_MAX,
    }
    (answer,) = db.call(Call("signal.put_aside", document))
    return int(answer["count"])


def _text(value: str | None) -> str | None:
    """Attributes come from outside: bounded, and without what Postgres cannot store."""
    if not value:
        return None
    return value.replace("\x00", "").encode("utf-8", "replace").decode()[:FIELD_LENGTH_MAX] or None


def listed(db: Database, *, unresolved_only: bool = True, limit: int = 100) -> list[dict[str, Any]]:
    """Return refused bodies without the bodies, the last seen first."""
    with db.transaction(read_only=True) as tx:
        return tx.query(_QUERIES["quarantine_listed"], unresolved_only=unresolved_only, rows_max=limit)


def shown(db: Database, quarantine_id: UUID) -> Mapping[str, Any]:
    """Return one refused body; raises ``Rejected('quarantine_unknown')``."""
    with db.transaction(read_only=True) as tx:
        rows = tx.query(_QUERIES["quarantine_by_id"], quarantine_id=quarantine_id)
    if not rows:
        raise Rejected("quarantine_unknown", status=404)
    return rows[0]


def redrive(
    db: Database,
    quarantine_id: UUID,
    now: datetime,
    *,
    publisher: Publish,
    topic: str = "signals",
    body: bytes | None = None,
    limits: Limits | None = None,
) -> Redriven:
    """Publish a refused body again, as it was kept or as fixed in ``body``, and resolve its row with the receipt's id.

    Raises ``Rejected``: ``quarantine_unknown``, ``already_resolved``, ``body_not_kept``, and what the door refuses of the
    body; ``Unavailable`` when it cannot be published. Twice is harmless: the same body is the same receipt.
    """
    row = shown(db, quarantine_id)
    if row["resolved_at"] is not None:
        raise Rejected("already_resolved", str(row["resolution"]))
    chosen = row["body"] if body is None else body
    if chosen is None or (body is None and row["body_bytes"] > len(chosen)):
        raise Rejected("body_not_kept", "give the fixed body")
    accepted = receipt.parse(bytes(chosen), now=now, limits=limits or Limits())
    publisher.publish(topic, [receipt_message(accepted, now)])
    resolve(db, quarantine_id, accepted.receipt.receipt_id, now)
    told = accepted.receipt
    return Redriven(quarantine_id=quarantine_id, receipt_id=told.receipt_id, ticker=told.ticker, ts=told.ts)


def resolve(db: Database, quarantine_id: UUID, resolution: str, now: datetime) -> None:
    """Note what became of a refused body; raises ``Rejected('quarantine_unknown')``."""
    with db.transaction() as tx:
        if not tx.execute(_QUERIES["quarantine_resolved"], quarantine_id=quarantine_id, resolution=resolution, now=now):
            raise Rejected("quarantine_unknown", status=404)
