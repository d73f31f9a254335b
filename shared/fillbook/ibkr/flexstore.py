"""Pacing and requests of the Flex web service in the database: one token row, locked for a moment, and one row a request."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from fillbook.ibkr import flexrules
from fillbook.ibkr.flexrules import Class
from fillbook.ibkr.store import QUERIES
from fillbook.runtime.db import Database, Tx
from fillbook.values import frozen


@frozen
class Request:
    """A row of ``flex_requests``. ``statement_url`` is the broker's address and is never logged."""

    request_id: str
    token_name: str
    query_id: str
    from_date: date
    to_date: date
    state: str
    not_before: datetime
    reference_code: str | None = None
    statement_url: str | None = None
    deferrals: int = 0
    error_code: int | None = None
    error_body: str | None = None
    run_id: str | None = None


@frozen
class Slot:
    """Leave to make one call (``wait_until`` None), or why not: until when, or never while ``is_disabled``."""

    wait_until: datetime | None = None
    reason: str = ""
    is_disabled: bool = False


@frozen
class Token:
    """A row of ``flex_tokens``."""

    fingerprint: str
    state: str
    paused_until: datetime | None
    reason_code: int | None
    recent_calls: tuple[datetime, ...]


def take_slot(db: Database, name: str, fingerprint: str, now: datetime) -> Slot:
    """Take the right to one call at ``now``, or learn when there is one; another fingerprint begins anew."""

    def work(tx: Tx) -> Slot:
        token = _locked(tx, name, fingerprint, now)
        if token.state == "disabled":
            return Slot(reason="flex_token_disabled", is_disabled=True)
        if token.paused_until is not None and token.paused_until > now:
            return Slot(wait_until=token.paused_until, reason="flex_token_paused")
        calls = flexrules.recent(token.recent_calls, now)
        at = flexrules.free_at(calls, now)
        if at > now:
            return Slot(wait_until=at, reason="flex_no_slot")
        _write(tx, name, replace(token, state="active", paused_until=None, recent_calls=(*calls, now)), now)
        return Slot()

    return db.run(work)


def punish(db: Database, name: str, fingerprint: str, kind: Class, code: int, now: datetime) -> bool:
    """Pause or disable the token that the service complained of; whether that is news.

    A longer pause and a disabled token stand, and a token that was changed meanwhile is not touched.
    """
    pause = {Class.TOO_MANY: flexrules.PAUSE_TOO_MANY, Class.LOCKED_OUT: flexrules.PAUSE_LOCKED_OUT}.get(kind)
    until = None if pause is None else now + pause

    def work(tx: Tx) -> bool:
        token = _locked(tx, name, None, now)
        is_stronger = until is None or token.paused_until is None or token.paused_until < until
        if token.fingerprint != fingerprint or token.state == "disabled" or not is_stronger:
            return False
        is_paused = token.paused_until is not None and token.paused_until > now
        was_told = is_paused and token.reason_code == code
        state = "disabled" if until is None else "paused"
        _write(tx, name, replace(token, state=state, paused_until=until, reason_code=code), now)
        return not was_told

    return db.run(work)


def _locked(tx: Tx, name: str, fingerprint: str | None, now: datetime) -> Token:
    if fingerprint is not None:
        tx.execute(QUERIES["flex_token_known"], name=name, fingerprint=fingerprint, now=now)
    (row,) = tx.query(QUERIES["flex_token_locked"], name=name)
    if fingerprint is not None and row["fingerprint"] != fingerprint:
        token = Token(fingerprint=fingerprint, state="active", paused_until=None, reason_code=None, recent_calls=())
        _write(tx, name, token, now)
        return token
    return Token(
        fingerprint=row["fingerprint"],
        state=row["state"],
        paused_until=row["paused_until"],
        reason_code=row["reason_code"],
        recent_calls=tuple(row["recent_calls"]),
    )


def _write(tx: Tx, name: str, token: Token, now: datetime) -> None:
    tx.execute(
        QUERIES["flex_token_written"],
        name=name,
        fingerprint=token.fingerprint,
        state=token.state,
        paused_until=token.paused_until,
        reason_code=None if token.state == "active" else token.reason_code,
        recent_calls=list(token.recent_calls),
        now=now,
    )


def make_requests(db: Database, requests: tuple[Request, ...], fingerprint: str, now: datetime) -> None:
    """Keep requests that are to be sent, and the row of their token; known ones stay as they are."""

    def work(tx: Tx) -> None:
        for request in requests:
            _make(tx, request, fingerprint, now)

    db.run(work)


def split(db: Database, first: Request, rest: Request, fingerprint: str, now: datetime) -> None:
    """Halve a request: the first half is written back, the rest is a request of its own, in one transaction."""

    def work(tx: Tx) -> None:
        _make(tx, rest, fingerprint, now)
        _update(tx, first, now)

    db.run(work)


def write(db: Database, request: Request, now: datetime) -> None:
    """Write what became of a request."""
    db.run(lambda tx: _update(tx, request, now))


def read(db: Database, request_id: str) -> Request | None:
    """The request, where there is one."""
    with db.transaction(read_only=True) as tx:
        rows = tx.query(QUERIES["flex_request"], id=UUID(request_id))
    return _request_of(rows[0]) if rows else None


def note_taken(db: Database, request_id: str, *, sha256: bytes, byte_count: int, run_id: str, now: datetime) -> None:
    """Note that the statement of a request was taken in."""
    values: dict[str, Any] = {"body_sha256": sha256, "body_bytes": byte_count, "run_id": UUID(run_id), "now": now}
    db.run(lambda tx: tx.execute(QUERIES["flex_request_taken"], id=UUID(request_id), **values))


def _make(tx: Tx, request: Request, fingerprint: str, now: datetime) -> None:
    tx.execute(QUERIES["flex_token_known"], name=request.token_name, fingerprint=fingerprint, now=now)
    tx.execute(
        QUERIES["flex_request_made"],
        id=UUID(request.request_id),
        token_name=request.token_name,
        query_id=request.query_id,
        from_date=request.from_date,
        to_date=request.to_date,
        not_before=request.not_before,
        now=now,
    )


def _update(tx: Tx, request: Request, now: datetime) -> None:
    tx.execute(
        QUERIES["flex_request_written"],
        id=UUID(request.request_id),
        to_date=request.to_date,
        reference_code=request.reference_code,
        statement_url=request.statement_url,
        state=request.state,
        not_before=request.not_before,
        deferrals=request.deferrals,
        error_code=request.error_code,
        error_body=request.error_body,
        now=now,
    )


def _request_of(row: dict[str, Any]) -> Request:
    others = {name: value for name, value in row.items() if name not in ("id", "run_id")}
    return Request(request_id=str(row["id"]), run_id=None if row["run_id"] is None else str(row["run_id"]), **others)
