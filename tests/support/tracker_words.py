"""A user who says things about trades: through the tracker's function, or through its use cases where many are said at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.tracker import annotations
from fillbook.tracker.route import Sent
from tests.support.tracker_desk import entry

ADMIN_KEY, READ_KEY, THEIR_KEY, ACCOUNT_KEY, OLD_KEY = ("admin-words", "read-words", "their-words", "account-words", "old-words")
ALL_BOOKS = ["live", "replay:*", "ibkr:*", "mt5:*"]
KEYS = [
    entry("admin", ADMIN_KEY, scopes=["admin"], books=ALL_BOOKS),
    entry("read", READ_KEY, books=ALL_BOOKS),
    entry("their", THEIR_KEY, scopes=["admin"], tenant_id="other", books=ALL_BOOKS),
    entry("account", ACCOUNT_KEY, scopes=["admin"], books=["ibkr:U7654321"]),
    entry("old", OLD_KEY, scopes=["admin"], books=ALL_BOOKS, expires_at="2026-01-01T00:00:00Z"),
]
ROLE = "trade_tracker"
"""The function's own login role: a reader of every room, and the writer of this table."""
Query = Callable[..., list[dict[str, Any]]]


def tracker(function_app: Callable[..., FlaskClient], database_url: str, folder: Path, now: datetime, **more: str) -> FlaskClient:
    """The function on a paused clock, with its own rights."""
    clock = folder / "clock.json"
    clock.write_text(json.dumps({"desk_at": now.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    settings = {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_DATABASE_URL": f"{database_url}?role={ROLE}",
        "FILLBOOK_DESK_CLOCK": str(clock),
        "DESK_KEYS": json.dumps(KEYS),
    }
    return function_app("trade_tracker", settings | more)


def ask(client: FlaskClient, path: str, key: str | None = READ_KEY, **query: str) -> tuple[int, Any]:
    """Status and document of a question."""
    answer = client.get(path, query_string=query, headers={} if key is None else {"Authorization": f"Bearer {key}"})
    return answer.status_code, answer.get_json()


def send(
    client: FlaskClient,
    method: str,
    path: str,
    body: Any,
    key: str | None = ADMIN_KEY,
    *,
    headers: Mapping[str, str] | None = None,
    **query: str,
) -> tuple[int, Any]:
    """Status and document of what is sent."""
    known = {} if key is None else {"Authorization": f"Bearer {key}"}
    answer = client.open(path, method=method, json=body, query_string=query, headers=known | dict(headers or {}))
    return answer.status_code, answer.get_json()


def change(client: FlaskClient, path: str, body: Any, version: object, key: str = ADMIN_KEY, **query: str) -> tuple[int, Any]:
    """Status and document of other words over a version."""
    return send(client, "PATCH", path, body, key, headers={"If-Match": str(version)}, **query)


class Words:
    """Words about broker trades, said through the use cases, and what is stored of them."""

    def __init__(self, db: Database, query: Query) -> None:
        """``db`` acts with the function's rights."""
        self.db, self.query = db, query
        self.key = DeskKey(
            id="user", sha256="0" * 64, scopes=frozenset({"admin"}), tenant_id="desk", books=tuple(ALL_BOOKS), expires_at=None
        )

    def say(self, trade_id: str, now: datetime = datetime(2026, 1, 1, tzinfo=UTC), **words: Any) -> None:
        """The first words about a trade."""
        sent = Sent(body=words, headers={}, request_id="0" * 32)
        annotations.create_trade_notes(self.db, self.key, {}, now, sent=sent, trade_id=trade_id)

    def about(self, trade_id: str) -> None:
        """Words that are of this trade alone."""
        self.say(trade_id, notes=f"of {trade_id}\n", tags=[trade_id[:8], "kept"], strategy="swing", is_hidden=trade_id < "8")

    def kept(self) -> dict[str, str]:
        """Each row as it is stored, to the byte and with the transaction that wrote it, by its subject."""
        rows = self.query("select subject_id, to_json(n)::text || xmin::text as row from tracker.annotations n")
        return {str(row["subject_id"]): row["row"] for row in rows}
