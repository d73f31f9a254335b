"""An account's rows: claimed under a lease, read and written under its token. Nothing is decided here.

A claim covers a block of accounts in one message. An account that changed costs two: ``load_account`` takes the fence and reads,
``apply_account`` writes and commits. Accounts that did not change are written together by ``flush_unchanged``. Leases are real
time, everything else is desk time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from fillbook.mt5 import columns
from fillbook.mt5.model import DealVersion, Instance, ServerRule, Trade
from fillbook.mt5.records import (
    AccountWork,
    Applied,
    ByHand,
    Claimed,
    Claims,
    Loaded,
    Outcome,
    Skipped,
    StaleLease,
    Unchanged,
    Unclaimed,
    Wanted,
)
from fillbook.mt5.words import ContractKind, EpochClock
from fillbook.runtime.db import Call, ConstraintViolated, Database, Tx
from fillbook.runtime.sql import load_queries

QUERIES = load_queries("fillbook.mt5")
BLOCK_MAX: Final = 500
PAGE_ROWS: Final = 5_000
LEASE_LOST: Final = "lease_token"


# --- claims -----------------------------------------------------------------------------------------------------------


def claim(db: Database, run_id: str, account_ids: Sequence[str], *, lease_seconds: int) -> Claims:
    """Claim named accounts for a run; whoever is done in it, leased or inactive is told so. Nobody waits for a lock."""
    document = {"run_id": run_id, "account_ids": _distinct(account_ids), "lease_seconds": lease_seconds}
    return _claims(_once(db, Call("mt5.claim", document)))


def claim_patiently(db: Database, run_id: str, account_ids: Sequence[str], *, lease_seconds: int) -> Claims:
    """Claim accounts that somebody was writing just now, once that is over: a lease that is being made shows no run yet."""
    ids = _distinct(account_ids)
    call = Call("mt5.claim", {"run_id": run_id, "account_ids": ids, "lease_seconds": lease_seconds})

    def work(tx: Tx) -> Any:
        tx.query(QUERIES["wait_for_accounts"], account_ids=ids)
        (answer,) = tx.finish(call)
        return answer

    return _claims(db.run(work))


def claim_due(
    db: Database,
    run_id: str,
    *,
    due_before: datetime,
    shards: tuple[int, int],
    rows_max: int,
    lease_seconds: int,
    tenant_id: str | None = None,
) -> Claims:
    """Claim the accounts of a range of shards (both ends count, 0 to 1023) that are due longest; nothing: none is left."""
    document = {
        "run_id": run_id,
        "due_before": due_before,
        "shard_from": shards[0],
        "shard_to": shards[1],
        "tenant_id": tenant_id,
        "rows_max": rows_max,
        "lease_seconds": lease_seconds,
    }
    return _claims(_once(db, Call("mt5.claim_due", document)))


def claim_by_hand(
    tx: Tx,
    account_id: str,
    *,
    run_id: str,
    tenant_id: str | None,
    now: datetime,
    lease_seconds: int,
    cooldown_seconds: int,
    force: bool = False,
) -> ByHand:
    """Claim one account for a call by hand, in the transaction that opens its run. ``force`` also claims ``needs_reauth``."""
    document = {
        "account_id": account_id,
        "tenant_id": tenant_id,
        "run_id": run_id,
        "now": now,
        "lease_seconds": lease_seconds,
        "cooldown_seconds": cooldown_seconds,
        "force": force,
    }
    (answer,) = tx.call(Call("mt5.claim_by_hand", document))
    claimed = answer["claimed"]
    return ByHand(
        outcome=answer["outcome"],
        claimed=None if claimed is None else columns.claimed_of(claimed),
        lease_run_id=answer["lease_run_id"],
        retry_after_seconds=answer["retry_after_seconds"],
    )


def hand_back(db: Database, claims: Sequence[Claimed]) -> int:
    """Give up claims that were not used; the accounts are as due as before. How many were still held."""
    rows = [{"account_id": one.account_id, "lease_token": one.lease_token} for one in claims]
    return int(_once(db, Call("mt5.hand_back", {"claims": rows}))["returned"]) if rows else 0


def _claims(answer: dict[str, Any]) -> Claims:
    return Claims(
        claimed=tuple(columns.claimed_of(row) for row in answer["claimed"]),
        unclaimed=tuple(Unclaimed(**row) for row in answer["missed"]),
    )


# --- one account ------------------------------------------------------------------------------------------------------


def load_account(tx: Tx, account_id: str, lease_token: int, wanted: Wanted) -> Loaded:
    """Take the account's fence until the end of the transaction and read what an answer touches; raises ``StaleLease``."""
    (answer,) = tx.call(Call("mt5.load_account", asked_document(account_id, lease_token, wanted)))
    if answer is None:
        raise StaleLease(account_id)
    held = columns.claimed_of(answer)
    return Loaded(
        account=held.account,
        state=held.state,
        rule=held.rule,
        is_rule_measured=held.is_rule_measured,
        symbols={row["symbol"]: columns.symbol_of(row) for row in answer["symbols"]},
        same=frozenset(answer["same"]),
        deals=tuple(columns.version_of(row) for row in answer["deals"]),
        trades=tuple(columns.trade_of(row) for row in answer["trades"]),
        missing=tuple(answer["missing"]),
        missed=tuple(columns.missed_of(row) for row in answer["missed"]),
        clocks=dict(answer["clocks"]),
        gaps=tuple(columns.gap_of(row) for row in answer["gaps"]),
        last_check=columns.check_of(answer["last_check"]),
        cash=columns.cash_of(answer["cash"]),
    )


def asked_document(account_id: str, lease_token: int, wanted: Wanted) -> dict[str, Any]:
    """The document of a read."""
    cash = wanted.cash
    return {
        "account_id": account_id,
        "lease_token": lease_token,
        "tickets": _distinct(wanted.tickets),
        "told_tickets": list(wanted.told),
        "told_positions": [position_id for position_id, _ in wanted.told.values()],
        "told_hashes": [told.hex() for _, told in wanted.told.values()],
        "position_ids": [one for one in _distinct(wanted.position_ids) if one],
        "symbols": _distinct(wanted.symbols),
        "windows": [{"from_msc": one.from_msc, "to_msc": one.to_msc} for one in wanted.windows],
        "spans": [{"from_msc": one.from_msc, "to_msc": one.to_msc} for one in wanted.spans],
        "cash": None if cash is None else {"floor_msc": cash.floor_msc, "at_msc": cash.at_msc, "near_ms": cash.near_ms},
    }


def apply_account(tx: Tx, work: AccountWork, now: datetime) -> Applied:
    """Write what follows from an answer and **commit**, together with what was sent before; raises ``StaleLease``.

    Rows are deduplicated by their key, the last one counts. Applying the same work twice changes no row but what is counted.
    """
    return _apply(tx, work, now, is_last=True)


def write_account(tx: Tx, work: AccountWork, now: datetime) -> Applied:
    """As ``apply_account``, without the commit: other rooms may still have their say in this transaction."""
    return _apply(tx, work, now, is_last=False)


def _apply(tx: Tx, work: AccountWork, now: datetime, *, is_last: bool) -> Applied:
    call = Call("mt5.apply_account", apply_document(work, now))
    try:
        (answer,) = tx.finish(call) if is_last else tx.call(call)
    except ConstraintViolated as error:
        if error.constraint == LEASE_LOST:
            raise StaleLease(work.account_id) from error
        raise
    return Applied(**answer)


def apply_document(work: AccountWork, now: datetime) -> dict[str, Any]:
    """The document of one account."""
    deals = {(one.deal.deal_ticket, one.revision): one for one in work.deals}
    trades = {(one.position_id, one.episode): one for one in work.trades}
    cash = {one.deal_ticket: one for one in work.cash_operations}
    return {
        "account_id": work.account_id,
        "lease_token": work.lease_token,
        "run_id": work.run_id,
        "now": now,
        "deals": [columns.deal_row(deals[key]) for key in sorted(deals)],
        "trades": [columns.trade_row(trades[key]) for key in sorted(trades)],
        "trades_removed": [{"position_id": position, "episode": episode} for position, episode in work.trades_removed],
        "cash_operations": [columns.cash_row(cash[key]) for key in sorted(cash)],
        "cash_removed": _distinct(work.cash_removed),
        "cash_check": None if work.cash_check is None else columns.check_row(work.cash_check),
        "missed": None
        if work.missed is None
        else [columns.missed_row(one) for one in {one.deal_ticket: one for one in work.missed}.values()],
        "gaps_opened": [
            columns.gap_row(one) for one in {(one.from_msc, one.opened_at): one for one in work.gaps_opened}.values()
        ],
        "gaps_closed": [columns.gap_key(one) for one in work.gaps_closed],
        "symbols": [columns.symbol_row(one) for one in {one.symbol: one for one in work.symbols}.values()],
        "account": columns.account_row(work.account),
        "state": columns.state_row(work.state),
        "outcome": None if work.outcome is None else columns.outcome_row(work.account_id, work.outcome),
    }


def check_sums(db: Database, account_id: str, lease_token: int) -> bool | None:
    """Whether the kept sums of an account's deals are what its deals add up to; None: none are kept. Wrong ones are forgotten."""
    call = Call("mt5.check_sums", {"account_id": account_id, "lease_token": lease_token})
    found: bool | None = _once(db, call)
    return found


# --- many accounts ----------------------------------------------------------------------------------------------------


def flush_unchanged(db: Database, run_id: str, rows: Sequence[Unchanged], now: datetime) -> frozenset[str]:
    """Note accounts whose answer is what is stored; the ids of those whose lease still held, the others were not touched."""
    written = [
        columns.outcome_row(one.account_id, one.outcome)
        | {
            "lease_token": one.lease_token,
            "next_due_at": columns.due_text(one.next_due_at),
            "history_until_msc": one.history_until_msc,
        }
        for one in {one.account_id: one for one in rows}.values()
    ]
    return _noted(db, "mt5.flush_unchanged", run_id, written, now)


def skip_accounts(db: Database, run_id: str, rows: Sequence[Skipped], now: datetime) -> frozenset[str]:
    """Note accounts that were not tried, once per run; the ids of those noted now. Leases of others stay as they are."""
    written = [
        columns.outcome_row(one.account_id, one.outcome)
        | {
            "lease_token": one.lease_token,
            "next_due_at": None if one.next_due_at is None else columns.due_text(one.next_due_at),
        }
        for one in {one.account_id: one for one in rows}.values()
    ]
    return _noted(db, "mt5.skip_accounts", run_id, written, now)


def note_crash(tx: Tx, claimed: Claimed, run_id: str, outcome: Outcome, *, next_due_at: datetime, now: datetime) -> int | None:
    """Note that our own code broke on an account; its failures in a row by now. None: another worker holds it."""
    document = {
        "account_id": claimed.account_id,
        "lease_token": claimed.lease_token,
        "run_id": run_id,
        "now": now,
        "next_due_at": columns.due_text(next_due_at),
        "outcome": columns.outcome_row(claimed.account_id, outcome),
    }
    (answer,) = tx.call(Call("mt5.note_crash", document))
    return None if answer is None else int(answer["failures"])


def _noted(db: Database, function: str, run_id: str, rows: list[dict[str, Any]], now: datetime) -> frozenset[str]:
    if not rows:
        return frozenset()
    if len(rows) > BLOCK_MAX:
        raise ValueError(f"at most {BLOCK_MAX} accounts at once")
    rows.sort(key=lambda row: str(row["account_id"]))
    return frozenset(_once(db, Call(function, {"run_id": run_id, "now": now, "rows": rows})))


# --- instances, rules, and the whole of an account ---------------------------------------------------------------------


def configure_instances(tx: Tx, instances: Sequence[Instance]) -> None:
    """Write configured service instances down, so that accounts may name them."""
    for one in instances:
        tx.execute(
            QUERIES["instance_written"],
            instance_key=one.instance_key,
            base_url=one.base_url,
            contract=one.contract,
            epoch_clock=one.epoch_clock,
            sessions_max=one.sessions_max,
            rate_per_minute=one.rate_per_minute,
        )


def instances(tx: Tx) -> dict[str, Instance]:
    """Active service instances by key."""
    found = [
        Instance(**(row | {"contract": ContractKind(row["contract"]), "epoch_clock": EpochClock(row["epoch_clock"])}))
        for row in tx.query(QUERIES["instances"])
    ]
    return {one.instance_key: one for one in found}


def write_rule(tx: Tx, rule: ServerRule, was: ServerRule) -> bool:
    """Write what was measured of a server's clock; False when an operator or another run changed the rule since it was read."""
    count = tx.execute(
        QUERIES["rule_written"],
        server=rule.server,
        zone_name=rule.zone_name,
        shift_minutes=rule.shift_minutes,
        zone_state=rule.zone_state,
        zone_mismatch_polls=rule.zone_mismatch_polls,
        was_zone_name=was.zone_name,
        was_shift_minutes=was.shift_minutes,
        was_zone_state=was.zone_state,
    )
    return count == 1


def account(tx: Tx, account_id: str, tenant_id: str | None = None) -> Claimed | None:
    """An account as it stands, without a claim; None: there is none, or it is another tenant's."""
    rows = tx.query(QUERIES["one_account"], account_id=UUID(account_id), tenant_id=tenant_id)
    return columns.claimed_of(rows[0]["found"]) if rows else None


def accounts_of_server(tx: Tx, server: str, after: str | None = None, rows_max: int = PAGE_ROWS) -> tuple[str, ...]:
    """A page of the accounts of a server, by id."""
    rows = tx.query(QUERIES["accounts_of_server"], server=server, after=UUID(after) if after else UUID(int=0), rows_max=rows_max)
    return tuple(str(row["account_id"]) for row in rows)


def every_deal(tx: Tx, account_id: str, rows_max: int = PAGE_ROWS) -> Iterator[DealVersion]:
    """All revisions of all deals of an account, by ticket, read in pages of this transaction."""
    key = (-1, 0)
    while True:
        rows = tx.query(
            QUERIES["deals_page"], account_id=UUID(account_id), after_ticket=key[0], after_revision=key[1], rows_max=rows_max
        )
        versions = [columns.version_of(row["deal"]) for row in rows]
        yield from versions
        if len(versions) < rows_max:
            return
        key = (versions[-1].deal.deal_ticket, versions[-1].revision)


def every_trade(tx: Tx, account_id: str, rows_max: int = PAGE_ROWS) -> Iterator[Trade]:
    """All trades of an account, by position and episode, read in pages of this transaction."""
    key = (-1, 0)
    while True:
        rows = tx.query(
            QUERIES["trades_page"], account_id=UUID(account_id), after_position=key[0], after_episode=key[1], rows_max=rows_max
        )
        trades = [columns.trade_of(row["trade"]) for row in rows]
        yield from trades
        if len(trades) < rows_max:
            return
        key = (trades[-1].position_id, trades[-1].episode)


def _once(db: Database, call: Call) -> Any:
    """One call in a transaction of its own, in one round trip; again when it lost a race."""
    (answer,) = db.run(lambda tx: tx.finish(call))
    return answer


def _distinct(values: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
