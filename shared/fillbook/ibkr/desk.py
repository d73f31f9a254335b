"""What a person or a message says about the room: refused rows and what was decided about them, and which job is meant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from fillbook.ibkr import intake, store
from fillbook.ibkr.words import Reason
from fillbook.runtime.bodies import parse_json_object
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Conflict, Rejected

ROWS_MAX: Final = 500
REASON_CHARACTERS_MAX: Final = 500


def open_rows(db: Database) -> list[dict[str, Any]]:
    """Rows that wait for a decision, oldest first, at most 500."""
    with db.transaction(read_only=True) as tx:
        return tx.query(store.QUERIES["quarantine_open"], rows_max=ROWS_MAX)


def accept(db: Database, quarantine_id: str, reason: object, *, decided_by: str, now: datetime) -> Mapping[str, Any]:
    """Accept a refused row: runs that see it again count as complete. The same again changes nothing.

    Raises ``Rejected`` (``reason_invalid``; ``quarantine_unknown``, 404) and ``Conflict('quarantine_decided')`` for a row
    that was decided otherwise.
    """
    if not isinstance(reason, str) or not reason.strip() or len(reason) > REASON_CHARACTERS_MAX:
        raise Rejected("reason_invalid", f"1 to {REASON_CHARACTERS_MAX} characters", field="reason")
    try:
        known = str(UUID(quarantine_id))
    except ValueError:
        raise Rejected("quarantine_unknown", status=404) from None
    with db.transaction() as tx:
        tx.execute(store.QUERIES["accept_quarantined"], id=known, decided_by=decided_by, decision=reason.strip(), now=now)
        rows = tx.query(store.QUERIES["one_quarantined"], id=known)
    if not rows:
        raise Rejected("quarantine_unknown", status=404)
    if rows[0]["state"] != "accepted":
        raise Conflict("quarantine_decided", str(rows[0]["state"]))
    return rows[0]


def job_of(body: bytes) -> str:
    """The job a ``sync_requested`` names; raises ``Rejected('event_invalid')`` for anything else."""
    document = parse_json_object(body)
    data = document.get("data")
    if document.get("event_type") != "sync_requested" or not isinstance(data, Mapping):
        raise Rejected("event_invalid", field="event_type")
    try:
        return str(UUID(data["job_id"]))
    except (KeyError, ValueError, TypeError, AttributeError):
        raise Rejected("event_invalid", field="job_id") from None


def job_named(body: bytes) -> str | None:
    """The job a given-up message names, if it names one."""
    try:
        return job_of(body)
    except Rejected:
        return None


def keep_message(db: Database, body: bytes, reason: Reason, topic: str, now: datetime, *, detail: str = "") -> None:
    """Keep a message in the room's quarantine with its text; the same text again only counts."""
    refusal = intake.refusal(topic, "", reason, detail, body.decode("utf-8", "backslashreplace"))
    db.call(store.put_aside([refusal], None, now))
