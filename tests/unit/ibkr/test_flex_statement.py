"""The statement parser: what it refuses as a whole, what it passes over, how it cuts and orders what it reads."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fillbook.ibkr import flex_statement
from fillbook.ibkr.flex_statement import StatementFile
from fillbook.ibkr.model import Cancel, Sighting
from fillbook.ibkr.sources import Chunk
from fillbook.ibkr.words import Source
from fillbook.runtime.errors import Rejected
from infra.local import flex_document
from infra.local.flex import BOMB, DOCTYPE
from tests.support.ibkr import ALLOWED, cancel_raw, exec_id, flex_raw
from tests.support.ibkr_flex import DAY, WRITTEN_AT, statement, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "statement.xml"


def read(document: StatementFile) -> list[Chunk]:
    document.check()
    return list(document.chunks(ALLOWED))


def refusal(path: Path, body: bytes) -> tuple[str, str]:
    with pytest.raises(Rejected) as caught:
        read(write(path, body))
    return caught.value.reason, caught.value.detail


def test_a_sound_document_says_what_it_covers(path: Path) -> None:
    body = statement([flex_raw(exec_id(1))], days=(DAY, DAY + timedelta(days=2)))
    head = write(path, body).check()
    [span] = head.spans
    assert (span.account_code, span.from_date, span.to_date, span.generated_at) == ("U1234567", DAY, date(2026, 1, 7), WRITTEN_AT)
    assert (head.source, head.byte_count, len(head.sha256)) == (Source.STATEMENT, len(body), 32)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "flex_truncated"),
        (b"no xml at all", "flex_not_xml"),
        (b"<html><body>Service Unavailable</body></html>", "flex_not_statement"),
        (b"<FlexStatementResponse><Status>Warn</Status></FlexStatementResponse>", "flex_not_statement"),
        (b"<a>" * 4, "flex_not_statement"),
        (b"<FlexQueryResponse><FlexStatement accountId='U1'/></FlexQueryResponse>", "flex_statement_incomplete"),
        (b"<FlexQueryResponse>" + b"<x>" * 40 + b"</x>" * 40 + b"</FlexQueryResponse>", "flex_not_statement"),
        (b"\xff\xfe<\x00", "flex_truncated"),
    ],
)
def test_what_is_no_statement_is_refused(path: Path, body: bytes, reason: str) -> None:
    assert refusal(path, body)[0] == reason


@pytest.mark.parametrize("before", [DOCTYPE, BOMB, b'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd">\n'])
def test_a_document_type_or_an_entity_is_refused_unread(path: Path, before: bytes) -> None:
    body = statement([flex_raw(exec_id(1), description="&lol;")]).replace(b"<FlexQueryResponse", before + b"<FlexQueryResponse")
    assert refusal(path, body)[0] == "flex_doctype"


def test_a_document_cut_anywhere_is_refused(path: Path) -> None:
    body = statement([flex_raw(exec_id(1)), flex_raw(exec_id(2))]).rstrip()
    for at in [*range(0, len(body), 97), len(body) - 1]:
        assert refusal(path, body[:at])[0] in ("flex_truncated", "flex_not_xml"), at


def test_more_than_the_cap_is_refused_before_it_is_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(flex_statement.BODY_BYTES_MAX + 1)
    with pytest.raises(Rejected, match="flex_too_large"):
        StatementFile(path).check()


def test_a_tag_without_end_is_refused_before_it_fills_the_memory(path: Path) -> None:
    body = statement([]).replace(b"<Trades>", b'<Trades><Trade note="' + b"x" * 3_000_000)
    assert refusal(path, body) == ("flex_not_statement", "a tag is too long")


@pytest.mark.parametrize(
    "name", ["accountId", "conid", "assetCategory", "symbol", "currency", "quantity", "buySell", "transactionType"]
)
def test_a_column_that_no_row_carries_is_named(path: Path, name: str) -> None:
    raw = flex_raw(exec_id(1))
    del raw[name]
    reason, detail = refusal(path, statement([raw, raw]))
    assert (reason, detail) == ("flex_columns_missing", f"the query must state {name}")


def test_all_missing_columns_are_named_at_once(path: Path) -> None:
    lost = ("tradePrice", "dateTime", "tradeDate", "ibExecID", "transactionID", "tradeID")
    raw = {name: text for name, text in flex_raw(exec_id(1)).items() if name not in lost}
    told = refusal(path, statement([raw]))[1]
    assert told == (
        "the query must state tradePrice or price; dateTime or tradeDate + tradeTime; "
        "ibExecID or execID or transactionID or tradeID"
    )


def test_a_column_missing_in_some_rows_costs_those_rows_only(path: Path) -> None:
    poor = {name: text for name, text in flex_raw(exec_id(1)).items() if name != "conid"}
    [chunk] = read(write(path, statement([poor, flex_raw(exec_id(2))])))
    assert (len(chunk.rows), [one.detail for one in chunk.refusals], chunk.fetched_count) == (1, ["conid"], 2)


def test_other_levels_of_detail_are_passed_over_and_counted(path: Path) -> None:
    summary = flex_raw(exec_id(1), levelOfDetail="ORDER")
    body = statement([flex_raw(exec_id(2), levelOfDetail="EXECUTION"), summary])
    body = body.replace(b"</Trades>", b'<Order accountId="U1234567" /><Lot accountId="U1234567" /></Trades>')
    [chunk] = read(write(path, body))
    assert (len(chunk.rows), chunk.fetched_count, chunk.skipped_count) == (1, 1, 3)


def test_scenario_37_unknown_attributes_and_notes_pass_and_unknown_types_are_kept_apart(path: Path) -> None:
    rows = [
        flex_raw(exec_id(1), somethingNew="x", notes="P;Zz"),
        flex_raw(exec_id(2), transactionType="Gift"),
        flex_raw(exec_id(3), dateTime="20260105;103000 EDT"),
    ]
    [chunk] = read(write(path, statement(rows)))
    assert [one.reason for one in chunk.refusals] == ["unknown_transaction_type"]
    [late, early] = sorted((row for row in chunk.rows if isinstance(row, Sighting)), key=lambda one: one.ib_exec_id)
    assert (late.raw["somethingNew"], late.facts.notes) == ("x", ("P", "Zz"))
    assert early.facts.executed_at == datetime(2026, 1, 5, 14, 30, tzinfo=UTC)


def test_the_nickname_of_an_account_is_left_out(path: Path) -> None:
    [chunk] = read(write(path, statement([flex_raw(exec_id(1), acctAlias="Savings")])))
    [row] = chunk.rows
    assert "acctAlias" not in row.raw


def test_a_row_that_names_no_account_is_of_its_statement(path: Path) -> None:
    [chunk] = read(write(path, statement([flex_raw(exec_id(1), accountId="")], account="U7654321")))
    assert [row.account_id for row in chunk.rows] == [2]


def test_rows_are_sorted_within_a_chunk(path: Path) -> None:
    rows = [
        flex_raw(exec_id(3), dateTime="20260105;110000"),
        flex_raw(exec_id(2, 2), accountId="U1234567", transactionID="9"),
        flex_raw(exec_id(2, 1), transactionID="8"),
        cancel_raw("-100", transactionID="5", origTransactionID="8"),
        flex_raw(exec_id(1), accountId="U7654321", dateTime="20260105;090000"),
    ]
    [chunk] = read(write(path, statement(rows)))
    names = [
        row.ib_exec_id if isinstance(row, Sighting) else "cancel" for row in chunk.rows if isinstance(row, Sighting | Cancel)
    ]
    assert names == ["cancel", exec_id(2, 1), exec_id(2, 2), exec_id(3), exec_id(1)]


def test_a_long_document_comes_in_chunks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert flex_statement.CHUNK_ROWS_MAX == 5_000
    monkeypatch.setattr(flex_statement, "CHUNK_ROWS_MAX", 50)
    count = 117
    body = statement(flex_document.trades(count, ["U1234567", "U7654321"], DAY))
    chunks = read(write(path, body))
    assert [len(one.rows) for one in chunks] == [50, 50, 17]
    ids = {row.ib_exec_id for one in chunks for row in one.rows if isinstance(row, Sighting)}
    assert len(ids) == count


def test_positions_are_read_beside_the_trades(path: Path) -> None:
    held = [
        flex_document.position("U1234567", "AAPL", 265598, "-100", "10.25", "11"),
        flex_document.position("U1234567", "AAPL", 265598, "-60", "10.5", "11", levelOfDetail="LOT"),
        flex_document.position("U1234567", "MSFT", 272093, "NaN", "1", "1"),
        flex_document.position("U9", "SPY", 756733, "5", "1", "1"),
    ]
    [chunk] = read(write(path, statement([], positions=held)))
    [one] = chunk.positions
    assert (one.account_id, one.conid, one.quantity, one.average_cost, one.mark_price) == (
        1,
        265598,
        Decimal(-100),
        Decimal("10.25"),
        Decimal(11),
    )
    assert ([one.reason for one in chunk.refusals], chunk.skipped_count, chunk.fetched_count) == (["bad_number"], 2, 1)


def test_a_closed_document_is_gone(path: Path) -> None:
    document = write(path, statement([]))
    assert document.head.startswith("<?xml")
    document.close()
    document.close()
    assert not path.exists()
