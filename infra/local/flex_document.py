"""Flex documents made up: statements of any size with the columns the broker writes.

A row is a mapping of attributes; ``document`` writes rows as the web service would, account by account. Nothing here knows
the parser, so that what it writes is a test of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final
from xml.sax.saxutils import quoteattr
from zoneinfo import ZoneInfo

NEW_YORK: Final = ZoneInfo("America/New_York")
BLANK_COLUMNS: Final = tuple(
    """acctAlias model subCategory securityID securityIDType cusip isin figi underlyingConid underlyingSecurityID
    underlyingListingExchange issuer issuerCountryCode relatedTradeID strike expiry putCall principalAdjustFactor origTradeDate
    origTradeID clearingFirmID relatedTransactionID rtn brokerageOrderID orderReference volatilityOrderLink openDateTime
    holdingPeriodDateTime whenRealized whenReopened traderID serialNumber deliveryType commodityType initialInvestment
    positionActionID""".split()
)
DEFAULTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(BLANK_COLUMNS, ""),
    "currency": "USD",
    "fxRateToBase": "1",
    "assetCategory": "STK",
    "multiplier": "1",
    "transactionType": "ExchTrade",
    "exchange": "ISLAND",
    "taxes": "0",
    "ibCommission": "-1",
    "ibCommissionCurrency": "USD",
    "openCloseIndicator": "",
    "notes": "",
    "cost": "0",
    "fifoPnlRealized": "0",
    "mtmPnl": "0",
    "origTradePrice": "0",
    "origOrderID": "0",
    "origTransactionID": "0",
    "exchOrderId": "N/A",
    "extExecID": "N/A",
    "levelOfDetail": "EXECUTION",
    "changeInPrice": "0",
    "changeInQuantity": "0",
    "orderType": "LMT",
    "isAPIOrder": "Y",
    "accruedInt": "0",
    "fineness": "0.0",
    "weight": "0.0",
}
TICKERS: Final = (("AAPL", 265598, "APPLE INC"), ("MSFT", 272093, "MICROSOFT CORP"), ("SPY", 756733, "SPDR S&P 500 ETF TRUST"))


def trade(number: int, account: str, at: datetime, *, quantity: str, price: str, **texts: str) -> dict[str, str]:
    """An execution of an account at an instant; ``number`` makes every id of it. ``texts`` win."""
    local = at.astimezone(NEW_YORK)
    ticker, conid, name = TICKERS[number % len(TICKERS)]
    return {
        **DEFAULTS,
        "accountId": account,
        "symbol": ticker,
        "description": name,
        "conid": str(conid),
        "listingExchange": "NASDAQ",
        "underlyingSymbol": ticker,
        "tradeID": str(8_000_000_000 + number),
        "reportDate": f"{local:%Y%m%d}",
        "dateTime": f"{local:%Y%m%d;%H%M%S}",
        "tradeDate": f"{local:%Y%m%d}",
        "settleDateTarget": f"{local + timedelta(days=1):%Y%m%d}",
        "orderTime": f"{local:%Y%m%d;%H%M%S}",
        "quantity": quantity,
        "tradePrice": price,
        "tradeMoney": f"{Decimal(quantity) * Decimal(price):f}",
        "buySell": "SELL" if quantity.startswith("-") else "BUY",
        "ibOrderID": str(4_100_000_000 + number // 2),
        "transactionID": str(35_000_000_000 + number),
        "ibExecID": f"0000e0d5.{69_500_000 + number}.01.01",
        **texts,
    }


def trades(count: int, accounts: Sequence[str], day: date, *, first: int = 0) -> Iterator[dict[str, str]]:
    """``count`` executions between the open and the close of a day, dealt out to the accounts."""
    opening = datetime(day.year, day.month, day.day, 9, 30, tzinfo=NEW_YORK).astimezone(UTC)
    for number in range(first, first + count):
        at = opening + timedelta(seconds=(number - first) * 23_000 // max(count, 1))
        quantity = str((number % 9 + 1) * 10 * (-1 if number % 4 == 3 else 1))
        price = f"{Decimal(9_000 + number * 7 % 2_000) / 100:f}"
        yield trade(number, accounts[number % len(accounts)], at, quantity=quantity, price=price)


def position(account: str, ticker: str, conid: int, quantity: str, cost: str, mark: str, **texts: str) -> dict[str, str]:
    """An open position of an account, as a summary row."""
    return {
        "accountId": account,
        "currency": "USD",
        "assetCategory": "STK",
        "symbol": ticker,
        "conid": str(conid),
        "multiplier": "1",
        "position": quantity,
        "costBasisPrice": cost,
        "markPrice": mark,
        "side": "Short" if quantity.startswith("-") else "Long",
        "levelOfDetail": "SUMMARY",
        **texts,
    }


def element(name: str, texts: Mapping[str, str]) -> str:
    """An empty element with its attributes."""
    return f"<{name} {' '.join(f'{key}={quoteattr(text)}' for key, text in texts.items())} />"


def statement(
    rows: Iterable[Mapping[str, str]],
    *,
    account: str,
    days: tuple[date, date],
    generated_at: datetime,
    positions: Iterable[Mapping[str, str]] = (),
    row_name: str = "Trade",
) -> Iterator[bytes]:
    """The bytes of one account's FlexStatement, piece by piece; rows may name another account."""
    stated = {
        "accountId": account,
        "fromDate": f"{days[0]:%Y%m%d}",
        "toDate": f"{days[1]:%Y%m%d}",
        "period": "",
        "whenGenerated": f"{generated_at.astimezone(NEW_YORK):%Y%m%d;%H%M%S}",
    }
    yield f"{element('FlexStatement', stated).removesuffix(' />')}>\n<{row_name}s>\n".encode()
    for row in rows:
        yield f"{element(row_name, row)}\n".encode()
    yield f"</{row_name}s>\n<OpenPositions>\n".encode()
    for row in positions:
        yield f"{element('OpenPosition', row)}\n".encode()
    yield b"</OpenPositions>\n</FlexStatement>\n"


def response(*statements: Iterable[bytes], kind: str = "AF") -> Iterator[bytes]:
    """A whole document of statements; ``kind``: AF an activity statement, TCF trade confirmations."""
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<FlexQueryResponse queryName="fillbook" type="{kind}">\n'.encode()
    yield f'<FlexStatements count="{len(statements)}">\n'.encode()
    for one in statements:
        yield from one
    yield b"</FlexStatements>\n</FlexQueryResponse>\n"
