"""A user's words beside the trades they are shown on, whatever list or detail these stand in.

Of several that come together on one trade those stand for it that hang on its oldest action, or on the trade itself; what more
there is follows under the id it hangs on. Source: tracker.md 2, 5; decision 0044.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import load_queries
from fillbook.tracker import store
from fillbook.tracker.annotations_model import PositionWords, TradeWords
from fillbook.tracker.wire import instants

QUERIES = load_queries("fillbook.tracker", "annotations.sql")
Words = Mapping[Any, Sequence[store.Row]]
"""Rows of words by what they are shown on."""


def of_positions(seen: store.Seen, key: DeskKey, rows: Sequence[Mapping[str, Any]]) -> Words:
    """The words about positions, by (book_id, position_id)."""
    if not rows:
        return {}
    wanted = [row["position_id"] for row in rows]
    found = seen.tx.query(QUERIES["position_words"], tenant_id=key.tenant_id, books=seen.book_ids, positions=wanted)
    return store.by_position(found, "trade_id")


def of_trades(seen: store.Seen, key: DeskKey, ids: Sequence[UUID], *, is_linked: bool) -> Words:
    """The words about broker trades, by their ids."""
    if not ids:
        return {}
    found = seen.tx.query(QUERIES["linked_words" if is_linked else "trade_words"], tenant_id=key.tenant_id, ids=list(ids))
    words: dict[UUID, list[store.Row]] = {}
    for row in found:
        words.setdefault(row["trade_id"], []).append(row)
    return words


def about_position(rows: Sequence[store.Row] | None) -> PositionWords:
    """A position's words on the wire."""
    first, *others = rows or ({"notes": None, "tags": (), "version": None},)
    told: PositionWords = {"notes": first["notes"], "tags": list(first["tags"]), "notes_version": first["version"]}
    if others:
        told["other_words"] = [
            {
                "subject_id": str(row["subject_id"]),
                "notes": row["notes"],
                "tags": list(row["tags"]),
                "version": row["version"],
                "updated_ts": instants("updated", row["updated_at"])["updated_ts"],
                "updated_at": instants("updated", row["updated_at"])["updated_at"],
            }
            for row in others
        ]
    return told


def about_trade(rows: Sequence[store.Row] | None) -> TradeWords:
    """A broker trade's words on the wire."""
    first = rows[0] if rows else {"strategy": None, "hidden_at": None}
    return cast(
        "TradeWords", {**about_position(rows), "strategy": first["strategy"], "is_hidden": first["hidden_at"] is not None}
    )
