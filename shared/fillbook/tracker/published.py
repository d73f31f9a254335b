"""The published day as its readers see it: figures, stage, version and hash, and how its newest publication ended.

A reader whose key does not see every book that the day was made of does not see the day. Nothing is computed here: display texts
and numbers are the publisher's. Source: snapshot specification, 3 and 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import store
from fillbook.tracker.model import single
from fillbook.tracker.wire import answer, instants, text


def snapshot(db: Database, key: DeskKey, given: Mapping[str, list[str]], now: datetime) -> dict[str, Any]:
    """The newest published day, null where none is published or the key does not see its books. It takes no parameters."""
    single(given, frozenset())
    with store.look(db, key, None) as seen:
        days = seen.tx.query(store.QUERIES["published_day"])
        day = days[0] if days and all(key.sees(book_id) for book_id in days[0]["books"]) else None
        kpis = [] if day is None else seen.tx.query(store.QUERIES["published_kpis"], date=day["date"])
    return answer(now, None if day is None else day["updated_at"], seen.books, snapshot=None if day is None else _day(day, kpis))


def _day(day: Mapping[str, Any], kpis: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "date": day["date"].isoformat(),
        "stage": day["stage"],
        "version": day["version"],
        "content_sha256": day["content_sha256"],
        "headline": day["headline"],
        "counts": day["counts"],
        **instants("updated", day["updated_at"]),
        **instants("received", day["received_at"]),
        "publication": None
        if day["status"] is None
        else {
            "status": day["status"],
            "target": day["target"],
            "verified": day["verified"],
            **instants("finished", day["finished_at"]),
        },
        "kpis": [
            {
                "kpi": row["kpi"],
                "value": row["value_text"],
                "value_num": text(row["value_num"]),
                "kind": row["value_kind"],
                "missing_reason": row["missing_reason"],
            }
            for row in kpis
        ],
    }
