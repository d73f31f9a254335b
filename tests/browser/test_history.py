"""Journeys through History: filters, pages and files; calendar, days and results."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewTab
from tests.browser.test_journey import amount, column
from tests.support import tracker_journeys as journeys
from tests.support.browser import READ_KEY, Desk, Tab
from tests.support.tracker_journeys import BOOK, PAST_TRADES

ZERO = Decimal(0)
MONTH = "2026-01"
NARROW = 768


@pytest.fixture(scope="module")
def past(desk: Desk) -> Desk:
    """The desk with the broker's book."""
    journeys.furnish(desk.cloud.database, desk.now)
    return desk


@contextmanager
def filters(page: Page, width: int) -> Iterator[None]:
    """The filters: on a phone they are in a sheet."""
    if width < NARROW:
        page.get_by_role("button", name=re.compile("^Filters")).click()
    yield
    if width < NARROW:
        page.keyboard.press("Escape")


def keys(page: Page) -> list[str]:
    """Which positions the list shows, by their links."""
    links: list[str] = page.eval_on_selector_all(
        ".table tbody th a", "links => links.map(link => link.pathname.split('/').pop())"
    )
    return links


def test_three_pages_of_a_filter_are_its_rows_once_each_and_so_is_its_file(past: Desk, tab: Tab, width: int) -> None:
    """Journey 11."""
    page = tab.open("history", books=BOOK)
    with filters(page, width):
        page.get_by_label("Status").select_option("closed")
        page.get_by_label("To", exact=True).fill("2026-02-02")
        page.get_by_label("P&L from").fill("-100")
        page.keyboard.press("Enter")
    assert "max_pnl" not in page.url
    page.wait_for_url(re.compile("min_pnl=-100"))
    tab.settled()
    for shown in (50, 100):
        expect(page.locator(".history-more")).to_contain_text(f"{shown} trades shown, there are more")
        page.get_by_role("button", name="Load more").click()
    expect(page.locator(".history-more")).to_contain_text("these are all")
    wanted = past.ask("/timed/trades", READ_KEY, books=BOOK, status="closed", until="2026-02-03", min_pnl="-100", limit="1000")
    rows = keys(page)
    assert len(rows) == len(set(rows)) > 100
    assert rows == [trade["position_id"] for trade in wanted["trades"]]
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    assert re.fullmatch(r"fillbook-trades-.*\.csv", saved.value.suggested_filename)
    lines = list(csv.DictReader(io.StringIO(saved.value.path().read_text("utf-8"))))
    assert [line["position_id"] for line in lines] == rows
    assert [amount(text) for text in column(page, ".history-view", "Realized")] == [
        Decimal(line["realized_pnl"]) for line in lines
    ]
    names = {line["contract_name"] for line in lines}
    assert "'=1+1" in names
    assert not any(name.startswith("=") for name in names)
    page.reload()
    tab.settled()
    with filters(page, width):
        expect(page.get_by_label("Status")).to_have_value("closed")
    tab.picture("history")


@pytest.mark.usefixtures("past")
def test_a_filter_of_a_loss_shows_losses_and_one_of_nothing_says_so(tab: Tab, width: int) -> None:
    page = tab.open("history", books=BOOK, outcome="loss", direction="SHORT")
    assert set(column(page, ".history-view", "Outcome")) == {"LOSS"}
    assert set(column(page, ".history-view", "Direction")) == {"SHORT"}
    with filters(page, width):
        page.get_by_label("Ticker").fill("NOSUCH")
        page.keyboard.press("Enter")
    expect(page.locator(".empty")).to_contain_text("No trade matches the filter")
    page.locator(".history-more").get_by_role("button", name="Clear filters").click()
    expect(page.locator(".table tbody tr").first).to_be_visible()


def test_weeks_are_the_sums_of_their_days_and_a_day_opens_its_trades(past: Desk, tab: Tab) -> None:
    """Journey 12: calendar, also by keyboard; by day; by result."""
    page = tab.open("history", books=BOOK, tab="calendar", month=MONTH)
    weeks = []
    for row in page.locator(".cal-month tbody tr").all():
        days = sum((amount(one) for one in row.locator(".cal-day .cal-result .num").all_inner_texts()), ZERO)
        weeks.append(days)
        assert amount(row.locator(".cal-week .cal-result .num").inner_text()) == days
    first, last = "2025-12-29", "2026-02-01"
    asked = past.ask("/timed/ledger/summary", READ_KEY, books=BOOK, since=first, until="2026-02-02")
    assert sum(weeks, ZERO) == Decimal(asked["totals"][0]["realized_pnl"]), (first, last)
    marks = page.locator(".cal-day:has(.cal-result)").all_inner_texts()
    assert marks
    assert all(re.search("[▲▼●]", text) for text in marks)
    tab.picture("history-calendar")
    page.locator("[data-date='2026-01-06']").focus()
    for key, date in (("ArrowRight", "2026-01-07"), ("ArrowDown", "2026-01-14"), ("End", "2026-01-16"), ("PageUp", "2025-12-16")):
        page.keyboard.press(key)
        expect(page.locator(f"[data-date='{date}']")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("from=2025-12-16.*to=2025-12-16"))
    tab.settled()
    day = past.ask("/timed/trades", READ_KEY, books=BOOK, since="2025-12-16", until="2025-12-17")
    assert keys(page) == [trade["position_id"] for trade in day["trades"]] != []

    page = tab.turn("history", books=BOOK, tab="days", **{"from": first, "to": last})
    total = amount(page.locator(".table tfoot [data-label='Realized P&L'] .num").inner_text())
    assert (
        sum(map(amount, page.locator(".table tbody [data-label='Realized P&L'] .num").all_inner_texts()), ZERO)
        == total
        == sum(weeks, ZERO)
    )
    tab.picture("history-days")

    page = tab.turn("history", books=BOOK, tab="results")
    counts = [int(re.sub(r"\D", "", text)) for text in page.locator(".distribution li > .num:last-child").all_inner_texts()]
    assert sum(counts) == PAST_TRADES
    ranked = [amount(text) for text in column(page, ".history-view", "Realized P&L")]
    assert ranked == sorted(ranked, reverse=True)
    page.get_by_role("button", name="Worst first").click()
    ranked = [amount(text) for text in column(page, ".history-view", "Realized P&L")]
    assert ranked == sorted(ranked)
    tab.picture("history-results")


def test_a_phone_has_its_filters_in_a_sheet_and_a_calendar_that_fits(past: Desk, sized_tab: NewTab) -> None:
    """Journeys 11 and 12 at 360 px."""
    tab = sized_tab(width=360, key=READ_KEY)
    page = tab.open("history", books=BOOK)
    assert not tab.scrolls_sideways()
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("dialog").get_by_label("Outcome").select_option("win")
    page.keyboard.press("Escape")
    expect(page.locator("[data-label=Outcome]").first).to_have_text("WIN")
    tab.picture("history")
    page = tab.turn("history", books=BOOK, tab="calendar", month=MONTH)
    assert not tab.scrolls_sideways()
    tab.picture("history-calendar")
