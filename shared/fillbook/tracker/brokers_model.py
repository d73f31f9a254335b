"""What is answered about broker trades and accounts: rows of the views of IBKR and of linked MT5 accounts."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from fillbook.tracker.annotations_model import TradeWords
from fillbook.tracker.shapes import Amount, Frame, Instant, Milliseconds, Percent

Text = str | None
Day = str | None
Status = Literal["unknown", "partial", "filled", "cancelled", "expired", "assigned", "exercised"]
LinkedStatus = Literal["open", "close_pending", "closed"]


class BrokerTrade(TradeWords):
    """A trade of IBKR: one order, or what is held together like one. Sums count canonical executions only."""

    trade_id: str
    account_id: str
    account_code: str
    book_id: str
    match_kind: str
    confidence: Literal["high", "medium", "low"]
    merged_into: Text
    ib_perm_id: Text
    ib_order_id: Text
    flex_order_id: Text
    client_id: Text
    conid: Text
    order_ref: Text
    symbol: Text
    sec_type: Text
    side: Literal["BUY", "SELL"] | None
    exchange: Text
    currency: Text
    trade_day: Day
    is_combo: bool
    status: Status
    order_quantity: Amount | None
    total_quantity: Amount
    total_value: Amount | None
    avg_price: Amount | None
    commission: Amount | None
    commission_currency: Text
    missing_commission_count: int
    execution_count: int
    canonical_count: int
    first_executed_ts: Milliseconds | None
    first_executed_at: Instant | None
    last_executed_ts: Milliseconds | None
    last_executed_at: Instant | None
    fetched_ts: Milliseconds
    fetched_at: Instant
    created_ts: Milliseconds
    created_at: Instant
    updated_ts: Milliseconds
    updated_at: Instant


class Anomaly(TypedDict):
    """Something open about a trade that waits for a person; ``details`` by kind."""

    anomaly_id: str
    kind: str
    subject: str
    details: Any
    opened_ts: Milliseconds
    opened_at: Instant


class BrokerTradeWhole(BrokerTrade):
    """A trade with the keys that hold it together and what is open about it."""

    keys: list[str]
    anomalies: list[Anomaly]


class LinkedTrade(TradeWords):
    """A trade of a linked MT5 account: one life of a position. ``currency`` is the account's."""

    trade_id: str
    account_id: str
    book_id: str
    platform: Literal["MT5"]
    broker_name: str
    server: str
    label: str
    login_masked: str
    currency: Text
    position_id: str
    episode: int
    ticket: str
    symbol: str
    symbol_norm: str
    type: Literal["buy", "sell"]
    status: LinkedStatus
    volume: Amount
    open_volume: Amount
    open_price: Amount | None
    close_price: Amount | None
    open_ts: Milliseconds | None
    open_at: Instant | None
    close_ts: Milliseconds | None
    close_at: Instant | None
    stop_loss: Amount | None
    take_profit: Amount | None
    current_price: Amount | None
    profit: Amount | None
    swap: Amount | None
    commission: Amount | None
    fee: Amount | None
    realized_profit: Amount
    realized_swap: Amount
    net_pnl: Amount | None
    comment: Text
    magic: Text
    close_reason: int | None
    entry_complete: bool
    identity_quality: Literal["deals", "snapshot", "paired"]
    pending_polls: int
    ledger_state: Literal["none", "held", "booked"]
    updated_ts: Milliseconds
    updated_at: Instant


class LinkedDeal(TypedDict):
    """What a deal did to a trade; ``server_time`` is the wall clock of the account's server."""

    deal_ticket: str
    order_id: str
    position_id: str
    part: int
    effect: str
    server_time: str
    deal_type: int
    entry: int
    reason: int | None
    symbol: str
    price: Amount
    volume: Amount
    profit: Amount
    commission: Amount
    swap: Amount
    fee: Amount
    net: Amount
    is_certain: bool
    comment: Text
    external_id: Text
    magic: Text
    revision: int
    recorded_ts: Milliseconds
    recorded_at: Instant


class LinkedTradeWhole(LinkedTrade):
    """A trade with the deals behind it, in their order."""

    deals: list[LinkedDeal]
    has_more_deals: bool


class BrokerTrades(Frame):
    """A page of broker trades of one platform; ``next_cursor`` goes into ``cursor``."""

    count: int
    has_more: bool
    items: list[BrokerTrade | LinkedTrade]
    next_cursor: Text


class OneBrokerTrade(Frame):
    """One broker trade of whichever platform."""

    trade: BrokerTradeWhole | LinkedTradeWhole


class BrokerText(TypedDict):
    """One text the broker sent of an execution; the text itself for an admin key alone."""

    ib_exec_id: str
    payload_hash: str
    source: Literal["statement", "confirmation", "tws"]
    kind: Literal["execution", "commission"]
    transaction_id: Text
    observed_ts: Milliseconds
    observed_at: Instant
    run_id: str
    parser_version: int
    recorded_ts: Milliseconds
    recorded_at: Instant
    raw: NotRequired[Any]


class BrokerExecution(TypedDict):
    """An execution as the broker told it, with what became of it. ``raw`` and ``history`` where they were asked for."""

    execution_id: str
    trade_id: str
    account_id: str
    account_code: str
    book_id: str
    ib_exec_id: str
    id_kind: Literal["broker", "transaction", "trade"]
    exec_id_base: str
    exec_revision: int
    settled_key: str
    combo_key: Text
    correction_group: int
    is_correctable: bool
    state: Literal["live", "superseded", "voided", "anomaly"]
    is_canonical: bool
    supersedes_execution_id: Text
    voided_by_event_id: Text
    transaction_id: Text
    broker_trade_id: Text
    flex_order_id: Text
    ib_perm_id: Text
    ib_order_id: Text
    client_id: Text
    brokerage_order_id: Text
    order_ref: Text
    transaction_type: str
    exec_role: Literal["standalone", "leg", "combo_summary"]
    conid: str
    symbol: str
    sec_type: str
    underlying_symbol: Text
    fx_rate_to_base: Amount | None
    multiplier: Amount | None
    expiry: Day
    strike: Amount | None
    put_call: Text
    executed_ts: Milliseconds
    executed_at: Instant
    executed_at_text: str
    is_time_ambiguous: bool
    trade_day: str
    report_date: Day
    side: Literal["BUY", "SELL"]
    quantity: Amount
    signed_quantity: Amount
    price: Amount
    cum_quantity: Amount | None
    exchange: Text
    liquidity: Text
    currency: str
    commission: Amount | None
    commission_currency: Text
    taxes: Amount | None
    broker_realized_pnl: Amount | None
    notes: list[str]
    open_close: Text
    sources: list[str]
    fetched_ts: Milliseconds
    fetched_at: Instant
    created_ts: Milliseconds
    created_at: Instant
    updated_ts: Milliseconds
    updated_at: Instant
    raw: NotRequired[Any]
    history: NotRequired[list[BrokerText]]


class BrokerExecutions(Frame):
    """All rows of a trade, those that do not count too."""

    count: int
    has_more: bool
    trade_id: str
    merged_into: Text
    items: list[BrokerExecution]


Failure = TypedDict("Failure", {"class": Text, "text": Text})
Failure.__doc__ = "Why the last run did not end well: its class and the words it may be told in."


class Balances(TypedDict):
    """What the broker says an account holds, in its currency, and when it said so."""

    currency: Text
    balance: Amount | None
    equity: Amount | None
    margin: Amount | None
    free_margin: Amount | None
    credit: Amount | None
    floating_profit: Amount | None
    margin_level_percent: Amount | None
    ts: Milliseconds
    at: Instant


AccountState = Literal["ok", "late", "failing", "needs_login", "paused"]


class Account(TypedDict):
    """A broker account of the tenant; null: not known, or not told by this broker."""

    account_id: str
    platform: Literal["IBKR", "MT5"]
    label: str
    broker_name: str
    server: Text
    login_masked: str
    book_id: str
    is_active: bool
    state: AccountState
    connection_status: Text
    balances: Balances | None
    open_positions: int | None
    close_pending: int | None
    closed_today: int | None
    positions_ts: Milliseconds | None
    positions_at: Instant | None
    last_sync_ts: Milliseconds | None
    last_sync_at: Instant | None
    last_deal_ts: Milliseconds | None
    last_deal_at: Instant | None
    last_success_ts: Milliseconds | None
    last_success_at: Instant | None
    lag_seconds: int | None
    failures_in_a_row: int
    last_error: Failure | None
    next_due_ts: Milliseconds | None
    next_due_at: Instant | None
    cash_state: Text
    backfill_state: Text
    backfill_floor: Text
    backfill_percent: Percent | None


class Accounts(Frame):
    """A page of accounts; ``next_cursor`` goes into ``cursor``."""

    count: int
    has_more: bool
    items: list[Account]
    next_cursor: Text


class OneAccount(Frame):
    """One account."""

    account: Account
