"""Runs: what one is called, what it pins when it is made, who may go on with it, and how one is stopped, kept and removed.

A run found again must be the run that was meant: every value that was sent is compared with what it pinned, and other code goes
on only where somebody accepts it, which is recorded. Source: replay.md 1, 2.1, 9, 11.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final

from fillbook.ledger import service as ledger
from fillbook.ledger.ids import derived
from fillbook.replay import gaps, gapstore, store
from fillbook.replay.asked import Asked, is_id
from fillbook.replay.model import BOOK_PREFIX, LIVE_BOOK, Grade, Pins, Run, RunKind, RunStatus, Scope
from fillbook.replay.opening import open_run
from fillbook.replay.settings import ReplayWorkerConfig
from fillbook.replay.store import Held
from fillbook.runtime.db import Call, Database, Tx
from fillbook.runtime.errors import Conflict, Rejected
from fillbook.signal.canonical import canonical
from fillbook.signal.profile import Profile, ProfileError, load, parse_profile
from fillbook.values import frozen

DECIDING_PACKAGES: Final = ("fillbook.signal", "fillbook.ledger", "fillbook.replay")
ACTIVE_MAX: Final = 4
PURGED_A_CALL_MAX: Final = 5
PROFILES_KEPT: Final = 32


@frozen
class Desk:
    """What the use cases of this room are told by their shell. ``profiles`` finds a profile by its name."""

    db: Database
    code_version: str
    profiles: Callable[[str], Profile] = load
    runs_kept: int = 50
    run_days_kept: int = 30


def desk_for(config: ReplayWorkerConfig, db: Database) -> Desk:
    """The room on a process's database."""
    return Desk(db=db, code_version=code_version(), runs_kept=config.replay_runs_kept, run_days_kept=config.replay_run_days_kept)


@cache
def code_version() -> str:
    """Digest of the code whose outcome a run is: rooms signal, ledger and replay, word for word."""
    digest = hashlib.sha256()
    for package in DECIDING_PACKAGES:
        for entry in sorted(files(package).iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith((".py", ".sql")):
                digest.update(f"{package}/{entry.name}".encode() + b"\0" + entry.read_bytes())
    return digest.hexdigest()[:16]


def run_id_of(asked: Asked) -> str:
    """The id of the run a call means: given, derived from its name, or from what it asks for."""
    if asked.run is not None:
        return asked.run if is_id(asked.run) else derived("replay_run_named", asked.run)
    return derived("replay_run", asked.date.isoformat(), asked.ticker, asked.script_version, asked.profile, asked.session.value)


def make(asked: Asked, desk: Desk, *, kind: RunKind, created_by: str, now: datetime, until: date | None = None) -> Run:
    """A run that pins what a call asks for. Raises ``Rejected('param')`` for a profile that does not exist."""
    run_id = run_id_of(asked)
    try:
        profile = desk.profiles(asked.profile)
    except ProfileError as error:
        raise Rejected("param", str(error), field="profile") from error
    scope = Scope(
        date_from=asked.date,
        date_to=asked.date if until is None else until,
        ticker=asked.ticker,
        script_version=asked.script_version,
        session=asked.session,
    )
    pins = Pins(
        profile=asked.profile,
        config=json.loads(profile.text, parse_float=Decimal),
        config_digest=profile.digest,
        code_version=desk.code_version,
        inputs=asked.inputs,
        start_from=asked.start,
        facts=asked.facts,
    )
    return Run(
        run_id=run_id,
        name=asked.run if asked.run is not None and not is_id(asked.run) else None,
        kind=kind,
        book_id=f"{BOOK_PREFIX}{run_id}",
        scope=scope,
        pins=pins,
        status=RunStatus.PAUSED,
        created_by=created_by,
        created_at=now,
    )


def named_by_range(run: Run) -> Run:
    """A run of several dates without a name has an id of its own: the same range again is the same run."""
    scope, pins = run.scope, run.pins
    last = scope.date_to.isoformat()
    run_id = derived(
        "replay_run", scope.date_from.isoformat(), scope.ticker, scope.script_version, pins.profile, scope.session.value, last
    )
    return replace(run, run_id=run_id, book_id=f"{BOOK_PREFIX}{run_id}")


def found_or_made(desk: Desk, asked: Asked, *, kind: RunKind, created_by: str, now: datetime) -> Run:
    """The run a call means; made, with its book, where there is none.

    Raises ``Rejected('run_unknown')`` 404 for an id nobody has, ``Conflict('gaps')``, and what ``make`` raises.
    """

    def work(tx: Tx) -> Run:
        held = store.find(tx, run_id_of(asked), None)
        if held is not None:
            _check_complete(held.run, asked)
            return held.run
        if asked.run is not None and is_id(asked.run):
            raise Rejected("run_unknown", status=404, field="run")
        run = make(asked, desk, kind=kind, created_by=created_by, now=now)
        return create(tx, desk, run, now, status=RunStatus.PAUSED, require_complete=asked.require_complete)

    return ledger.run(desk.db, work)


def _check_complete(run: Run, asked: Asked) -> None:
    if asked.require_complete and (run.gaps or {}).get("grade") != Grade.COMPLETE:
        raise Conflict("gaps", f"the receipts of run {run.run_id} were not complete when it was made")


def create(tx: Tx, desk: Desk, run: Run, now: datetime, *, status: RunStatus, require_complete: bool) -> Run:
    """Store a new run with its gap report and open its book; old runs make room."""
    reports = gapstore.gap_reports(tx, run.scope, now)
    if require_complete and gaps.worst(reports) is not Grade.COMPLETE:
        raise Conflict("gaps", "the receipts of this scope are not complete")
    run = replace(run, gaps=gaps.document(reports), status=status)
    for run_id in expired(tx, desk, now):
        old = store.lock(tx, run_id)
        if old is not None and not old.run.pinned:  # nobody works on it, and nobody pinned it meanwhile
            remove(tx, run_id)
    if store.insert(tx, run, status=status):
        open_run(tx, run, profile_of(run), now)
    return run


def expired(tx: Tx, desk: Desk, now: datetime) -> list[str]:
    """Runs that make room for a new one: too many, or too old; a few a call."""
    before = now - timedelta(days=desk.run_days_kept)
    return store.expired(tx, kept_max=desk.runs_kept - 1, before=before, rows_max=PURGED_A_CALL_MAX)


def profile_of(run: Run) -> Profile:
    """The profile as it was pinned; the live setting is never read again."""
    return _pinned(canonical(run.pins.config))


@lru_cache(PROFILES_KEPT)
def _pinned(text: str) -> Profile:
    return parse_profile(text)


def check_same(run: Run, asked: Asked, desk: Desk) -> Run:
    """The run, with other code noted where that was accepted; ``Conflict('run_differs')`` where it has not what was sent."""
    scope, pins = run.scope, run.pins
    has: dict[str, Any] = {
        "scriptVersion": (asked.script_version, scope.script_version),
        "profile": (asked.profile, pins.profile),
        "session": (asked.session, scope.session),
        "inputs": (asked.inputs, pins.inputs),
        "start": (asked.start, pins.start_from),
        "facts": (asked.facts, pins.facts),
    }
    differing = [name for name, (sent, held) in has.items() if name in asked.given and sent != held]
    if not scope.date_from <= asked.date <= scope.date_to:
        differing.append("date")
    if differing:
        raise Conflict("run_differs", f"run {run.run_id} has another {', '.join(differing)}")
    if desk.code_version in (pins.code_version, *run.accepted_code):
        return run
    if not asked.accept_code:
        raise Conflict("run_differs", f"run {run.run_id} was made by other code")
    return replace(run, accepted_code=(*run.accepted_code, desk.code_version))


def cancel(desk: Desk, run_id: str, now: datetime) -> None:
    """Stop a run after its current page; ``Rejected('run_unknown')`` 404, ``Conflict('run_ended')``."""

    def work(tx: Tx) -> None:
        _known(tx, run_id)
        if not store.change(tx, "run_cancelled", run_id, now=now):
            raise Conflict("run_ended", f"run {run_id} is not under way")

    desk.db.run(work)


def pin(desk: Desk, run_id: str, *, pinned: bool) -> None:
    """Keep a run whatever its age and number, or no longer; it may be worked on meanwhile, and be pinned already.

    Raises ``Rejected('run_unknown')`` 404, ``Conflict('run_of_live')`` for a catch-up, whose record is never removed.
    """

    def work(tx: Tx) -> None:
        if _known(tx, run_id).run.book_id == LIVE_BOOK:
            raise Conflict("run_of_live", f"run {run_id} wrote live and is kept anyway")
        store.change(tx, "run_pinned", run_id, pinned=pinned)

    desk.db.run(work)


def delete(desk: Desk, run_id: str) -> None:
    """Remove a run and its book; ``Rejected('run_unknown')`` 404, ``Conflict``: ``run_pinned``, ``run_busy``."""

    def work(tx: Tx) -> None:
        known, held = _known(tx, run_id), store.lock(tx, run_id)
        if (held or known).run.pinned:
            raise Conflict("run_pinned", f"run {run_id} is pinned")
        if held is None:
            raise Conflict("run_busy", f"run {run_id} is worked on")
        remove(tx, run_id)

    ledger.run(desk.db, work)


def remove(tx: Tx, run_id: str) -> None:
    """Everything of a run: decisions, book, checkpoints, record."""
    book_id = f"{BOOK_PREFIX}{run_id}"
    tx.send(Call("signal.forget_book", {"book_id": book_id}))
    ledger.drop_replay_book(tx, book_id)
    store.change(tx, "run_deleted", run_id)


def _known(tx: Tx, run_id: str) -> Held:
    held = store.find(tx, run_id, None)
    if held is None:
        raise Rejected("run_unknown", status=404)
    return held
