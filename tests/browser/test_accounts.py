"""Journeys through the broker accounts: who follows badly and why, which days are covered, and texts that stay texts."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewTab
from tests.support.browser import READ_KEY, Desk
from tests.support.browser_scenes import BARRED, GOOD, REFUSED, SCRIPT, accounts_in_trouble, late_deals_arrive
from tests.support.waiting import wait_until

WIDTHS = (360, 768, 1440, 2560)
GAP = "2026-01-29"
ARE_VISIBLE = """cells => cells.length > 0 && cells.every(cell => {
    const {width, height} = cell.getBoundingClientRect();
    return width * height > 0 && getComputedStyle(cell).visibility === "visible"; })"""
COLOURS = """words => words.map(word => { const found = getComputedStyle(word); return [found.color, found.backgroundColor]; })"""


@pytest.fixture(scope="module")
def accounts(desk: Desk) -> Iterator[dict[str, str]]:
    """Linked accounts: one that lacks deals, one refused, one that waits for a person; their ids by name."""
    with accounts_in_trouble(desk) as ids:
        yield ids


def listed(page: Page) -> list[list[str]]:
    """The account list of MT5, cell by cell."""
    read = "rows => rows.map(row => [...row.querySelectorAll('th, td')].map(cell => cell.innerText.trim()))"
    found: list[list[str]] = page.locator(".table-frame").first.locator("tbody tr").evaluate_all(read)
    return [row for row in found if "MT5" in row[0]]


def told(desk: Desk) -> dict[str, dict[str, object]]:
    """The accounts of MT5 that the API answers with, by id."""
    return {one["account_id"]: one for one in desk.ask("/api/v1/accounts", platform="mt5", limit="500")["items"]}


def test_a_failed_sync_stands_first_with_its_error_and_a_late_fill_turns_a_gap_into_a_proven_day(
    new_tab: NewTab, desk: Desk, accounts: dict[str, str], width: int
) -> None:
    """Journey 14."""
    tab = new_tab()
    page = tab.open("accounts")
    first, lacking = [row[0].split(" ")[0] for row in listed(page)], accounts[GOOD[width]]
    assert first[:2] == [BARRED, REFUSED], "the worst stands first"
    rows = {row[0].split(" ")[0]: row for row in listed(page)}
    assert rows[BARRED][1] == "needs login 3 in a row"
    assert rows[REFUSED][1] == "failing 1 in a row"
    assert rows[REFUSED][4] == "never"
    assert rows[REFUSED][8].startswith("auth_failed: Failed to fetch account info: Broker refused the login")
    assert rows[SCRIPT.split(" ")[0]][6] == str(told(desk)[accounts[GOOD[1440]]]["closed_today"])
    assert page.locator(".fleet .pill").all_inner_texts()[:2] == ["1 needs login", "1 failing"]

    tab.turn("accounts", account=lacking, tab="coverage", days="30")
    day = page.locator(f"[data-day='{GAP}']")
    expect(day).to_have_attribute("title", re.compile("Thu, Jan 29, 2026: gap"))
    tab.picture("accounts-gap")
    late_deals_arrive(desk, GOOD[width])
    runs = desk.ask(f"/api/v1/accounts/{lacking}/sync-runs")["count"]
    page.get_by_role("button", name="Sync now").click()
    expect(page.get_by_text("Asked for.")).to_be_visible()
    wait_until(lambda: desk.ask(f"/api/v1/accounts/{lacking}/sync-runs")["count"] > runs)
    tab.refresh()
    expect(day).to_have_attribute("title", re.compile("Thu, Jan 29, 2026: proven, run "))
    page.get_by_role("tab", name="Sync runs").click()
    run = tab.settled().locator("#account-panel tbody tr").first
    expect(run).to_contain_text("mt5 manual")
    expect(run).to_contain_text("success")


def test_a_read_key_sees_no_button_and_its_order_is_refused(new_tab: NewTab, desk: Desk, accounts: dict[str, str]) -> None:
    tab = new_tab(key=READ_KEY)
    page = tab.open("accounts", account=accounts[REFUSED])
    expect(page.get_by_text("A sync is asked for with an admin key.")).to_be_visible()
    assert page.get_by_role("button", name="Sync now").count() == 0


@pytest.mark.usefixtures("accounts")
def test_no_width_makes_the_accounts_scroll_sideways_and_every_figure_is_there(sized_tab: NewTab) -> None:
    tab = sized_tab(width=WIDTHS[0], key=READ_KEY)
    page = tab.open("accounts")
    everything = listed(page)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert not tab.scrolls_sideways(), width
        assert page.locator(".table-frame").first.locator("tbody :is(th, td)").evaluate_all(ARE_VISIBLE)
        assert [row[1:4] + row[5:] for row in listed(page)] == [row[1:4] + row[5:] for row in everything]
        label = page.evaluate("getComputedStyle(document.querySelector('.table td'), '::before').content")
        assert label == ('"State"' if width < 768 else "none")


@pytest.mark.usefixtures("accounts")
def test_the_list_is_reached_and_scrolled_by_keyboard(sized_tab: NewTab) -> None:
    tab = sized_tab(width=800, key=READ_KEY)  # where the table is wider than its frame
    page = tab.open("accounts")
    page.locator("main").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Broker accounts")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    wait_until(lambda: page.evaluate("document.activeElement.scrollLeft") > 0)


@pytest.mark.usefixtures("accounts")
def test_texts_of_brokers_and_people_stay_texts_and_states_can_be_read_in_both_themes(new_tab: NewTab) -> None:
    tab = new_tab(key=READ_KEY)
    page = tab.open("accounts")
    assert page.title() == "Accounts · Trade Tracker"
    assert page.locator("main img, main script").count() == 0
    assert page.locator("main .table").first.inner_text().count(SCRIPT) == 2
    for theme in ("dark", "light"):
        tab.theme(theme)
        for text, ground in page.locator(".account-state .pill, .fleet .pill").evaluate_all(COLOURS):
            assert contrast(text, ground) >= 4.5, (theme, text, ground)
        assert tab.findings() == []


def contrast(first: str, second: str) -> float:
    """The contrast of two colours as WCAG counts it."""
    lights = sorted(luminance([int(part) for part in re.findall(r"\d+", one)[:3]]) for one in (first, second))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(parts: list[int]) -> float:
    """How bright a colour is to the eye, 0 to 1."""
    red, green, blue = (part / 3294.6 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
