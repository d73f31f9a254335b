"""A day comes in: it is read, compared with what stands there, and put in its place, in one transaction or not at all.

The same content again changes nothing. Older content is refused, and so is a late repeat of a version that was replaced since; an
empty day never takes the place of a good one by accident. When a day that was final changes, every figure that differs is kept
with its cause and told. Source: snapshot specification, 5.1 (rows 7 to 10) and 5.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from threading import Lock
from typing import Any, Final

from fillbook.outbox import service as outbox
from fillbook.outbox.model import Event, event_id
from fillbook.runtime import logs
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Conflict, Unavailable
from fillbook.snapshot import document, normalizer, store
from fillbook.snapshot.model import BadSnapshot, Counts, Problem, Snapshot, Stage
from fillbook.snapshot.normalizer import Normalized
from fillbook.snapshot.shown import instant_text
from fillbook.snapshot.store import Change, Figure, Replacement, Standing
from fillbook.values import frozen

OLDER, EMPTY = "older", "empty"
FORCES: Final = frozenset({OLDER, EMPTY})
"""Refusals that a sender may overrule by name."""
TOLD_MAX: Final = 20
"""Figures and late actions that an event names, so that it fits whatever they are called; the rest stands in the tables."""
NAME_LENGTH_MAX: Final = 64
READ_WAIT_SECONDS: Final = 20

_log = logs.get("snapshot_api")
_reading = Lock()
"""One body is read at a time: reading keeps a processor busy anyway, and eight million bytes of nothings become 300 MB."""


class OlderSnapshot(Conflict):
    """What came is older than what stands there, or a version that was replaced since."""

    def __init__(self, stored: datetime, given: datetime) -> None:
        super().__init__("older_snapshot", f"stored {instant_text(stored)}, given {instant_text(given)}")
        self.stored, self.given = stored, given


@frozen
class Delivery:
    """A body whose sender was let in; ``forced``: some of ``FORCES``."""

    raw: bytes
    forced: frozenset[str]
    request_id: str


@frozen
class _Coming:
    """A delivery that was read."""

    taken: Normalized
    counts: Counts
    document: str
    delivery: Delivery

    @property
    def snapshot(self) -> Snapshot:
        return self.taken.snapshot


def receive(db: Database, delivery: Delivery, now: datetime) -> dict[str, Any]:
    """Store a day and return the answer.

    Raises ``Rejected('not_json')`` 400, ``BadSnapshot`` (422 ``bad_snapshot``, 422 ``empty_snapshot``, 413 ``too_many``),
    ``OlderSnapshot``, ``Unavailable``.
    """
    taken = _taken(delivery.raw, now)
    coming = _Coming(
        taken=taken,
        counts=document.counts(taken.snapshot),
        document=document.encoded(taken.snapshot, sha256=taken.content_sha256).decode(),
        delivery=delivery,
    )
    answer = db.run(lambda tx: _put(tx, coming, now))
    _log.info(
        "snapshot_received",
        date=answer["date"],
        version=answer["version"],
        unchanged=answer["unchanged"],
        restated=answer["restated"],
        forced=sorted(delivery.forced),
        request_id=delivery.request_id,
        bytes=len(delivery.raw),
        **answer["counts"]["stored"],
    )
    return answer


def _taken(raw: bytes, now: datetime) -> Normalized:
    if not _reading.acquire(timeout=READ_WAIT_SECONDS):
        raise Unavailable("busy", "other bodies are being read")
    try:
        return normalizer.normalized(normalizer.parsed(raw), now=now)
    finally:
        _reading.release()


def _put(tx: Tx, coming: _Coming, now: datetime) -> dict[str, Any]:
    snapshot, content_sha256 = coming.snapshot, coming.taken.content_sha256
    standing = store.open_day(tx, snapshot.date, content_sha256)
    if standing is not None and OLDER not in coming.delivery.forced:
        _check_newer(standing, snapshot, content_sha256)
    if coming.counts == Counts() and EMPTY not in coming.delivery.forced:
        raise BadSnapshot(
            [Problem(path="", code="empty_snapshot", message="no row and no overlay item")], reason="empty_snapshot"
        )
    if standing is not None and standing.content_sha256 == content_sha256:
        store.received_again(tx, snapshot.date, now)
        return _answer(coming, standing.version, standing.updated_at, restated=0, is_unchanged=True)
    changes = _changes(standing, coming) if standing is not None and standing.stage is Stage.FINAL else ()
    replacement = _replacement(coming, 1 if standing is None else standing.version + 1, changes, now)
    store.replace_day(tx, replacement)
    if changes and standing is not None:
        outbox.enqueue(tx, [_restated(coming, standing, replacement, now)])
    restated = sum(change.subject == "kpi" for change in changes)
    return _answer(coming, replacement.version, snapshot.updated_at, restated=restated)


def _check_newer(standing: Standing, snapshot: Snapshot, content_sha256: str) -> None:
    """Raise ``OlderSnapshot`` for older content, and for a version replaced since that comes again with an equal time."""
    is_repeat = standing.is_known and standing.content_sha256 != content_sha256
    if standing.updated_at > snapshot.updated_at or (standing.updated_at == snapshot.updated_at and is_repeat):
        raise OlderSnapshot(standing.updated_at, snapshot.updated_at)


def _replacement(coming: _Coming, version: int, changes: tuple[Change, ...], now: datetime) -> Replacement:
    return Replacement(
        version=version,
        received_at=now,
        request_id=coming.delivery.request_id,
        counts=coming.counts,
        forced=tuple(sorted(coming.delivery.forced)),
        changes=changes,
        document=coming.document,
    )


def _changes(standing: Standing, coming: _Coming) -> tuple[Change, ...]:
    """Every KPI that is not what it was, and the number of items of each part before and after."""
    old = {figure.kpi: figure for figure in standing.figures}
    new = {row.kpi: Figure(kpi=row.kpi, text=row.value, num=row.value_num) for row in coming.snapshot.rows}
    figures = [
        Change(
            subject="kpi",
            name=name,
            old_text=old[name].text if name in old else None,
            new_text=new[name].text if name in new else None,
            old_num=old[name].num if name in old else None,
            new_num=new[name].num if name in new else None,
        )
        for name in dict.fromkeys((*new, *old))
        if old.get(name) != new.get(name)
    ]
    before, after = store.counts_document(standing.counts), store.counts_document(coming.counts)
    parts = [
        Change(subject="part", name=part, old_num=Decimal(before[part]), new_num=Decimal(count)) for part, count in after.items()
    ]
    return (*figures, *parts)


def _restated(coming: _Coming, standing: Standing, replacement: Replacement, now: datetime) -> Event:
    """The event that tells a restatement: the figures before and after, and the late actions that are its cause."""
    day = coming.snapshot.date.isoformat()
    late = (coming.snapshot.provenance or {}).get("late_actions")
    late = late if isinstance(late, list | tuple) else ()
    figures = [change for change in replacement.changes if change.subject == "kpi"]
    return Event(
        event_id=event_id(None, "snapshot_restated", day, replacement.version),
        event_type="snapshot_restated",
        aggregate_key=f"snapshot/{day}",
        aggregate_version=replacement.version,
        occurred_at=now,
        recorded_at=now,
        data={
            "date": day,
            "version": replacement.version,
            "previous_version": standing.version,
            "stage": coming.snapshot.stage,
            "content_sha256": coming.taken.content_sha256,
            "restated": len(figures),
            "kpis": [
                {"kpi": change.name, "old": change.old_text, "new": change.new_text, "difference": _difference(change)}
                for change in figures[:TOLD_MAX]
            ],
            "counts": store.counts_document(coming.counts),
            "previous_counts": store.counts_document(standing.counts),
            "late_actions": [_named(action) for action in late[:TOLD_MAX]],
            "late_action_count": len(late),
        },
    )


def _named(action: Any) -> str:
    """A late action by its id, or by whatever somebody else's sender says of it."""
    found = action.get("action_id", "") if isinstance(action, Mapping) else action
    return str(found)[:NAME_LENGTH_MAX]


def _difference(change: Change) -> Decimal | None:
    return None if change.old_num is None or change.new_num is None else change.new_num - change.old_num


def _answer(coming: _Coming, version: int, updated_at: datetime, *, restated: int, is_unchanged: bool = False) -> dict[str, Any]:
    dropped = coming.taken.dropped
    return {
        "ok": True,
        "date": coming.snapshot.date.isoformat(),
        "updated_at": instant_text(updated_at),
        "request_id": coming.delivery.request_id,
        "version": version,
        "unchanged": is_unchanged,
        "content_sha256": coming.taken.content_sha256,
        "counts": {
            "stored": store.counts_document(coming.counts),
            "dropped": {"duplicates": dropped.duplicates, "null_points": dropped.null_points},
        },
        "restated": restated,
        "warnings": list(coming.taken.warnings),
    }
