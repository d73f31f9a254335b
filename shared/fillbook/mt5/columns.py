"""Rows of this room's tables as documents, and values read back from them; every row names its columns once.

A contract test compares the names with the record sets of the database functions, because a misspelt key would silently
become NULL. Numbers travel as text and come back as Decimal; ids are JSON integers. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from fillbook.mt5.known import Told
from fillbook.mt5.model import (
    Account,
    AccountState,
    CashOperation,
    Deal,
    DealVersion,
    Info,
    ServerRule,
    SymbolFacts,
    Trade,
)
from fillbook.mt5.records import (
    LONG_AGO,
    NEVER,
    AccountUpdate,
    CashCheckRow,
    CashFound,
    Claimed,
    CountedDeal,
    Gap,
    Outcome,
)
from fillbook.mt5.revisions import Missed, content_hash
from fillbook.mt5.runrecords import Run, Shard, Totals
from fillbook.mt5.words import (
    BackfillState,
    CashBucket,
    CashResult,
    CashState,
    Code,
    ConnectionStatus,
    GapCause,
    IdentityQuality,
    LedgerState,
    RunMode,
    RunStatus,
    ShardState,
    SyncType,
    TradeSide,
    TradeStatus,
    ZoneState,
)

Row = dict[str, Any]
_INSTANTS_KEPT: Final = 1_024
"""Deals that were read together were read at one instant, and many trades end at one."""

_INFO: Final = tuple(Info.__dataclass_fields__)
_TOTALS: Final = tuple(Totals.__dataclass_fields__)
_STATE: Final = tuple(name for name in AccountState.__dataclass_fields__ if name not in ("lease_token", "last_run_id", "told"))
_TOLD: Final = tuple(Told.__dataclass_fields__)
_DEAL: Final = tuple(name for name in Deal.__dataclass_fields__ if name != "time_msc")
_DEAL_NUMBERS: Final = ("volume", "price", "profit", "commission", "swap", "fee")
_DEAL_SAME: Final = tuple(name for name in _DEAL if name not in _DEAL_NUMBERS)
_TRADE: Final = tuple(name for name in Trade.__dataclass_fields__ if name not in ("account_id", "side"))
_TRADE_NUMBERS: Final = (
    "volume",
    "open_volume",
    "open_price",
    "close_price",
    "stop_loss",
    "take_profit",
    "current_price",
    "profit",
    "swap",
    "commission",
    "fee",
    "realized_profit",
    "realized_swap",
    "net_pnl",
)


# --- values of one column ---------------------------------------------------------------------------------------------


def number(value: Any) -> Decimal:
    """A JSON number, exact."""
    return Decimal(value)


def number_or_none(value: Any) -> Decimal | None:
    """A JSON number, or unknown."""
    return None if value is None else Decimal(value)


@lru_cache(_INSTANTS_KEPT)
def instant(text: str) -> datetime:
    """An instant of a document; the infinite ones become ``LONG_AGO`` and ``NEVER``."""
    if text.endswith("infinity"):
        return LONG_AGO if text.startswith("-") else NEVER
    return datetime.fromisoformat(text).astimezone(UTC)


def instant_or_none(text: str | None) -> datetime | None:
    """An instant, or none."""
    return None if text is None else instant(text)


def due_text(at: datetime) -> datetime | str:
    """An instant as it is written where infinite ones are allowed."""
    return "-infinity" if at == LONG_AGO else "infinity" if at == NEVER else at


# --- documents --------------------------------------------------------------------------------------------------------


def deal_row(version: DealVersion) -> Row:
    """A revision of a deal."""
    deal = version.deal
    row = {name: getattr(deal, name) for name in _DEAL}
    return row | {
        "time_server_msc": deal.time_msc,
        "extra": dict(deal.extra),
        "revision": version.revision,
        "withdrawn": version.withdrawn,
        "content_hash": content_hash(deal),
        "recorded_at": version.recorded_at,
    }


def trade_row(trade: Trade) -> Row:
    """A row of ``trades``."""
    return {name: getattr(trade, name) for name in _TRADE} | {"type": trade.side}


def cash_row(one: CashOperation) -> Row:
    """A movement of money."""
    return {
        "deal_ticket": one.deal_ticket,
        "kind": one.kind,
        "amount": one.amount,
        "occurred_at": one.occurred_at,
        "comment": one.comment,
    }


def check_row(check: CashCheckRow) -> Row:
    """A cash check."""
    return {
        "checked_at": check.checked_at,
        "balance": check.balance,
        "expected": check.expected,
        "gap": check.gap,
        "result": check.result,
    }


def missed_row(one: Missed) -> Row:
    """A deal that is missing."""
    return {"deal_ticket": one.deal_ticket, "first_missed_at": one.first_missed_at, "reads": one.reads}


def gap_row(gap: Gap) -> Row:
    """A gap that is opened."""
    return {"from_msc": gap.from_msc, "to_msc": gap.to_msc, "opened_at": gap.opened_at, "cause": gap.cause}


def gap_key(gap: Gap) -> Row:
    """A gap that is closed."""
    return {"from_msc": gap.from_msc, "opened_at": gap.opened_at}


def symbol_row(facts: SymbolFacts) -> Row:
    """A symbol of the account's server."""
    return {
        "symbol": facts.symbol,
        "symbol_norm": facts.symbol_norm,
        "contract_size": facts.contract_size,
        "digits": facts.digits,
        "currency_profit": facts.currency_profit,
    }


def account_row(update: AccountUpdate) -> Row:
    """The columns of an account that a run owns."""
    return {
        "info": None if update.info is None else {name: getattr(update.info, name) for name in _INFO},
        "info_at": update.info_at,
        "positions_at": update.positions_at,
        "last_sync_at": update.last_sync_at,
        "last_successful_sync_at": update.last_successful_sync_at,
        "sync_failure_count": update.sync_failure_count,
        "last_error_code": update.last_error_code,
        "last_connection_error": update.last_connection_error,
        "connection_status": update.connection_status,
    }


def state_row(state: AccountState) -> Row:
    """The state of an account, without its lease."""
    row = {name: getattr(state, name) for name in _STATE} | {"next_due_at": due_text(state.next_due_at)}
    return row | {f"told_{name}": None if state.told is None else getattr(state.told, name) for name in _TOLD}


def outcome_row(account_id: str, one: Outcome) -> Row:
    """How an account's run ended; ``trades_synced`` is what the database counts."""
    return {
        "account_id": account_id,
        "id": one.log_id,
        "is_logged": one.is_logged,
        "sync_type": one.sync_type,
        "started_at": one.started_at,
        "completed_at": one.completed_at,
        "status": one.status,
        "trades_synced": 0,
        "error_message": one.error_message,
        "error_code": one.error_code,
        "duration_ms": one.duration_ms,
        "attempts": one.attempts,
        "steps": dict(one.steps),
    }


def totals_row(totals: Totals) -> Row:
    """What a part of a run brought."""
    return {name: getattr(totals, name) for name in _TOTALS}


# --- values read back -------------------------------------------------------------------------------------------------


def claimed_of(row: Mapping[str, Any]) -> Claimed:
    """An account with its state and the rule of its server."""
    return Claimed(
        account=_account(row["account"]),
        state=_state(row["state"]),
        rule=rule_of(row["rule"]),
        is_rule_measured=bool(row["is_rule_measured"]),
    )


def _account(row: Mapping[str, Any]) -> Account:
    target = row["backfill_target"]
    given = dict(row) | {
        "connection_status": ConnectionStatus(row["connection_status"]),
        "backfill_target": None if target is None else date.fromisoformat(target),
        "last_error_code": None if row["last_error_code"] is None else Code(row["last_error_code"]),
        "last_sync_at": instant_or_none(row["last_sync_at"]),
        "last_successful_sync_at": instant_or_none(row["last_successful_sync_at"]),
    }
    return Account(**given)


def _state(row: Mapping[str, Any]) -> AccountState:
    given = dict(row)
    told = {name: given.pop(f"told_{name}") for name in _TOLD}
    given |= {
        "next_due_at": instant(row["next_due_at"]),
        "last_deal_at": instant_or_none(row["last_deal_at"]),
        "backfill_state": BackfillState(row["backfill_state"]),
        "state_digest": _bytes(row["state_digest"]),
        "told": None if told["rows_hash"] is None else _told(told),
        "opening_balance": number_or_none(row["opening_balance"]),
        "cash_state": CashState(row["cash_state"]),
    }
    return AccountState(**given)


def _told(row: Row) -> Told:
    return Told(**(row | {name: _bytes(row[name]) for name in ("rows_hash", "content")}))


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text.removeprefix("\\x"))


def rule_of(row: Mapping[str, Any]) -> ServerRule:
    """The clock rule of a server."""
    states = {"zone_state": ZoneState(row["zone_state"]), "bonus_bucket": CashBucket(row["bonus_bucket"])}
    return ServerRule(**(dict(row) | states))


def version_of(row: Mapping[str, Any]) -> DealVersion:
    """A stored revision of a deal."""
    given: Row = {name: row[name] for name in _DEAL_SAME}
    numbers: Row = {name: Decimal(row[name]) for name in _DEAL_NUMBERS}
    return DealVersion(
        deal=Deal(time_msc=row["time_server_msc"], **given, **numbers),
        revision=row["revision"],
        withdrawn=row["withdrawn"],
        recorded_at=instant(row["recorded_at"]),
    )


def trade_of(row: Mapping[str, Any]) -> Trade:
    """A stored trade."""
    given = {name: row[name] for name in _TRADE} | {name: number_or_none(row[name]) for name in _TRADE_NUMBERS}
    given |= {
        "open_time": instant_or_none(row["open_time"]),
        "close_time": instant_or_none(row["close_time"]),
        "status": TradeStatus(row["status"]),
        "identity_quality": IdentityQuality(row["identity_quality"]),
        "ledger_state": LedgerState(row["ledger_state"]),
    }
    return Trade(account_id=row["account_id"], side=TradeSide(row["type"]), **given)


def symbol_of(row: Mapping[str, Any]) -> SymbolFacts:
    """What is known of a symbol."""
    return SymbolFacts(**(dict(row) | {"contract_size": number_or_none(row["contract_size"])}))


def gap_of(row: Mapping[str, Any]) -> Gap:
    """An open gap."""
    return Gap(from_msc=row["from_msc"], to_msc=row["to_msc"], opened_at=instant(row["opened_at"]), cause=GapCause(row["cause"]))


def missed_of(row: Mapping[str, Any]) -> Missed:
    """A deal that was missing before."""
    return Missed(deal_ticket=row["deal_ticket"], first_missed_at=instant(row["first_missed_at"]), reads=row["reads"])


def check_of(row: Mapping[str, Any] | None) -> CashCheckRow | None:
    """A cash check, where there was one."""
    if row is None:
        return None
    return CashCheckRow(
        checked_at=instant(row["checked_at"]),
        balance=number(row["balance"]),
        expected=number_or_none(row["expected"]),
        gap=number_or_none(row["gap"]),
        result=CashResult(row["result"]),
    )


def cash_of(row: Mapping[str, Any] | None) -> CashFound | None:
    """The sums of a cash check, where they were asked for."""
    if row is None:
        return None
    first = row["first"]
    return CashFound(
        amount=number(row["amount"]),
        bonus=number(row["bonus"]),
        credit=number(row["credit"]),
        near=tuple(_counted(one) for one in row["near"]),
        first=None if first is None else _counted(first),
    )


def _counted(row: Mapping[str, Any]) -> CountedDeal:
    return CountedDeal(**(dict(row) | {"amount": number(row["amount"])}))


def run_of(row: Mapping[str, Any]) -> Run:
    """A run."""
    return Run(
        run_id=str(row["run_id"]),
        sync_type=SyncType(row["sync_type"]),
        scheduled_for=instant_or_none(row["scheduled_for"]),
        requested_by=row["requested_by"],
        mode=RunMode(row["mode"]),
        status=RunStatus(row["status"]),
        error_code=row["error_code"],
        started_at=instant(row["started_at"]),
        finished_at=instant_or_none(row["finished_at"]),
        duration_ms=row["duration_ms"],
        shards_total=row["shards_total"],
        shards_done=row["shards_done"],
        totals=Totals(**{name: row[name] for name in _TOTALS}),
    )


def shard_of(row: Mapping[str, Any]) -> Shard:
    """A shard."""
    return Shard(
        run_id=str(row["run_id"]),
        shard_no=row["shard_no"],
        instance_key=row["instance_key"],
        account_ids=tuple(str(one) for one in row["account_ids"]),
        continuation=row["continuation"],
        state=ShardState(row["state"]),
    )
