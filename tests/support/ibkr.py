"""Rows of the broker, written as short as a test can say them, in both spellings; and the cores run over them in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fillbook.ibkr import intake
from fillbook.ibkr.allowlist import Account, AccountConfig, AllowList
from fillbook.ibkr.corrections import Settlement, settle
from fillbook.ibkr.model import Cancel, CommissionReport, Execution, RawRow, Refusal, Row, Sighting, Trade
from fillbook.ibkr.parents import Resolution, resolve
from fillbook.ibkr.words import PayloadKind, Source

DAY = datetime(2026, 1, 5, 15, 30, tzinfo=UTC)
FIRST = Account(account_id=1, code="U1234567", trusted_ref_prefixes=("FB-",))
SECOND = Account(account_id=2, code="U7654321", base_currency="EUR")
CONFIGS = (AccountConfig(account=FIRST, aliases={"U1234567F": "F"}), AccountConfig(account=SECOND))
ALLOWED = AllowList.of(CONFIGS)


def exec_id(name: str | int, revision: int = 1, *, slot: str = "01", fifth: str | None = None, prefix: str = "0000e0d5") -> str:
    """A broker's id: ``name`` becomes part 2."""
    text = f"{prefix}.{name}.{slot}.{revision:02d}"
    return text if fifth is None else f"{text}.{fifth}"


def tws_raw(exec_id: str, side: str = "BOT", shares: str = "100", price: str = "10.5", **texts: str) -> dict[str, str]:
    """The texts of an execDetails frame."""
    raw = {
        "orderId": "0",
        "conId": "265598",
        "symbol": "AAPL",
        "secType": "STK",
        "expiry": "",
        "strike": "0.0",
        "right": "",
        "multiplier": "",
        "currency": "USD",
        "localSymbol": "AAPL",
        "execId": exec_id,
        "time": "20260105 15:30:00 UTC",
        "acctNumber": "U1234567",
        "exchange": "ISLAND",
        "side": side,
        "shares": shares,
        "price": price,
        "permId": "1400000001",
        "clientId": "0",
        "cumQty": "",
        "orderRef": "",
        "lastLiquidity": "2",
    }
    return raw | texts


def flex_raw(ib_exec_id: str, quantity: str = "100", price: str = "10.5", **texts: str) -> dict[str, str]:
    """The attributes of a Trade row; the side follows the sign."""
    raw = {
        "accountId": "U1234567",
        "currency": "USD",
        "fxRateToBase": "1",
        "assetCategory": "STK",
        "symbol": "AAPL",
        "conid": "265598",
        "underlyingSymbol": "",
        "multiplier": "1",
        "tradeID": "",
        "reportDate": "20260105",
        "dateTime": "20260105;103000",
        "tradeDate": "20260105",
        "transactionType": "ExchTrade",
        "exchange": "ISLAND",
        "quantity": quantity,
        "tradePrice": price,
        "taxes": "0",
        "ibCommission": "-1",
        "ibCommissionCurrency": "USD",
        "openCloseIndicator": "",
        "notes": "",
        "origTradeID": "",
        "origTransactionID": "0",
        "transactionID": "",
        "buySell": "SELL" if quantity.startswith("-") else "BUY",
        "ibOrderID": "",
        "ibExecID": ib_exec_id,
        "brokerageOrderID": "",
        "orderReference": "",
    }
    return raw | texts


def cancel_raw(quantity: str, price: str = "10.5", **texts: str) -> dict[str, str]:
    """The attributes of a TradeCancel row; ``quantity`` has the sign of the cancel, opposite to the original's."""
    side = "BUY (Ca.)" if quantity.startswith("-") else "SELL (Ca.)"
    given = {"transactionType": "TradeCancel", "notes": "Ca", "buySell": side, "ibCommission": "0"}
    return flex_raw("", quantity, price, **(given | texts))


def commission_raw(
    exec_id: str, commission: str = "1.0", currency: str = "USD", pnl: str = "1.7976931348623157E308"
) -> dict[str, str]:
    """The texts of a commission frame."""
    return {
        "execId": exec_id,
        "commission": commission,
        "currency": currency,
        "realizedPNL": pnl,
        "yield": "",
        "yieldRedemptionDate": "",
    }


def outcome(
    raw: dict[str, str],
    source: Source = Source.STATEMENT,
    *,
    kind: PayloadKind = PayloadKind.EXECUTION,
    seen: float = 0,
    allowed: AllowList = ALLOWED,
) -> Row | Refusal:
    """What the door makes of a row observed ``seen`` minutes after the trading hour began."""
    return intake.read(RawRow(source=source, kind=kind, raw=raw, observed_at=DAY + timedelta(minutes=seen)), allowed)


def tws(exec_id: str, *parts: str, seen: float = 0, **texts: str) -> Sighting:
    """A fill of the socket."""
    row = outcome(tws_raw(exec_id, *parts, **texts), Source.TWS, seen=seen)
    assert isinstance(row, Sighting), row
    return row


def flex(exec_id: str, *parts: str, seen: float = 60, source: Source = Source.STATEMENT, **texts: str) -> Sighting:
    """A row of a statement."""
    row = outcome(flex_raw(exec_id, *parts, **texts), source, seen=seen)
    assert isinstance(row, Sighting), row
    return row


def cancel(quantity: str, *parts: str, seen: float = 60, source: Source = Source.STATEMENT, **texts: str) -> Cancel:
    """A cancel row of a statement."""
    row = outcome(cancel_raw(quantity, *parts, **texts), source, seen=seen)
    assert isinstance(row, Cancel), row
    return row


def report(exec_id: str, *parts: str, seen: float = 0, **named: str) -> CommissionReport:
    """A commission frame."""
    row = outcome(commission_raw(exec_id, *parts, **named), Source.TWS, kind=PayloadKind.COMMISSION, seen=seen)
    assert isinstance(row, CommissionReport), row
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the cores make of rows of one account, by name."""

    settlement: Settlement
    resolution: Resolution

    @property
    def states(self) -> dict[str, str]:
        return {one.ib_exec_id: one.state.value for one in self.settlement.executions}

    @property
    def executions(self) -> dict[str, Execution]:
        return {one.ib_exec_id: one for one in self.resolution.executions}

    @property
    def trades(self) -> list[Trade]:
        return sorted(self.resolution.trades, key=lambda trade: trade.keys)

    @property
    def anomalies(self) -> list[tuple[str, str]]:
        return [(one.kind.value, one.subject) for one in (*self.settlement.anomalies, *self.resolution.anomalies)]


def desk(*rows: Row, account: Account = FIRST, **options: Any) -> Desk:
    """Settle and resolve rows of one account."""
    settlement = settle(*sorted_out(rows))
    return Desk(settlement=settlement, resolution=resolve(account, settlement.executions, **options))


def sorted_out(rows: Iterable[Row]) -> tuple[Sequence[Sighting], Sequence[CommissionReport], Sequence[Cancel]]:
    """Rows by what they are."""
    kept = list(rows)
    return (
        [row for row in kept if isinstance(row, Sighting)],
        [row for row in kept if isinstance(row, CommissionReport)],
        [row for row in kept if isinstance(row, Cancel)],
    )
