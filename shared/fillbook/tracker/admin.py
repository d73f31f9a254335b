"""The four admin actions: understood here, done by the function that owns what they change, and logged with the key's id.

Nothing is written here. What is asked about must exist for the key: an account of its books, as everywhere. Source: tracker.md 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, cast

from fillbook.runtime import clock, logs
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.tracker import comparisons, filters, linked, store
from fillbook.tracker.admin_model import (
    CompareOrder,
    ProofOrder,
    ProofStarted,
    ReplayOrder,
    ReplayRuns,
    SyncOrder,
    SyncStarted,
)
from fillbook.tracker.brokers import accounts_of
from fillbook.tracker.model import instant, single
from fillbook.tracker.parameter import Parameter
from fillbook.tracker.replays_model import ComparisonAnswer
from fillbook.tracker.route import Given, Route, Sent, Weight
from fillbook.tracker.wire import answer
from fillbook.values import frozen

REPLAY, MT5, IBKR, NOTIFIER = "replay_worker", "account_sync", "execution_sync", "discord_notifier"
TENANT_HEADER, KEY_HEADER = "X-Fillbook-Tenant", "Idempotency-Key"
PROOF_MAX: Final = timedelta(days=31)
RUN_LENGTH_MAX: Final = 64
REPLAY_FIELDS: Final = frozenset(ReplayOrder.__annotations__)
IDEMPOTENCY_KEY = Parameter(
    name=KEY_HEADER,
    schema={"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    purpose="Passed on to the function that does it.",
)
IBKR_JOBS: Final[tuple[tuple[str, Mapping[str, str], str], ...]] = (
    ("trades.sync", {}, "host"),
    ("flex.request", {"kind": "statement"}, "kind"),
)
"""What reads IBKR's accounts, the socket and a statement, each with the field by which its owner says that it has none."""
NOT_CONFIGURED: Final = "invalid_payload"
_KEY = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = logs.get("trade_tracker")


@frozen
class Told:
    """What an owner answered when it took what it was asked for."""

    status: int
    document: Mapping[str, Any]


class OwnerFailed(Rejected):
    """An owner was silent, slow, unwell, or did not know us: 502, naming it. Whether it did what it was asked is not known."""

    def __init__(self, owner: str, detail: str) -> None:
        super().__init__("owner_failed", f"{owner}: {detail}", field=owner, status=502)
        self.owner = owner


class Owners(Protocol):
    """The functions that do it (``owners.py``)."""

    def ask(self, owner: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Told:
        """Ask once; raises ``OwnerFailed``, or ``Rejected`` with what the owner says is wrong with the asking."""
        ...


@frozen
class Admin:
    """What these use cases need of their process."""

    db: Database
    owners: Owners


@frozen
class _Call:
    """One call out: who asks, under which id in the log."""

    here: Admin
    key: DeskKey
    sent: Sent

    def to(self, owner: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """The owner's document; however it ends, it is logged."""
        passed = self.sent.headers.get(KEY_HEADER)
        if passed is not None and _KEY.fullmatch(passed) is None:
            raise Rejected("parameter_invalid", f"header {KEY_HEADER}", field=KEY_HEADER)
        known = {**(headers or {}), **({} if passed is None else {KEY_HEADER: passed})}
        begun, ended = clock.monotonic(), "done"
        try:
            return self.here.owners.ask(owner, path, body, known).document
        except Rejected as refusal:
            ended = refusal.reason
            raise
        finally:
            _log.info(
                "owner_asked",
                owner=owner,
                path=path,
                key_id=self.key.id,
                ended=ended,
                elapsed_ms=round((clock.monotonic() - begun) * 1000),
                request_id=self.sent.request_id,
            )


def start_replays(here: Admin, key: DeskKey, given: Given, now: datetime, *, sent: Sent) -> ReplayRuns:
    """Have days run again; answers as soon as the runs are made."""
    single(given, frozenset())
    _known(sent.body, REPLAY_FIELDS)
    document = _Call(here=here, key=key, sent=sent).to(REPLAY, "/timed/admin/replay-runs", sent.body)
    runs = [str(run) for run in document.get("runs", ())]
    if not runs:
        raise OwnerFailed(REPLAY, "an answer without runs")
    return cast("ReplayRuns", answer(now, None, {}, run_id=runs[0], runs=runs))


def compare_replays(here: Admin, key: DeskKey, given: Given, now: datetime, *, sent: Sent) -> ComparisonAnswer:
    """Have two runs compared, and answer what was stored of it."""
    single(given, frozenset())
    _known(sent.body, frozenset(CompareOrder.__annotations__))
    left, right = (_text(sent.body, name, RUN_LENGTH_MAX) for name in ("left", "right"))
    day = None if sent.body.get("date") is None else filters.day(_text(sent.body, "date", 10), "date")
    wanted = {"a": left, "b": right} | ({} if day is None else {"date": day.isoformat()})
    document = _Call(here=here, key=key, sent=sent).to(REPLAY, "/timed/admin/replay-compare", wanted)
    comparison_id = document.get("comparisonId")
    if not isinstance(comparison_id, str):
        raise OwnerFailed(REPLAY, "an answer without a comparison")
    asked = {"left": [left], "right": [right]} | ({} if day is None else {"date": [day.isoformat()]})
    return comparisons.comparison(here.db, key, asked, now)


def start_sync(here: Admin, key: DeskKey, given: Given, now: datetime, *, sent: Sent) -> SyncStarted:
    """Have a broker account read now: an IBKR account from each source that its function has."""
    single(given, frozenset())
    _known(sent.body, frozenset(SyncOrder.__annotations__))
    text = _text(sent.body, "account_id", 36)
    account = filters.any_account(text)
    with store.look(here.db, key, None) as seen:
        if isinstance(account, int):
            accounts_of(seen, account)
        else:
            linked.own(seen, key, now, account)
    call = _Call(here=here, key=key, sent=sent)
    if isinstance(account, int):
        jobs = _jobs(call)
        found = {"platform": "ibkr", "run_id": None, "job_id": jobs[0]["job_id"], "is_new": jobs[0]["is_new"], "jobs": jobs}
    else:
        wanted = {"account_id": str(account), "wait": False}
        document = call.to(MT5, "/mt5/sync", wanted, {TENANT_HEADER: key.tenant_id})
        found = {"platform": "mt5", "run_id": document.get("executionId"), "job_id": None, "is_new": None, "jobs": []}
    return cast("SyncStarted", answer(now, None, {}, account_id=text, **found))


def _jobs(call: _Call) -> list[dict[str, Any]]:
    """A job for each source that is configured; raises ``Rejected('no_source', 409)`` where none is."""
    found = []
    for job_type, payload, named in IBKR_JOBS:
        try:
            document = call.to(IBKR, "/api/v1/jobs", {"job_type": job_type, "payload": payload})
        except Rejected as refusal:
            if refusal.reason != NOT_CONFIGURED or refusal.field != named:
                raise
        else:
            found.append({"job_type": job_type, "job_id": document.get("job_id"), "is_new": document.get("is_new")})
    if not found:
        raise Rejected("no_source", "neither a gateway nor statements are configured", field="account_id", status=409)
    return found


def start_proof(here: Admin, key: DeskKey, given: Given, now: datetime, *, sent: Sent) -> ProofStarted:
    """Have what stands on Discord compared with the ledger."""
    single(given, frozenset())
    _known(sent.body, frozenset(ProofOrder.__annotations__))
    since, until = (_instant(sent.body, name) for name in ("since", "until"))
    repair = sent.body.get("repair", True)
    if not isinstance(repair, bool):
        raise _refused("repair")
    if not timedelta(0) < until - since <= PROOF_MAX:
        raise _refused("until")
    wanted = {"since": since.isoformat(), "until": until.isoformat(), "repair": repair}
    document = _Call(here=here, key=key, sent=sent).to(NOTIFIER, "/reconcile", wanted)
    return cast("ProofStarted", answer(now, None, {}, run_id=str(document.get("run_id"))))


def _known(body: Mapping[str, Any], names: frozenset[str]) -> None:
    if not body:
        raise _refused("body")
    if not body.keys() <= names:
        raise _refused("unknown")


def _text(body: Mapping[str, Any], name: str, longest: int) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise _refused(name)
    return value


def _instant(body: Mapping[str, Any], name: str) -> datetime:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _refused(name)
    return instant(str(value), name)


def _refused(name: str) -> Rejected:
    return Rejected("body_invalid", f"field {name}", field=name)


def _route(path: str, purpose: str, use_case: Any, body: Any, told: type, *, status: int = 202) -> Route:
    return Route(
        path=path,
        purpose=purpose,
        use_case=use_case,
        answer=told,
        scope="admin",
        weight=Weight.ADMIN,
        method="POST",
        status=status,
        body=body,
        headers=(IDEMPOTENCY_KEY,),
        refusals=frozenset({408, 409, 413, 422, 429, 502}),
        asks="admin",
    )


ROUTES: tuple[Route, ...] = (
    _route("/timed/admin/replay-runs", "Have days run again beside the live book.", start_replays, ReplayOrder, ReplayRuns),
    _route(
        "/timed/admin/replay-compare",
        "Have two runs compared, or a run with live.",
        compare_replays,
        CompareOrder,
        ComparisonAnswer,
        status=200,
    ),
    _route("/timed/admin/sync", "Have a broker account read now.", start_sync, SyncOrder, SyncStarted),
    _route(
        "/timed/admin/reconciliation",
        "Have what stands on Discord compared with the ledger.",
        start_proof,
        ProofOrder,
        ProofStarted,
    ),
)
