"""What the Flex web service answers: a status, or a document whose rows become sightings, cancels and refusals."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from fillbook.ibkr import columns, runs, store
from fillbook.ibkr import flex as adapter
from fillbook.ibkr.flex_statement import StatementFile
from fillbook.ibkr.model import Cancel, CommissionReport, Row, Sighting
from fillbook.ibkr.sources import Chunk
from fillbook.ibkr.words import Reason
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode
from tests.support.ibkr import ALLOWED, DAY, cancel_raw, desk, exec_id, flex_raw
from tests.support.ibkr_flex import statement

ROWS_MAX: Final = 40
"""More of one account are read but not settled: their families are settled by the pair."""

_REASONS: Final = frozenset(Reason)
WORDS: Final = tuple(
    b'<FlexQueryResponse type="AF"> </FlexQueryResponse> <FlexStatements> <FlexStatement <Trade <TradeConfirm <OpenPosition /> > '
    b'accountId="U1234567" fromDate="20260105" toDate="20260105" whenGenerated="20260106;010000" levelOfDetail="EXECUTION" '
    b'dateTime="20260105;103000" transactionType="TradeCancel" quantity="-100" quantity="1e999999999" tradePrice="10.5" '
    b'fromDate="00010101" toDate="99991231" notes="Ca" conid="1" encoding="utf-16" encoding="hex" &#0; &amp; <!DOCTYPE <?xml '
    b"<FlexStatementResponse> <Status>Success</Status> <ReferenceCode>1</ReferenceCode> <ErrorCode>1019</ErrorCode> <Url> "
    b'dateTime="1767627000" dateTime="20260105;103000 EST" dateTime="20260308;023000"'.split()
)
_SENT: Final = """<FlexStatementResponse timestamp='05 January, 2026 10:30 AM EST'><Status>Success</Status>
<ReferenceCode>123</ReferenceCode>
<Url>https://gdcdyn.interactivebrokers.com/Universal/servlet/FlexStatementService.GetStatement</Url>
</FlexStatementResponse>"""
_REFUSED: Final = """<FlexStatementResponse><Status>Warn</Status><ErrorCode>1019</ErrorCode>
<ErrorMessage>in progress</ErrorMessage>
</FlexStatementResponse>"""
_STATUSES: Final = (
    _SENT.encode(),
    _REFUSED.encode(),
    b"<html><body>Service unavailable</body></html>",
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><FlexQueryResponse>&a;</FlexQueryResponse>',
)


def seeds() -> Iterable[bytes]:
    """Statuses, and statements with a fill, a correction, a cancel, a position, a currency, a confirmation."""
    yield from _STATUSES
    yield statement([])
    yield statement([flex_raw(exec_id(1), transactionID="5000000001", tradeID="7", ibOrderID="9")])
    yield statement([flex_raw(exec_id(2, 2), "-60", "30.2374637"), cancel_raw("-100", transactionID="8", origTradeID="7")])
    yield statement([flex_raw(exec_id(3), assetCategory="CASH", symbol="EUR.USD", dateTime="20260105;180000", conid="12087792")])


def check(body: bytes) -> str:
    """Read bytes as a status and as a document; whatever rows they hold can be settled and stored."""
    status = adapter._status_answer(body)
    assert [status.failure, status.error_code, status.reference_code].count(None) == 2
    encode([status.failure, status.error_text, status.reference_code])
    path = _place()
    path.write_bytes(body)
    document = StatementFile(path)
    try:
        head = document.check()
        runs._hull(runs._statement_windows(head, ALLOWED).values(), DAY)
        chunks = list(document.chunks(ALLOWED))
    except Rejected as refusal:
        assert refusal.reason.startswith("flex_"), refusal.reason
        return refusal.reason
    finally:
        document.close()
    for chunk in chunks:
        _check_chunk(chunk)
    _settle([row for chunk in chunks for row in chunk.rows])
    return f"{sum(len(one.rows) for one in chunks)} rows, {sum(len(one.refusals) for one in chunks)} refusals"


@cache
def _place() -> Path:
    return Path(tempfile.gettempdir()) / f"fillbook-fuzzed-{os.getpid()}.xml"


def _check_chunk(chunk: Chunk) -> None:
    assert chunk.fetched_count == len(chunk.rows) + len(chunk.refusals)
    assert {one.reason for one in chunk.refusals} <= _REASONS
    encode(store.put_aside(chunk.refusals, None, DAY).document)
    encode([columns.payload_row(one) for one in chunk.rows if not isinstance(one, Cancel)])
    encode([columns.event_row(one) for one in chunk.rows if isinstance(one, Cancel)])
    encode([{**one.raw} | {"average_cost": one.average_cost, "quantity": one.quantity} for one in chunk.positions])


def _settle(rows: list[Row]) -> None:
    """What the cores make of each account's rows is something the tables take."""
    by_account: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if isinstance(row, Sighting | Cancel):
            by_account[row.account_id].append(row)
        assert not isinstance(row, CommissionReport)
    for account in ALLOWED.accounts:
        made = desk(*by_account[account.account_id][:ROWS_MAX], account=account)
        encode([columns.execution_row(one) for one in made.resolution.executions])
        encode([columns.trade_row(one) for one in made.resolution.trades])
