"""One frame of the socket as a sighting or a commission report, from named texts. Source: ibkr.md 7, 9, 14.

The adapter names the fields of a frame as listed here, whatever the server version's layout; it adds ``bareTimeZone`` where
its target accepts times without a zone, so that a stored text can be read again without knowing the target.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fillbook.ibkr import execid, fields, times
from fillbook.ibkr.allowlist import Account
from fillbook.ibkr.fields import Refused
from fillbook.ibkr.model import CommissionReport, Facts, Sighting, Texts
from fillbook.ibkr.words import ORDER_ID_UNSET, Reason, Source

EXECUTION_FIELDS: Final = (
    "orderId",
    "conId",
    "symbol",
    "secType",
    "expiry",
    "strike",
    "right",
    "multiplier",
    "contractExchange",
    "currency",
    "localSymbol",
    "tradingClass",
    "execId",
    "time",
    "acctNumber",
    "exchange",
    "side",
    "shares",
    "price",
    "permId",
    "clientId",
    "liquidation",
    "cumQty",
    "avgPrice",
    "orderRef",
    "evRule",
    "evMultiplier",
    "modelCode",
    "lastLiquidity",
)
"""execDetails at server version 176, after the message id and the request id; from 178 on ``pendingPriceRevision`` follows."""
COMMISSION_FIELDS: Final = ("execId", "commission", "currency", "realizedPNL", "yield", "yieldRedemptionDate")
BARE_TIME_ZONE: Final = "bareTimeZone"

_NAMED_BY_LOCAL_SYMBOL: Final = frozenset({"OPT", "FOP", "FUT", "CASH"})
_WITH_UNDERLYING: Final = frozenset({"OPT", "FOP"})
_RIGHTS: Final = {"C": "C", "CALL": "C", "P": "P", "PUT": "P"}


def read_execution(raw: Texts, account: Account, observed_at: datetime) -> Sighting:
    """Return what an execDetails frame says; raises ``Refused`` or ``TimeRefused``."""
    key = execid.ingest_key(fields.text_of(raw, "execId") or "", None, None)
    if key is None:
        raise Refused(Reason.NO_IDENTITY, "execId")
    return Sighting(
        account_id=account.account_id,
        account_code=account.code,
        ib_exec_id=key[0],
        id_kind=key[1],
        source=Source.TWS,
        observed_at=observed_at,
        facts=_facts(raw, account),
        raw=raw,
        payload_hash=fields.payload_hash(raw),
    )


def read_commission(raw: Texts, observed_at: datetime, *, account_id: int | None = None) -> CommissionReport:
    """Return what a commission frame says; the socket writes a cost as a positive amount. Raises ``Refused``."""
    exec_id = fields.text_of(raw, "execId")
    if exec_id is None:
        raise Refused(Reason.NO_IDENTITY, "execId")
    commission, currency = fields.fee(fields.optional_number(raw, "commission"), fields.text_of(raw, "currency"))
    return CommissionReport(
        ib_exec_id=exec_id,
        commission=commission,
        commission_currency=currency,
        broker_realized_pnl=fields.optional_number(raw, "realizedPNL"),
        observed_at=observed_at,
        raw=raw,
        payload_hash=fields.payload_hash(raw),
        account_id=account_id,
    )


def _facts(raw: Texts, account: Account) -> Facts:
    sec_type = fields.required(raw, "secType")
    moment = times.tws_time(fields.required(raw, "time"), fields.text_of(raw, BARE_TIME_ZONE))
    quantity, price = fields.number(raw, "shares"), fields.number(raw, "price")
    if quantity <= 0:
        raise Refused(Reason.BAD_NUMBER, "shares")
    multiplier = fields.positive_or_none(raw, "multiplier")
    fields.check_value(quantity, price, multiplier)
    liquidity = fields.text_of(raw, "lastLiquidity")
    return Facts(
        ib_perm_id=fields.broker_id(raw, "permId"),
        ib_order_id=_order_id(raw),
        client_id=_client_id(raw),
        order_ref=fields.text_of(raw, "orderRef"),
        transaction_type="ExchTrade",
        conid=fields.conid_of(raw, "conId"),
        symbol=symbol_of(raw, sec_type),
        sec_type=sec_type,
        underlying_symbol=fields.text_of(raw, "symbol") if sec_type in _WITH_UNDERLYING else None,
        multiplier=multiplier,
        expiry=fields.day_of(raw, "expiry"),
        strike=fields.positive_or_none(raw, "strike"),
        put_call=_RIGHTS.get(fields.text_of(raw, "right") or ""),
        executed_at=moment.at,
        executed_at_text=raw["time"].strip(),
        is_time_ambiguous=moment.is_ambiguous,
        trade_day=times.trade_day(moment.at, account.trade_day_zone, sec_type),
        side=fields.side_of(raw, "side"),
        quantity=quantity,
        price=price,
        cum_quantity=fields.positive_or_none(raw, "cumQty"),
        exchange=fields.text_of(raw, "exchange"),
        liquidity=None if liquidity == "0" else liquidity,
        currency=fields.currency_of(raw),
    )


def symbol_of(raw: Texts, sec_type: str) -> str:
    """The name of the instrument: the local symbol where the plain one names only what it is derived from."""
    if sec_type in _NAMED_BY_LOCAL_SYMBOL:
        return fields.required(raw, "localSymbol", "symbol")
    return fields.required(raw, "symbol", "localSymbol")


def _order_id(raw: Texts) -> int | None:
    text = fields.text_of(raw, "orderId")
    if text == "0":
        return 0
    value = fields.broker_id(raw, "orderId")
    return None if value == ORDER_ID_UNSET else value


def _client_id(raw: Texts) -> int | None:
    return 0 if fields.text_of(raw, "clientId") == "0" else fields.broker_id(raw, "clientId")
