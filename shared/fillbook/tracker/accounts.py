"""Every broker account of a reader in one list: IBKR's first, by number, then linked MT5 accounts, by id.

What a broker does not tell is null: IBKR's runs bring executions and positions, no balances, and its schedule is no due time
of an account. Its state follows its sources (``syncing.py``) in the words of all accounts. Source: tracker.md 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.tracker import filters, linked, paging, store
from fillbook.tracker.brokers import accounts_of
from fillbook.tracker.brokers_model import Accounts, OneAccount
from fillbook.tracker.model import single
from fillbook.tracker.route import Given, Route, Source
from fillbook.tracker.syncing import LOOK_BACK, source_state
from fillbook.tracker.wire import answer, instants

Document = dict[str, Any]
Dated = tuple[Document, datetime | None]
CODE_LETTERS_SHOWN = 3
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""The first half of a cursor's place; accounts are in the order of their ids alone."""


def accounts(db: Database, key: DeskKey, given: Given, now: datetime) -> Accounts:
    """A page of accounts; ``next_cursor`` is the cursor of the one after it, null on the last."""
    query = filters.accounts(given)
    with store.look(db, key, None) as seen:
        numbers = list(accounts_of(seen, None)) if query.platform in (None, "ibkr") else []
        mine = linked.own(seen, key, now) if query.platform in (None, "mt5") else []
        # a number as a UUID stands before every derived id, whose version is in its upper half
        places = [UUID(int=number) for number in sorted(numbers)] + mine
        rest = [place for place in places if query.after is None or place > query.after.id]
        page, has_more = rest[: query.limit], len(rest) > query.limit
        known = set(mine)
        found = _numbered(seen, [place.int for place in page if place not in known], now)
        found += linked.accounts(seen, key, [place for place in page if place in known], now)
    last = paging.Place(at=_NO_TIME, id=page[-1]) if has_more else None
    told = answer(
        now,
        max((at for _, at in found if at is not None), default=None),
        seen.books,
        count=len(found),
        has_more=has_more,
        items=[document for document, _ in found],
        next_cursor=None if last is None else paging.written(last, query.question),
    )
    return cast("Accounts", told)


def account(db: Database, key: DeskKey, given: Given, now: datetime, *, account: str) -> OneAccount:
    """One account; 404 ``account_unknown``."""
    single(given, frozenset())
    identity = filters.path_account(account)
    with store.look(db, key, None) as seen:
        if isinstance(identity, UUID):
            found = linked.accounts(seen, key, linked.own(seen, key, now, identity), now)
        else:
            found = _numbered(seen, list(accounts_of(seen, identity)), now)
    if not found:
        raise Rejected("account_unknown", "no such account for this key", status=404)
    ((document, at),) = found
    return cast("OneAccount", answer(now, at, seen.books, account=document))


def _numbered(seen: store.Seen, numbers: Sequence[int], now: datetime) -> list[Dated]:
    """Accounts of IBKR by number, each with when its last run ended."""
    if not numbers:
        return []
    since = now - LOOK_BACK
    last_runs = seen.tx.query(store.QUERIES["last_runs"], accounts=numbers, since=since)
    failures = seen.tx.query(store.QUERIES["failures_in_a_row"], accounts=numbers, since=since)
    counts = {row["account_id"]: row["failures"] for row in failures}
    rows = accounts_of(seen, None)
    return [
        _told(rows[one], [run for run in last_runs if run["account_id"] == one], counts.get(one, 0), now)
        for one in sorted(numbers)
    ]


def _told(row: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], failures: int, now: datetime) -> Dated:
    by_age = sorted(runs, key=lambda run: run["started_at"], reverse=True)
    error = next((run["error_class"] for run in by_age if run["state"] != "complete"), None)
    success = max((run["last_complete_at"] for run in runs if run["last_complete_at"] is not None), default=None)
    ended = max((run["finished_at"] for run in runs if run["finished_at"] is not None), default=None)
    document = {
        "account_id": str(row["account_id"]),
        "platform": "IBKR",
        "label": f"IBKR •••{row['code'][-CODE_LETTERS_SHOWN:]}",
        "broker_name": "Interactive Brokers",
        "server": None,
        "login_masked": f"•••{row['code'][-CODE_LETTERS_SHOWN:]}",
        "book_id": row["book_id"],
        "is_active": row["is_enabled"],
        "state": _state(row, runs, now),
        "connection_status": None,
        "balances": None,
        "open_positions": None,
        "close_pending": None,
        "closed_today": None,
        **instants("positions", None),
        **instants("last_sync", ended),
        **instants("last_deal", None),
        **instants("last_success", success),
        "lag_seconds": None if success is None else round((now - success).total_seconds()),
        "failures_in_a_row": failures,
        "last_error": None if error is None else {"class": error, "text": None},
        **instants("next_due", None),
        "cash_state": None,
        "backfill_state": None,
        "backfill_floor": None,
        "backfill_percent": None,
    }
    return document, ended


def _state(row: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], now: datetime) -> str:
    if not row["is_enabled"]:
        return "paused"
    words = {source_state(run, now) for run in runs}
    if "failing" in words:
        return "failing"
    return "ok" if words == {"ok"} else "late"


SOURCES = frozenset({Source.IBKR, Source.MT5, Source.MINUTE})
ROUTES: tuple[Route, ...] = (
    Route(
        path="/api/v1/accounts",
        purpose="Every broker account of the tenant, with how it is followed.",
        use_case=accounts,
        answer=Accounts,
        parameters=filters.ACCOUNT_PARAMETERS,
        sources=SOURCES,
    ),
    Route(
        path="/api/v1/accounts/{account}",
        purpose="One broker account.",
        use_case=account,
        answer=OneAccount,
        parameters=(filters.ACCOUNT_IN_PATH,),
        sources=SOURCES,
    ),
)
