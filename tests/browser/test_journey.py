"""Journeys through a position: its lots and executions, why they were done, what was corrected, and what the desk noted."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewTab
from tests.support.browser import READ_KEY, Desk, Tab
from tests.support.browser_broker import BOOK, LOTS, SOLD, Broker
from tests.support.browser_scenes import SCRIPT, checked, message_removed
from tests.support.tracker_journeys import next_minute, receipt

ZERO = Decimal(0)
EDGE_PX = 2
PAINTED = """chart => {
    // how far what is drawn in the line's colour, the word of an entry as well, stands from both ends of the plot, in px
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.setProperty("color", "var(--tt-info)");
    const wanted = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    probe.remove();
    const plot = chart.querySelector("td:nth-child(2) canvas");
    const {data, width, height} = plot.getContext("2d").getImageData(0, 0, plot.width, plot.height);
    const columns = [];
    const isOurs = at => data[at + 3] > 200 && wanted.every((part, number) => Math.abs(part - data[at + number]) < 3);
    for (let x = 0; x < width; x += 1) for (let y = 0; y < height; y += 1) if (isOurs(4 * (y * width + x))) {
        columns.push(x);
        break;
    }
    return [columns[0], width - 1 - columns.at(-1)].map(px => px / devicePixelRatio); }"""
LINKS = ["Receipt", "Signal", "Lane decision", "Intent", "Fill", "Execution", "Closing", "Event", "Message", "Published figure"]


@pytest.fixture(scope="module")
def left(desk: Desk) -> dict[str, Any]:
    """A position that was entered and left, and told."""
    desk.send(receipt(next_minute(desk), "ZZWY"))
    desk.send(receipt(next_minute(desk), "ZZWY", price=Decimal("96.90")))
    desk.tell()
    return position(desk, "ZZWY", "live")


def position(desk: Desk, ticker: str, book: str = BOOK) -> dict[str, Any]:
    """The newest position of a ticker as the API answers it."""
    found: dict[str, Any] = desk.ask("/timed/trades", READ_KEY, books=book, ticker=ticker, include="lots,actions")["trades"][0]
    return found


def amount(text: str) -> Decimal:
    """A figure of the page as a number; FLAT is nothing, a dash is not known."""
    return ZERO if text.strip() == "FLAT" else Decimal(re.sub(r"[^0-9.-]", "", text.replace("−", "-")))


def fact(page: Page, name: str) -> str:
    """A figure of the head."""
    return page.locator(f".journey-facts div:has(dt:text-is('{name}')) dd").inner_text()


def column(page: Page, table: str, label: str) -> list[str]:
    """The texts of one column of a table's body."""
    return page.locator(f"{table} tbody [data-label='{label}']").all_inner_texts()


def test_a_trimmed_position_tells_lots_and_executions_and_keeps_what_the_desk_noted(
    desk: Desk, broker: Broker, tab: Tab, new_tab: NewTab, width: int
) -> None:
    """Journey 8."""
    name = LOTS[width]
    trade = position(desk, name)
    page = tab.open(f"positions/{trade['position_id']}", books=BOOK)
    assert column(page, ".journey-lots", "Remaining") == ["5", "10"]
    assert [amount(text) for text in column(page, ".journey-lots", "Price")] == [100, 110]
    assert sum(map(amount, column(page, ".journey-lots", "Unrealized")), ZERO) == amount(fact(page, "Unrealized P&L")) == 125
    assert page.locator(".executions .pill").all_inner_texts() == ["ENTRY", "ADD ENTRY", "TRIM"]
    earned = [text for text in column(page, ".executions", "Net P&L") if text != "opens"]
    assert sum(map(amount, earned), ZERO) == amount(fact(page, "Realized P&L")) == Decimal(trade["realized_pnl"])
    assert [amount(text) for text in column(page, ".executions", "VWAP after")] == [100, 105, Decimal("106.6667")]
    expect(page.locator(".journey-chart canvas").first).to_be_visible()
    page.get_by_role("button", name="Show as table").click()
    marked = [text for text in page.locator(".journey-chart [data-label=Marked]").all_inner_texts() if text]
    assert marked == ["TRIM", "ADD", "ENTRY"]
    expect(page.locator(".journey-chart figcaption")).to_contain_text("between 100.00 and 120.00")
    page.get_by_role("button", name="Show as chart").click()

    page.get_by_role("button", name="Write a note").click()
    page.get_by_role("textbox", name="Notes").fill("Good entry, late add.\nWatch the gap.")
    page.get_by_label(re.compile("Tags")).fill("breakout, late add")
    page.get_by_role("button", name="Store").click()
    expect(page.get_by_role("button", name="Edit")).to_be_focused()
    noted = page.locator(".journey-notes")
    happened: dict[str, Callable[[], object]] = {"stored": lambda: None, "read again": page.reload, "synced": broker.synced}
    happened["corrected"] = lambda: broker.corrects(name, "l2", "110.50")
    for what, happens in happened.items():
        happens()
        tab.settled()
        tab.refresh()
        expect(page.locator(".journey-head .badge", has_text="corrected")).to_have_count(int(what == "corrected"))
        expect(noted).to_contain_text("Watch the gap.")
        assert noted.locator(".notes-tags li").all_inner_texts() == ["breakout", "late add"], what
    assert amount(fact(page, "Unrealized P&L")) == 120
    tab.picture("journey")

    reader = new_tab(key=READ_KEY).open(f"positions/{position(desk, name)['position_id']}", books=BOOK)
    expect(reader.locator(".journey-notes")).to_contain_text("Watch the gap.")
    expect(reader.locator(".journey-notes button")).to_have_count(0)


@pytest.mark.usefixtures("broker")
def test_words_that_were_overtaken_are_not_lost(desk: Desk, tab: Tab, new_tab: NewTab, width: int) -> None:
    """Two people write, one of whom means ill: the second is told, sees both texts, and decides."""
    path = f"positions/{position(desk, SOLD[width])['position_id']}"
    first, second = tab.open(path, books=BOOK), new_tab().open(path, books=BOOK)
    first.get_by_role("button", name="Write a note").click()
    first.get_by_role("textbox", name="Notes").fill("mine")
    first.get_by_role("button", name="Store").click()
    expect(first.get_by_role("button", name="Edit")).to_be_visible()
    second.keyboard.press("r")
    second.get_by_role("button", name="Edit").click()
    second.get_by_role("textbox", name="Notes").fill(SCRIPT)
    second.get_by_role("button", name="Store").click()
    expect(second.locator(".notes-text")).to_have_text(SCRIPT)
    first.get_by_role("button", name="Edit").click()
    first.get_by_role("textbox", name="Notes").fill("mine, again")
    with tab.expecting(412):
        first.get_by_role("button", name="Store").click()
        expect(first.locator(".notes-overtaken")).to_contain_text(SCRIPT)
    expect(first.get_by_role("textbox", name="Notes")).to_have_value("mine, again")
    first.get_by_role("button", name="Keep mine").click()
    first.get_by_role("button", name="Store").click()
    expect(first.locator(".notes-text")).to_have_text("mine, again")
    assert [page.locator("main img").count() for page in (first, second)] == [0, 0]


def test_the_why_of_an_exit_is_told_link_by_link_and_what_is_missing_is_named(desk: Desk, left: dict[str, Any], tab: Tab) -> None:
    """Journey 9."""
    assert left["status"] == "CLOSED"
    told = left["execution_actions"][-1]
    exit_id = told["action_id"]
    page = tab.open(f"positions/{left['position_id']}", open=exit_id)
    page.get_by_role("button", name="Why was this done?").click()
    names = page.locator(".why-name")
    expect(names.first).to_have_text("Receipt")
    assert [name for name, _ in itertools.groupby(names.all_inner_texts())] == LINKS
    for link in page.locator(".why-link").all():
        link.locator("summary").click()
        expect(link.locator(".why-more")).to_be_visible()
    lane = page.locator(".why-link", has_text="Lane decision")
    expect(lane).to_contain_text("Stop reached".lower())
    assert lane.locator(".table tbody tr").count() > 5, "the rules it compared"
    at = datetime.fromtimestamp(told["ts"] / 1000, UTC)
    message_removed(desk, told["message"]["message_id"])
    checked(desk, at - timedelta(seconds=1), at + timedelta(seconds=1))
    page.reload()
    tab.settled()
    expect(page.locator(".executions [data-label=Message]").last).to_have_text("missing")
    page.get_by_role("button", name="Why was this done?").click()
    message = page.locator(".why-link.is-missing", has_text="Message")
    expect(message).to_contain_text("the message is not there any more")
    expect(page.locator(".why > .hint")).to_contain_text("message")
    tab.picture("journey-why")


def test_a_correction_of_the_broker_changes_figures_and_message_together(
    desk: Desk, broker: Broker, tab: Tab, width: int
) -> None:
    """Journey 10."""
    name = SOLD[width]
    trade = position(desk, name)
    page = tab.open(f"positions/{trade['position_id']}", books=BOOK, open=trade["execution_actions"][-1]["action_id"])
    assert amount(fact(page, "Realized P&L")) == 40
    before = desk.ask("/timed/ledger/summary", READ_KEY, books=BOOK)["totals"][0]["realized_pnl"]
    expect(page.locator(".execution-detail")).to_contain_text("version 1 of 1 posted")
    broker.corrects(name, "i2", "21.50")
    tab.refresh()
    expect(page.locator(".journey-facts")).to_contain_text("$60.00")
    corrected = page.locator(".journey-corrections")
    expect(corrected).to_contain_text("Version 2")
    changed = {row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in corrected.locator("tbody tr").all()}
    assert changed["Price"] == ["21.00", "21.50"]
    assert changed["Net P&L"] == ["+$40.00", "+$60.00"]
    after = desk.ask("/timed/ledger/summary", READ_KEY, books=BOOK)["totals"][0]["realized_pnl"]
    assert Decimal(after) - Decimal(before) == 20
    expect(page.locator(".execution-detail")).to_contain_text("version 2 of 2 posted")
    tab.picture("journey-corrected")


@pytest.mark.usefixtures("broker")
def test_a_phone_reads_the_whole_journey_without_scrolling_sideways(desk: Desk, sized_tab: NewTab) -> None:
    """Journey 8 at 360 px: tables are labelled rows."""
    tab = sized_tab(width=360, key=READ_KEY)
    page = tab.open(f"positions/{position(desk, LOTS[1440])['position_id']}", books=BOOK)
    expect(page.locator(".journey-chart canvas").first).to_be_visible()
    left, right = page.locator(".journey-chart").evaluate(PAINTED)
    assert left > EDGE_PX < right, "the words at the first and the last execution are whole"
    assert not tab.scrolls_sideways()
    label = page.evaluate("getComputedStyle(document.querySelector('.journey-lots td'), '::before').content")
    assert label == '"Quantity"'
    tab.picture("journey")
