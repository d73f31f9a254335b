"""Every KPI of a published day is followed down to its fills; where it is a sum, their parts add up to it (case W1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger import service
from fillbook.ledger.model import Book, Fill, Mark, Side
from fillbook.runtime.db import Database
from fillbook.snapshot.fills import BASES
from tests.support.snapshot_api import DAY, NOW, Api, put
from tests.support.snapshot_days import CLOSE_AT, NUMBERS, W1

Query = Callable[..., list[dict[str, Any]]]
OPENED = datetime(2026, 2, 11, 14, 40, tzinfo=UTC)
BOOKED = datetime(2026, 2, 11, 20, 0, tzinfo=UTC)
START_CASH = Decimal(100_000)
# symbol, side, quantity, price, fees, executed at
FILLS = (
    ("AAPL", Side.BUY, "10", "100", "1", OPENED),
    ("AAPL", Side.BUY, "10", "110", "1", OPENED + timedelta(minutes=5)),
    ("AAPL", Side.SELL, "5", "120", "0.50", OPENED + timedelta(minutes=10)),
    ("TSLA", Side.SELL, "4", "250", "1", datetime(2026, 2, 11, 15, tzinfo=UTC)),
    ("TSLA", Side.BUY, "4", "255", "1", datetime(2026, 2, 11, 16, 3, tzinfo=UTC)),
)
ADDED_UP = {name for name, basis in BASES.items() if basis.measure is not None}


def fill(number: int, symbol: str, side: Side, quantity: str, price: str, fees: str, at: datetime) -> Fill:
    """A fill of the signal."""
    return Fill(
        source="signal",
        source_id=f"{symbol}#{number}",
        instrument=symbol,
        ticker=symbol,
        contract_name=symbol,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fx_rate=Decimal(1),
        fees=Decimal(fees),
        fees_currency="USD",
        fees_rate=Decimal(1),
        executed_at=at,
        session_date=date(2026, 2, 11),
        received_at=at,
        reason="tp_hit",
    )


def published() -> dict[str, Any]:
    """W1 as it is published."""
    rows = [
        {
            "kpi": name,
            "value": text,
            "value_num": None if number is None else str(number),
            "kind": kind,
            "unit": unit,
            "sort_order": 10 * place,
        }
        for place, (name, kind, unit, number, text, _) in enumerate(W1, start=1)
    ]
    return {
        "date": DAY,
        "updated_at": "2026-02-11T20:55:00.000Z",
        "rows": rows,
        "stage": "final",
        "kpi_version": 1,
        "watermark": {
            "as_of": "2026-02-11T21:30:00.000Z",
            "valuation_at": "2026-02-11T21:00:00.000Z",
            "last_recorded_at": "2026-02-11T20:00:00.000Z",
        },
        "provenance": {"books": ["live"], "late_actions": []},
    }


@pytest.fixture
def traded(db: Database, receiver: Database) -> Database:
    """W1 in the ledger, and published."""
    mark = Mark(
        instrument="AAPL",
        price=Decimal(115),
        bid=Decimal("114.90"),
        ask=Decimal("115.10"),
        marked_at=CLOSE_AT - timedelta(minutes=5),
        source="signal",
    )
    with db.transaction() as tx:
        service.open_book(tx, Book(book_id="live", start_cash=START_CASH), OPENED - timedelta(hours=1))
        service.book_fills(tx, "live", [fill(number, *one) for number, one in enumerate(FILLS)], BOOKED)
        service.mark(tx, "live", [mark], BOOKED)
    put(receiver, published())
    return db


def of(api: Api, kpi: str, **more: object) -> dict[str, Any]:
    """The fills behind a KPI of the day."""
    found: dict[str, Any] = api.read("/v1/metrics/kpis/fills", kpi=kpi, date=DAY, **more)
    return found


@pytest.mark.usefixtures("traded")
def test_where_a_figure_is_a_sum_the_parts_of_its_fills_add_up_to_what_was_published(api: Api) -> None:
    for name in sorted(ADDED_UP):
        told = of(api, name)
        parts = [item["contribution"] for item in told["items"]]
        known = [Decimal(str(part)) for part in parts if part is not None]
        expected = Decimal(NUMBERS[name] or 0) - (START_CASH if name == "Equity" else 0)
        assert (sum(known), Decimal(told["total"])) == (expected, expected), name
        assert (told["actions"], told["is_sum"]) == (len(parts), True), name
        assert Decimal(str(told["value_num"])) == Decimal(NUMBERS[name] or 0)


@pytest.mark.usefixtures("traded")
def test_every_kpi_has_fills_behind_it_and_each_is_a_row_of_the_ledger(api: Api, query: Query) -> None:
    known = {str(row["action_id"]): row for row in query("select * from ledger.v_actions")}
    assert set(BASES) == {name for name, *_ in W1}
    for name in BASES:
        told = of(api, name)
        assert told["items"], name
        for item in told["items"]:
            row = known[item["action_id"]]
            assert (item["action_type"], Decimal(str(item["quantity"])), Decimal(str(item["fees"]))) == (
                row["action_type"],
                row["quantity"],
                row["fees"],
            )
        assert [item["executed_at"] for item in told["items"]] == sorted(item["executed_at"] for item in told["items"])
    assert [item["action_type"] for item in of(api, "Entries opened")["items"]] == ["ENTRY", "ENTRY"]
    assert {item["symbol"] for item in of(api, "Win rate")["items"]} == {"TSLA"}
    assert [item["symbol"] for item in of(api, "Open positions")["items"]] == ["AAPL", "AAPL"]
    assert of(api, "Profit factor")["total"] is None


@pytest.mark.usefixtures("traded")
def test_fills_are_paged_by_time_and_a_total_stays_that_of_all(api: Api) -> None:
    whole = of(api, "Fees paid")
    seen: list[dict[str, Any]] = []
    page = of(api, "Fees paid", limit=2)
    while True:
        seen += page["items"]
        assert (page["total"], page["actions"]) == ("4.5", 5)
        if page["next_cursor"] is None:
            break
        page = of(api, "Fees paid", limit=2, cursor=page["next_cursor"])
    assert seen == whole["items"]
    assert len(seen) == 5


def test_a_fill_that_came_after_the_publication_is_shown_as_late_and_left_out_of_the_total(traded: Database, api: Api) -> None:
    with traded.transaction() as tx:
        late = fill(9, "TSLA", Side.BUY, "1", "200", "3", datetime(2026, 2, 11, 18, tzinfo=UTC))
        service.book_fills(tx, "live", [late], NOW + timedelta(minutes=1))
    told = of(api, "Fees paid")
    assert [(item["symbol"], item["fees"], item["is_late"]) for item in told["items"]][-1] == ("TSLA", 3, True)
    assert (told["total"], told["actions"]) == ("4.5", 6)


@pytest.mark.usefixtures("traded")
def test_a_day_without_fills_and_a_figure_that_nobody_published_say_so(api: Api) -> None:
    assert api.get(f"/v1/metrics/kpis/fills?kpi=Nothing&date={DAY}").status_code == 404
    api.post({**published(), "date": "2026-02-10", "updated_at": "2026-02-10T21:00:00.000Z", "watermark": None})
    told = api.read("/v1/metrics/kpis/fills", kpi="Fees paid", date="2026-02-10")
    assert (told["items"], told["actions"], told["total"]) == ([], 0, None)
    api.post({**published(), "date": "2026-02-08", "updated_at": "2026-02-08T21:00:00.000Z"})
    refused = api.get("/v1/metrics/kpis/fills?kpi=Fees%20paid&date=2026-02-08")
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (404, "no_session")


@pytest.mark.usefixtures("traded")
def test_whatever_a_watermark_says_it_says_nothing_worse_than_the_whole_day(api: Api) -> None:
    odd = {"as_of": "soon", "valuation_at": 7, "last_recorded_at": None}
    api.post(
        {
            **published(),
            "updated_at": "2026-02-11T21:00:00.000Z",
            "watermark": odd,
            "provenance": {"books": "live", "x": [1.5]},
            "headline": "odd",
        }
    )
    told = of(api, "Fees paid")
    assert (told["books"], told["total"], [item["is_late"] for item in told["items"]]) == (["live"], "4.5", [None] * 5)
