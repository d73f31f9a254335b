"""Ids of the room's rows, derived from the content named, so that two databases agree (the one namespace of the house)."""

from __future__ import annotations

from fillbook.ledger.ids import derived


def execution_id(account_code: str, ib_exec_id: str) -> str:
    """Id of an execution."""
    return derived("ibkr_execution", account_code, ib_exec_id)


def trade_id(account_code: str, key: str) -> str:
    """Id of a trade by its strongest, smallest key."""
    return derived("ibkr_trade", account_code, key)


def event_id(account_code: str, event_key: str) -> str:
    """Id of a cancel."""
    return derived("ibkr_cancel", account_code, event_key)


def anomaly_id(account_code: str, kind: str, subject: str) -> str:
    """Id of an anomaly; the same one is reopened in place."""
    return derived("ibkr_anomaly", account_code, kind, subject)


def quarantine_id(source: str, account_text: str, raw: str) -> str:
    """Id of a refused row: the same text is refused once and counted."""
    return derived("ibkr_quarantine", source, account_text, raw)


def flex_request_id(job_id: str, from_day: str = "") -> str:
    """Id of a statement asked for by a job; ``from_day`` tells the second half of a halved window from the first."""
    return derived("ibkr_flex_request", job_id, from_day)
