"""The fake Discord's memory: webhooks, channels, messages, pings and the request log, kept in one SQLite file.

Durable so that a restart of the fake keeps what people see; ``:memory:`` in tests. Ids are snowflakes of the desk
clock. All access happens under the server's lock.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

EPOCH_MS = 1_420_070_400_000
GUILD_ID = "1180000000000000001"
REQUESTS_MAX = 50_000
_TOKEN_BYTES = 51  # 68 characters of base64url, as a real webhook's token

_SCHEMA = """
create table if not exists meta (key text primary key, value text not null);
create table if not exists channels (channel_id text primary key, name text not null, parent_id text,
    gone integer not null default 0);
create table if not exists webhooks (name text primary key, webhook_id text not null unique, token text not null,
    channel_id text not null, state text not null default 'ok');
create table if not exists messages (message_id integer primary key, channel_id text not null, webhook_id text not null,
    body text not null);
create index if not exists messages_by_channel on messages (channel_id, message_id);
create table if not exists pings (ping_id integer primary key, message_id integer, at text, operation text, kind text,
    text text, place text, would_ping integer);
create table if not exists requests (request_id integer primary key, at text not null, operation text not null,
    method text not null, path text not null, webhook text, status integer, code integer, message_id text,
    limited integer not null default 0, early_by real not null default 0, fault text, user_agent text, body text);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One webhook and the channel it posts to; ``state`` is ok, deleted, token_bad, forbidden or channel_deleted."""

    name: str
    webhook_id: str
    token: str
    channel_id: str
    state: str

    @property
    def url(self) -> str:
        """The URL as a person copies it from Discord: it names no version."""
        return f"https://discord.com/api/webhooks/{self.webhook_id}/{self.token}"


def snowflake_ms(now: datetime) -> int:
    """Return milliseconds since Discord's epoch."""
    return max(0, int(now.timestamp() * 1000) - EPOCH_MS)


def written(now: datetime) -> str:
    """Write an instant as Discord writes message times."""
    return now.astimezone(UTC).isoformat(timespec="microseconds")


class DiscordStore:
    """Rows in, rows out; the caller holds the lock."""

    def __init__(self, path: Path | None) -> None:
        self._connection = sqlite3.connect(str(path) if path else ":memory:", check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        if path:
            self._connection.execute("pragma journal_mode = wal")
            self._connection.execute("pragma synchronous = off")  # survives a killed process, which is what is tested
        self._connection.executescript(_SCHEMA)
        self._last_id = int(self._one("select coalesce(max(message_id), 0) as last from messages")["last"])

    def _one(self, sql: str, *values: object) -> sqlite3.Row:
        return self._connection.execute(sql, values).fetchone()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def next_id(self, now: datetime) -> str:
        """Return a new snowflake of ``now``; ids of one millisecond count up, also when the clock went back."""
        candidate = snowflake_ms(now) << 22
        if candidate >> 22 == self._last_id >> 22:
            candidate = self._last_id + 1
        while self._one("select 1 from messages where message_id = ?", candidate):
            candidate += 1
        self._last_id = candidate
        return str(candidate)

    def read_token(self) -> str:
        """Return the read bot's token, made on first use."""
        row = self._one("select value from meta where key = 'read_token'")
        if row:
            return str(row["value"])
        token = f"{secrets.token_urlsafe(20)}.{secrets.token_urlsafe(5)}.{secrets.token_urlsafe(28)}"
        self._connection.execute("insert into meta values ('read_token', ?)", (token,))
        return token

    def ensure_webhook(self, name: str, *, channel: str | None = None) -> Webhook:
        """Return the webhook called ``name``, made with a channel of its own (or in the named one) when missing."""
        found = [webhook for webhook in self.webhooks() if webhook.name == name]
        if found:
            return found[0]
        channel_name = channel or name
        row = self._one("select channel_id from channels where name = ? and parent_id is null", channel_name)
        if row:
            channel_id = str(row["channel_id"])
        else:
            channel_id = self._new_identity()
            self._connection.execute("insert into channels (channel_id, name) values (?, ?)", (channel_id, channel_name))
        identity, token = self._new_identity(), secrets.token_urlsafe(_TOKEN_BYTES)
        self._connection.execute(
            "insert into webhooks (name, webhook_id, token, channel_id) values (?, ?, ?, ?)", (name, identity, token, channel_id)
        )
        return Webhook(name=name, webhook_id=identity, token=token, channel_id=channel_id, state="ok")

    def _new_identity(self) -> str:
        return str(1_180_000_000_000_000_000 + secrets.randbelow(10**16))

    def add_thread(self, name: str, parent_id: str) -> str:
        """Return the id of a new thread under a channel."""
        thread_id = self._new_identity()
        self._connection.execute(
            "insert into channels (channel_id, name, parent_id) values (?, ?, ?)", (thread_id, name, parent_id)
        )
        return thread_id

    def make_forum(self, channel_id: str) -> None:
        """Turn a channel into a forum: posts need a thread."""
        self._connection.execute("insert or replace into meta values (?, '1')", (f"forum:{channel_id}",))

    def is_forum(self, channel_id: str) -> bool:
        """Say whether a channel is a forum."""
        return self._one("select 1 from meta where key = ?", f"forum:{channel_id}") is not None

    def webhooks(self) -> list[Webhook]:
        """Return every webhook in the order of creation."""
        rows = self._connection.execute("select name, webhook_id, token, channel_id, state from webhooks order by rowid")
        return [Webhook(**dict(row)) for row in rows]

    def webhook(self, webhook_id: str) -> Webhook | None:
        """Return the webhook of an id."""
        return next((webhook for webhook in self.webhooks() if webhook.webhook_id == webhook_id), None)

    def set_state(self, name: str, state: str) -> None:
        """Set what is wrong with a webhook (or ``ok``)."""
        self._connection.execute("update webhooks set state = ? where name = ?", (state, name))

    def channels(self) -> list[dict[str, Any]]:
        """Return channels and threads."""
        return [dict(row) for row in self._connection.execute("select * from channels order by rowid")]

    def save(self, message: Mapping[str, Any]) -> None:
        """Insert or replace a message (Discord's own document)."""
        self._connection.execute(
            "insert or replace into messages values (?, ?, ?, ?)",
            (int(message["id"]), message["channel_id"], message["webhook_id"], json.dumps(message, ensure_ascii=False)),
        )

    def message(self, message_id: str) -> dict[str, Any] | None:
        """Return a message by id."""
        if not message_id.isdigit() or len(message_id) > 19:
            return None
        row = self._one("select body from messages where message_id = ?", int(message_id))
        return json.loads(row["body"]) if row else None

    def delete(self, message_id: str) -> bool:
        """Delete a message; False when it was gone."""
        return self._connection.execute("delete from messages where message_id = ?", (int(message_id),)).rowcount > 0

    def messages(
        self, channel_id: str | None = None, *, before: int | None = None, after: int | None = None, limit: int = 1_000_000
    ) -> list[dict[str, Any]]:
        """Return messages newest first; with ``after`` the ``limit`` oldest beyond it, still newest first."""
        order = "asc" if after is not None else "desc"
        rows = self._connection.execute(
            "select body from messages where (? is null or channel_id = ?) and (? is null or message_id < ?)"
            f" and (? is null or message_id > ?) order by message_id {order} limit ?",
            (channel_id, channel_id, before, before, after, after, limit),
        ).fetchall()
        found = [json.loads(row["body"]) for row in rows]
        return found if order == "desc" else found[::-1]

    def add_pings(self, message_id: str, now: datetime, operation: str, found: list[dict[str, Any]]) -> None:
        """Record the mentions of a create or edit."""
        self._connection.executemany(
            "insert into pings (message_id, at, operation, kind, text, place, would_ping) values (?, ?, ?, ?, ?, ?, ?)",
            [
                (int(message_id), written(now), operation, one["kind"], one["text"], one["where"], int(one["would_ping"]))
                for one in found
            ],
        )

    def pings(self) -> list[dict[str, Any]]:
        """Return recorded mentions."""
        rows = self._connection.execute("select * from pings order by ping_id")
        return [{**dict(row), "message_id": str(row["message_id"]), "would_ping": bool(row["would_ping"])} for row in rows]

    def log_request(self, record: Mapping[str, Any]) -> int:
        """Append to the request log, which keeps the newest 50,000."""
        names = ", ".join(record)
        marks = ", ".join("?" * len(record))
        cursor = self._connection.execute(f"insert into requests ({names}) values ({marks})", tuple(record.values()))
        identity = int(cursor.lastrowid or 0)
        if identity % 1000 == 0:
            self._connection.execute("delete from requests where request_id <= ?", (identity - REQUESTS_MAX,))
        return identity

    def amend_request(self, identity: int, **values: object) -> None:
        """Fill in what became of a logged request."""
        names = ", ".join(f"{name} = ?" for name in values)
        self._connection.execute(f"update requests set {names} where request_id = ?", (*values.values(), identity))

    def requests(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Return the log after a request id, oldest first; ``body`` parsed where it was JSON."""
        rows = self._connection.execute("select * from requests where request_id > ? order by request_id", (after,))
        return [{**dict(row), "limited": bool(row["limited"]), "body": _parsed(row["body"])} for row in rows]

    def reset(self) -> None:
        """Forget messages, pings, requests and states; webhooks, channels and tokens stay."""
        for statement in (
            "delete from meta where key like 'forum:%'",
            "delete from messages",
            "delete from pings",
            "delete from requests",
            "update webhooks set state = 'ok'",
            "update channels set gone = 0",
        ):
            self._connection.execute(statement)
        self._last_id = 0


def _parsed(text: str | None) -> object:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
