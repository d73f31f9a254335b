"""The room's tables as they are written: a day is locked and looked at, then replaced whole, two round trips (migration 0025)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from fillbook.runtime.db import Call, Tx
from fillbook.runtime.sql import load_queries
from fillbook.snapshot.model import Counts, Stage
from fillbook.snapshot.shown import framed
from fillbook.values import frozen

QUERIES = load_queries("fillbook.snapshot")


@frozen
class Figure:
    """A KPI as it is stored: the text that is shown and the number, None where it is not known."""

    kpi: str
    text: str
    num: Decimal | None


@frozen
class Standing:
    """What stands under a date. ``is_known``: the content that was asked for is or was once that of this day."""

    version: int
    updated_at: datetime
    content_sha256: str
    stage: Stage | None
    counts: Counts
    figures: tuple[Figure, ...]
    is_known: bool


@frozen
class Change:
    """What a version changes in a day that was final: a ``kpi``, or the number of items of a ``part``."""

    subject: str
    name: str
    old_text: str | None = None
    new_text: str | None = None
    old_num: Decimal | None = None
    new_num: Decimal | None = None


@frozen
class Replacement:
    """A version on its way in; ``document`` is the whole published document as JSON text."""

    version: int
    received_at: datetime
    request_id: str
    counts: Counts
    forced: tuple[str, ...]
    changes: tuple[Change, ...]
    document: str


def open_day(tx: Tx, day: date, content_sha256: str) -> Standing | None:
    """Lock a date until the transaction ends and return what stands there; None where nothing does."""
    (found,) = tx.call(Call("metrics.open_day", {"date": day, "content_sha256": content_sha256}))
    if found is None:
        return None
    return Standing(
        version=found["version"],
        updated_at=datetime.fromisoformat(found["updated_at"]),
        content_sha256=found["content_sha256"],
        stage=None if found["stage"] is None else Stage(found["stage"]),
        counts=Counts(**found["counts"]),
        figures=tuple(_figure(row) for row in found["kpis"]),
        is_known=found["is_known"],
    )


def _figure(row: Mapping[str, Any]) -> Figure:
    return Figure(kpi=row["kpi"], text=row["text"], num=None if row["num"] is None else Decimal(row["num"]))


def replace_day(tx: Tx, replacement: Replacement) -> None:
    """Put a version in the place of what stands under its date, which the transaction holds locked."""
    head = {
        "version": replacement.version,
        "received_at": replacement.received_at,
        "request_id": replacement.request_id,
        "counts": counts_document(replacement.counts),
        "forced": list(replacement.forced),
        "changes": [change_row(change) for change in replacement.changes],
    }
    tx.query(QUERIES["replace_day"], document=framed(head, document=replacement.document))


def change_row(change: Change) -> dict[str, Any]:
    """A change as a row of ``metrics.restatements``."""
    return {
        "subject": change.subject,
        "name": change.name,
        "old_text": change.old_text,
        "new_text": change.new_text,
        "old_num": change.old_num,
        "new_num": change.new_num,
    }


def counts_document(counts: Counts) -> dict[str, int]:
    """Counts by the names of their parts."""
    return {"kpis": counts.kpis, "series": counts.series, "extremes": counts.extremes, "assets": counts.assets}


def received_again(tx: Tx, day: date, now: datetime) -> None:
    """Note that the sender said the same again."""
    tx.execute(QUERIES["received_again"], date=day, now=now)
