"""Generated days of a broker: orders, labels, combos, revisions, cancels, rebooks, inner pieces, seen by either source."""

from __future__ import annotations

from hypothesis import strategies as st

from fillbook.ibkr.model import Row, Sighting
from fillbook.ibkr.words import Source
from tests.support.ibkr import cancel, exec_id, flex, report, tws

NAMES = st.integers(1, 3)
QUANTITIES = st.sampled_from(["100", "60", "0.5"])
PRICES = st.sampled_from(["10.5", "10.6"])
CONIDS = st.sampled_from(["11", "12"])
SEEN = st.integers(0, 3)


@st.composite
def socket_rows(draw: st.DrawFn) -> Row:
    """A fill of the socket."""
    texts = {
        "conId": draw(CONIDS),
        "permId": draw(st.sampled_from(["0", "0", "7", "8"])),
        "orderId": draw(st.sampled_from(["0", "94", "2147483647"])),
        "orderRef": draw(st.sampled_from(["", "FB-1", "SpreadTrader"])),
        "secType": draw(st.sampled_from(["STK", "STK", "STK", "BAG"])),
        "cumQty": draw(st.sampled_from(["", "", "160"])),
    }
    identity = exec_id(
        draw(NAMES),
        draw(st.integers(1, 3)),
        slot=draw(st.sampled_from(["01", "02"])),
        fifth=draw(st.sampled_from([None, None, "01", "02"])),
    )
    side = draw(st.sampled_from(["BOT", "SLD"]))
    return tws(identity, side, draw(QUANTITIES), draw(PRICES), seen=draw(SEEN), **texts)


def _sign(side: str, quantity: str) -> str:
    return quantity if side == "BUY" else f"-{quantity}"


@st.composite
def statement_rows(draw: st.DrawFn) -> Row:
    """A row of a statement or a confirmation; transaction ids are few, so that cancels find, miss and confuse."""
    source = draw(st.sampled_from([Source.STATEMENT, Source.STATEMENT, Source.CONFIRMATION]))
    texts = {
        "conid": draw(CONIDS),
        "tradeID": draw(st.sampled_from(["", "500", "501"])),
        "ibOrderID": draw(st.sampled_from(["", "70", "71"])),
        "brokerageOrderID": draw(st.sampled_from(["", "", "00ab.1"])),
        "transactionID": str(draw(st.integers(100, 105))) if source is Source.STATEMENT else "",
        "ibCommission": draw(st.sampled_from(["-1", "0.25", ""])),
    }
    identity = (
        draw(st.sampled_from(["", "N/A"]))
        if draw(st.integers(0, 5)) == 0 and texts["transactionID"]
        else exec_id(draw(NAMES), draw(st.integers(1, 3)), slot=draw(st.sampled_from(["01", "02"])))
    )
    if identity in ("", "N/A") and draw(st.booleans()):
        texts["transactionType"] = "FracShare"
    quantity = _sign(draw(st.sampled_from(["BUY", "SELL"])), draw(QUANTITIES))
    return flex(identity, quantity, draw(PRICES), seen=60 + draw(SEEN), source=source, **texts)


@st.composite
def cancel_rows(draw: st.DrawFn) -> Row:
    """A cancel that may mean one row, several or none."""
    source = draw(st.sampled_from([Source.STATEMENT, Source.STATEMENT, Source.CONFIRMATION]))
    texts = {
        "conid": draw(CONIDS),
        "origTradeID": draw(st.sampled_from(["500", "501"])),
        "transactionID": str(draw(st.integers(102, 108))) if source is Source.STATEMENT else "",
        "origTransactionID": draw(st.sampled_from(["0", "100", "101", "102", "103"])) if source is Source.STATEMENT else "0",
        "transactionType": draw(st.sampled_from(["TradeCancel", "TradeCancel", "FracShareCancel"])),
    }
    quantity = _sign(draw(st.sampled_from(["BUY", "SELL"])), draw(QUANTITIES))
    return cancel(quantity, draw(PRICES), seen=60, source=source, **texts)


@st.composite
def days(draw: st.DrawFn, most: int = 14) -> list[Row]:
    """The rows of a day, each text once; commissions only of rows that are there."""
    rows = draw(st.lists(st.one_of(socket_rows(), statement_rows(), statement_rows(), cancel_rows()), min_size=1, max_size=most))
    distinct: dict[object, Row] = {}
    for row in rows:
        distinct.setdefault(getattr(row, "payload_hash", None) or getattr(row, "event_key", None), row)
    return list(distinct.values())


def commissions(rows: list[Row]) -> list[Row]:
    """A report for every row of the socket."""
    socket = [row for row in rows if isinstance(row, Sighting) and row.source is Source.TWS]
    return [report(row.ib_exec_id, "0.75", seen=1) for row in socket]
