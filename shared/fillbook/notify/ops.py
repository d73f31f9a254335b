"""Messages about operations: one per subject, with a count and since when, edited instead of repeated.

An event is *folded* into what the subject's message remembers (``memory``), and the memory is rendered. So fifty failures
of one account are one message that says 50, and its recovery edits that message. The table below says for each event
type how bad it is, what its subject is, whether it repeats, and what it resolves. Nothing here knows a broker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from fillbook.notify.envelope import Envelope
from fillbook.notify.facts import facts_of, pick
from fillbook.notify.fit import fit
from fillbook.notify.model import Embed, Field, timestamp_text
from fillbook.notify.text import cut, escape, instant
from fillbook.notify.wording import Color
from fillbook.values import frozen

REPOST_AFTER = timedelta(minutes=60)
QUIET_AFTER = timedelta(hours=24)
SUBJECT_CHARACTERS_MAX = 160
WHOM_UNITS_MAX = 120

OPEN = "open"
RESOLVED = "resolved"
QUIET = "quiet"
TOLD = "told"

Subject = Callable[[Envelope], str]


@frozen
class OpsRule:
    """How one event type is told. ``title`` gets ``{whom}``; ``repeats``: counted, reposted and faded out.

    ``resolves``: prefixes of subjects that this event ends (``resolves_silently``: it then says nothing of its own).
    ``settled_by``: subjects whose message, if it tells of a later instant, means that this one is over already.
    """

    severity: Color
    title: str
    whom: Subject
    subject: Subject
    status: str = TOLD
    repeats: bool = False
    resolves: Callable[[Envelope], tuple[str, ...]] | None = None
    settled_by: Callable[[Envelope], tuple[str, ...]] | None = None
    resolves_silently: bool = False


def _value(*names: str) -> Subject:
    return lambda event: pick(event.data, *names) or event.aggregate_key


def _account(event: Envelope) -> str:
    return pick(event.data, "account", "account_id", "account_key", "login") or event.book_id or event.aggregate_key


def _class(event: Envelope) -> str:
    return pick(event.data, "error_class", "class", "reason", "error", "code") or "failed"


def _book(event: Envelope) -> str:
    return event.book_id or event.aggregate_key


def _broken(event: Envelope) -> str:
    """What disagrees, and in which book: an instrument by its ticker, cash by its currency."""
    what = pick(event.data, "ticker", "instrument_id", "currency")
    return f"{what} in {_book(event)}" if what else _book(event)


def _key(*parts: Subject | str) -> Subject:
    def key(event: Envelope) -> str:
        text = "/".join(part if isinstance(part, str) else part(event) for part in parts)
        if len(text) <= SUBJECT_CHARACTERS_MAX:
            return text
        return f"{text[: SUBJECT_CHARACTERS_MAX - 17]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    return key


def _told(severity: Color, title: str, whom: Subject, subject: Subject) -> OpsRule:
    return OpsRule(severity=severity, title=title, whom=whom, subject=subject)


def _failing(
    severity: Color,
    title: str,
    whom: Subject,
    subject: Subject,
    settled_by: Callable[[Envelope], tuple[str, ...]] | None = None,
) -> OpsRule:
    return OpsRule(severity=severity, title=title, whom=whom, subject=subject, status=OPEN, repeats=True, settled_by=settled_by)


def _opens(severity: Color, title: str, whom: Subject, subject: Subject) -> OpsRule:
    return OpsRule(severity=severity, title=title, whom=whom, subject=subject, status=OPEN)


def _closes(title: str, whom: Subject, subject: Subject) -> OpsRule:
    return OpsRule(severity=Color.INFO, title=title, whom=whom, subject=subject, status=RESOLVED)


_BREAK = _key("break", _value("break_id"))
_GAP = _key("gap", _account, _value("gap_id", "gap", "from", "window_start", "opened_at"))
_BREAKER = _key("breaker", _value("breaker", "server", "name", "service"))
_DATE = _value("date", "report_date", "snapshot_date")
_VERSION = _value("version", "snapshot_version")
_INSTRUMENT = _value("ticker", "symbol", "instrument", "instrument_id")
_CHANNEL = _value("channel_id")


def _recovery(event: Envelope) -> tuple[str, ...]:
    return (_key("sync", _account, "recovered")(event),)


def _publication(event: Envelope) -> tuple[str, ...]:
    return (f"snapshot/{_DATE(event)}",)


def _recovers(event: Envelope) -> tuple[str, ...]:
    account = _account(event)
    return (f"sync/{account}/", f"reauth/{account}")


def _published(event: Envelope) -> tuple[str, ...]:
    return (f"snapshot_overdue/{_DATE(event)}",)


OPS_RULES: Mapping[str, OpsRule] = {
    "position_adjusted": _told(
        Color.INFO, "Positions adjusted: {whom}", _INSTRUMENT, _key("adjusted", lambda e: str(e.event_id))
    ),
    "fill_parked": _told(
        Color.WARNING, "Fill parked: {whom}", _INSTRUMENT, _key("parked", _book, _value("fill_id", "source_id"))
    ),
    "break_found": _opens(Color.WARNING, "Break found: {whom}", _broken, _BREAK),
    "break_resolved": _closes("Break resolved: {whom}", _broken, _BREAK),
    "audit_failed": _told(Color.ERROR, "Audit failed: {whom}", _book, _key("audit", _book, _value("ran_at", "date"))),
    "ledger_anchored": _told(
        Color.INFO, "Ledger anchored: {whom}", _book, _key("anchor", _book, _value("anchored_on", "date", "seq"))
    ),
    "sync_failed": _failing(Color.ERROR, "Sync failed: {whom}", _account, _key("sync", _account, _class), _recovery),
    "sync_recovered": OpsRule(
        severity=Color.INFO,
        title="Sync recovered: {whom}",
        whom=_account,
        subject=_key("sync", _account, "recovered"),
        status=RESOLVED,
        resolves=_recovers,
        resolves_silently=True,
    ),
    "account_needs_reauth": _failing(
        Color.ERROR, "Account needs a new login: {whom}", _account, _key("reauth", _account), _recovery
    ),
    "identity_mismatch_found": _failing(Color.ERROR, "Account answers as another: {whom}", _account, _key("identity", _account)),
    "contract_error_found": _failing(Color.ERROR, "Contract error: {whom}", _account, _key("contract", _account, _class)),
    "history_gap_found": _opens(Color.WARNING, "History gap found: {whom}", _account, _GAP),
    "history_gap_closed": _closes("History gap closed: {whom}", _account, _GAP),
    "close_pending_stale": _failing(
        Color.WARNING, "Close still pending: {whom}", _account, _key("close_pending", _account, _value("position_id", "ticket"))
    ),
    "clock_rule_mismatch_found": _failing(
        Color.WARNING, "Server clock differs from its rule: {whom}", _account, _key("clock_rule", _account)
    ),
    "breaker_opened": _opens(Color.ERROR, "Breaker opened: {whom}", _value("breaker", "server", "name", "service"), _BREAKER),
    "breaker_closed": _closes("Breaker closed: {whom}", _value("breaker", "server", "name", "service"), _BREAKER),
    "capacity_exceeded": _failing(Color.WARNING, "Sync capacity exceeded: {whom}", _account, _key("capacity", _account)),
    "snapshot_published": OpsRule(
        severity=Color.INFO,
        title="Snapshot published: {whom}",
        whom=_DATE,
        subject=_key("snapshot", _DATE),
        resolves=_published,
    ),
    "snapshot_restated": _told(Color.WARNING, "Snapshot restated: {whom}", _DATE, _key("snapshot_restated", _DATE, _VERSION)),
    "snapshot_refused": _failing(Color.ERROR, "Snapshot refused: {whom}", _DATE, _key("snapshot_refused", _DATE)),
    "snapshot_publish_failed": _failing(
        Color.ERROR, "Snapshot not published: {whom}", _DATE, _key("snapshot_publish_failed", _DATE)
    ),
    "snapshot_overdue": OpsRule(
        severity=Color.WARNING,
        title="Snapshot overdue: {whom}",
        whom=_DATE,
        subject=_key("snapshot_overdue", _DATE),
        status=OPEN,
        settled_by=_publication,
    ),
    "channel_disabled": _opens(Color.ERROR, "Discord channel disabled: {whom}", _CHANNEL, _key("channel", _CHANNEL)),
    "message_dead": _failing(Color.ERROR, "Messages not delivered: {whom}", _CHANNEL, _key("dead", _CHANNEL, _value("reason"))),
    "reconcile_finished": _told(
        Color.WARNING, "Messages differ from the ledger: {whom}", _CHANNEL, _key("reconcile", _value("run_id"))
    ),
}


# --- folding ----------------------------------------------------------------------------------------------------------


def fold(memory: Mapping[str, Any] | None, rule: OpsRule, event: Envelope, now: datetime) -> dict[str, Any]:
    """Return what the subject's message remembers after ``event``; events may come in any order, none is counted twice.

    An opening event older than a known resolution does not reopen the subject.
    """
    happened = instant(event.occurred_at)
    old = dict(memory) if memory else {}
    is_latest = _at(old, "last_at") is None or event.occurred_at >= _moment(old["last_at"])
    resolved = _at(old, "resolved_at")
    new = {
        "title": old.get("title") or rule.title.format(whom=_whom(rule, event)),
        "severity": old.get("severity", int(rule.severity)),
        "count": int(old.get("count", 0)) + (0 if rule.status == RESOLVED else 1),
        "first_at": min(happened, old.get("first_at") or happened),
        "last_at": happened if is_latest else old["last_at"],
        "told_at": old.get("told_at") or instant(now),
        "status": old.get("status", rule.status),
        "repeats": bool(old.get("repeats", False) or rule.repeats),
        "facts": old.get("facts") or [],
        "resolved_at": old.get("resolved_at"),
    }
    if is_latest:
        new["facts"] = facts_of(event.data, event.book_id) or new["facts"]
        new["title"] = rule.title.format(whom=_whom(rule, event))
        new["severity"] = int(rule.severity)
    if rule.status == RESOLVED:
        return resolve(new, event.occurred_at)
    is_settled = resolved is not None and event.occurred_at <= resolved
    new["status"] = RESOLVED if is_settled else rule.status
    if is_settled:
        new["title"], new["severity"] = old["title"], old["severity"]
    return new


def resolve(memory: Mapping[str, Any], at: datetime, title: str | None = None) -> dict[str, Any]:
    """Return the memory of a subject that is over since ``at``, unless it was heard of later than that."""
    last = _at(dict(memory), "last_at")
    if last is not None and last > at:
        return dict(memory)
    resolved = {**memory, "status": RESOLVED, "resolved_at": instant(at), "severity": int(Color.INFO)}
    if title is not None:
        resolved["title"] = title
    return resolved


def settle(memory: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``memory`` resolved when the related message tells of an instant at or after this one's last."""
    return resolve(memory, _moment(other.get("resolved_at") or other["last_at"]))


def told_now(memory: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return the memory of a subject that is posted anew."""
    return {**memory, "told_at": instant(now)}


def fade(memory: Mapping[str, Any]) -> dict[str, Any]:
    """Return the memory of a failing subject that has been silent for a day."""
    return {**memory, "status": QUIET, "severity": int(Color.FLAT)}


def quiet_at(memory: Mapping[str, Any]) -> datetime | None:
    """Return when silence will mean that the subject is no longer reported (failing subjects only)."""
    if memory.get("status") != OPEN or not memory.get("repeats"):
        return None
    return _moment(memory["last_at"]) + QUIET_AFTER


def is_repost_due(memory: Mapping[str, Any], now: datetime) -> bool:
    """Whether a repeated failure may be told as a new message again instead of by an edit."""
    told = _at(dict(memory), "told_at")
    return bool(memory.get("repeats")) and memory.get("status") == OPEN and told is not None and now - told >= REPOST_AFTER


def backfill(memory: Mapping[str, Any] | None, book_id: str, executed_at: datetime, now: datetime) -> dict[str, Any]:
    """Count one suppressed execution of history into its book's line of the hour."""
    at = instant(executed_at)
    old = dict(memory) if memory else {}
    count = int(old.get("count", 0)) + 1
    first, last = min(at, old.get("first_at") or at), max(at, old.get("last_at") or at)
    return {
        "title": f"Backfill: {escape(book_id)}",
        "line": f"backfill: {count} executions, first {timestamp_text(_moment(first))} … last {timestamp_text(_moment(last))}",
        "severity": int(Color.INFO),
        "count": count,
        "first_at": first,
        "last_at": last,
        "told_at": old.get("told_at") or instant(now),
        "status": TOLD,
        "repeats": False,
        "facts": [],
        "resolved_at": None,
    }


# --- rendering --------------------------------------------------------------------------------------------------------

_SEVERITY = {Color.INFO: "info", Color.WARNING: "warning", Color.ERROR: "error", Color.FLAT: "info"}
_STATUS = {
    OPEN: "reported, still open",
    RESOLVED: "resolved",
    QUIET: "no longer reported",
    TOLD: "reported",
}


def render_ops(subject_key: str, memory: Mapping[str, Any]) -> Embed:
    """Return the embed of one subject; its footer names the subject, which is what an answer is recognised by."""
    facts = [Field(name=name, value=value) for name, value in memory["facts"]]
    counted = [Field(name="count", value=str(memory["count"]))] if memory.get("repeats") or memory["count"] > 1 else []
    times = [
        Field(name="since", value=timestamp_text(_moment(memory["first_at"]))),
        Field(name="last", value=timestamp_text(_moment(memory.get("resolved_at") or memory["last_at"]))),
    ]
    severity = _SEVERITY.get(Color(memory["severity"]), "info")
    line = memory.get("line") or f"{severity} · {_STATUS[memory['status']]}"
    title = str(memory["title"])
    if memory["status"] in (RESOLVED, QUIET) and "resolved" not in title and "recovered" not in title and "closed" not in title:
        title = f"{title} ({_STATUS[memory['status']]})"
    embed = Embed(
        title=title,
        description=str(line),
        color=int(memory["severity"]),
        timestamp=_moment(memory["last_at"]),
        fields=(*facts, *counted, *times),
        footer=f"subject {escape(subject_key)}",
    )
    return fit(embed, tuple(name for name, _ in reversed(memory["facts"])))


def _whom(rule: OpsRule, event: Envelope) -> str:
    return cut(escape(rule.whom(event)), WHOM_UNITS_MAX)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _at(memory: Mapping[str, Any], name: str) -> datetime | None:
    return None if memory.get(name) is None else _moment(memory[name])
