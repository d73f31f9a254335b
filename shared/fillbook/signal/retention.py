"""What the signal room forgets: partitions of receipts and decisions after 13 months, quarantined bodies after 90 days."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fillbook.runtime.db import Call, Database


def expire(db: Database, now: datetime) -> dict[str, Any]:
    """Drop what has expired and return ``{"partitions": names, "quarantine": count}``.

    Never believes a clock that runs ahead of the newest receipt (the database function sees to it).
    """
    (done,) = db.call(Call("signal.purge", {"now": now}))
    return dict(done)
