"""Rows of this room's tables as documents, and values read back from them; every row names its columns once.

A contract test compares the names with the record sets of the database functions, because a misspelt key would silently
become NULL. Numbers travel as text and come back as Decimal. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from fillbook.ibkr import ids
from fillbook.ibkr.execid import parse
from fillbook.ibkr.fills import Booked
from fillbook.ibkr.model import Anomaly, Cancel, CommissionReport, EventState, Execution, Facts, Sighting, Trade
from fillbook.ibkr.words import IdKind, PayloadKind, Role, Side, Source, State

Row = dict[str, Any]

FACTS: Final = tuple(Facts.__dataclass_fields__)
_DECIMALS: Final = frozenset(
    {
        "fx_rate_to_base",
        "multiplier",
        "strike",
        "quantity",
        "price",
        "cum_quantity",
        "commission",
        "taxes",
        "broker_realized_pnl",
    }
)
_DATES: Final = frozenset({"expiry", "trade_day", "report_date"})


def payload_row(one: Sighting | CommissionReport) -> Row:
    """A text to be kept."""
    is_report = isinstance(one, CommissionReport)
    return {
        "ib_exec_id": one.ib_exec_id,
        "payload_hash": one.payload_hash,
        "source": Source.TWS if isinstance(one, CommissionReport) else one.source,
        "kind": PayloadKind.COMMISSION if is_report else PayloadKind.EXECUTION,
        "transaction_id": None if isinstance(one, CommissionReport) else one.transaction_id,
        "observed_at": one.observed_at,
        "raw": dict(one.raw),
    }


def event_row(cancel: Cancel) -> Row:
    """A cancel; what it was applied to is told apart from it."""
    return {
        "id": ids.event_id(cancel.account_code, cancel.event_key),
        "event_key": cancel.event_key,
        "kind": cancel.kind,
        "source": cancel.source,
        "transaction_id": cancel.transaction_id,
        "orig_transaction_id": cancel.orig_transaction_id,
        "orig_trade_id": cancel.orig_trade_id,
        "conid": cancel.conid,
        "signed_quantity": cancel.signed_quantity,
        "price": cancel.price,
        "commission": cancel.commission,
        "executed_at": cancel.executed_at,
        "report_date": cancel.report_date,
        "observed_at": cancel.observed_at,
        "raw": dict(cancel.raw),
    }


def event_state_row(state: EventState) -> Row:
    """What became of a cancel."""
    return {"id": state.event_id, "state": state.state, "ib_exec_id": state.ib_exec_id}


def execution_row(one: Execution) -> Row:
    """A row of ``trade_executions``."""
    identity = one.identity
    return {
        "id": one.execution_id,
        "trade_id": one.trade_id,
        "ib_exec_id": one.ib_exec_id,
        "id_kind": one.id_kind,
        "exec_id_base": identity.exec_id_base,
        "exec_revision": identity.exec_revision,
        "settled_key": identity.settled_key,
        "combo_key": identity.combo_key,
        "correction_group": one.correction_group,
        "is_correctable": identity.is_correctable,
        "state": one.state,
        "supersedes_execution_id": one.supersedes_execution_id,
        "voided_by_event_id": one.voided_by_event_id,
        "exec_role": one.exec_role,
        "sources": list(one.sources),
        "payload_hash": one.payload_hash,
        "observed_at": one.observed_at,
        "raw": dict(one.raw),
        **{name: getattr(one.facts, name) for name in FACTS},
    }


def execution_of(row: Mapping[str, Any]) -> Execution:
    """A stored row, without its raw text."""
    return Execution(
        execution_id=row["id"],
        account_id=row["account_id"],
        identity=parse(row["ib_exec_id"]),
        id_kind=IdKind(row["id_kind"]),
        facts=_facts(row),
        state=State(row["state"]),
        correction_group=row["correction_group"],
        supersedes_execution_id=row["supersedes_execution_id"],
        voided_by_event_id=row["voided_by_event_id"],
        sources=tuple(Source(text) for text in row["sources"]),
        payload_hash=bytes.fromhex(row["payload_hash"].removeprefix("\\x")),
        raw={},
        observed_at=datetime.fromisoformat(row["observed_at"]),
        trade_id=row["trade_id"],
        exec_role=Role(row["exec_role"]),
    )


def _facts(row: Mapping[str, Any]) -> Facts:
    given: Row = {}
    for name in FACTS:
        value = row[name]
        if value is not None and name in _DECIMALS:
            value = Decimal(value)
        elif value is not None and name in _DATES:
            value = date.fromisoformat(value)
        given[name] = value
    given["executed_at"] = datetime.fromisoformat(given["executed_at"])
    given["side"] = Side(given["side"])
    given["notes"] = tuple(given["notes"])
    return Facts(**given)


_TRADE_NAMES: Final = tuple(name for name in Trade.__dataclass_fields__ if name not in ("trade_id", "account_id", "keys"))


def trade_row(trade: Trade) -> Row:
    """A row of ``trades``."""
    return {"id": trade.trade_id, **{name: getattr(trade, name) for name in _TRADE_NAMES}}


def key_rows(trade: Trade) -> list[Row]:
    """Every key that leads to a trade."""
    return [{"key": key, "trade_id": trade.trade_id} for key in trade.keys]


def anomaly_row(account_code: str, anomaly: Anomaly) -> Row:
    """An anomaly that is open."""
    return {
        "id": ids.anomaly_id(account_code, anomaly.kind, anomaly.subject),
        "kind": anomaly.kind,
        "subject": anomaly.subject,
        "details": dict(anomaly.details),
    }


def booked_row(booked: Booked) -> Row:
    """What the ledger was told."""
    return {name: getattr(booked, name) for name in Booked.__dataclass_fields__}


def booked_of(row: Mapping[str, Any]) -> Booked:
    """A stored row of ``booked_fills``."""
    given = {name: row[name] for name in Booked.__dataclass_fields__}
    return Booked(**(given | {"booked_hash": bytes.fromhex(row["booked_hash"].removeprefix("\\x"))}))
