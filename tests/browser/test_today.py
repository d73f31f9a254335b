"""Journeys on Today: the day arrives while the reader looks on, and what stands there is what the API says."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from playwright.sync_api import Page, expect

from tests.support.browser import READ_KEY, Desk, Tab

MINUTES = 25
SHOWN = 60
POLL_MS = 12_000
"""A little more than the page waits from question to question."""


def shown(page: Page, label: str) -> str:
    """The figure that stands under a label."""
    found: str = page.locator("main dl > div", has=page.get_by_text(label, exact=True)).locator("dd").first.inner_text()
    return found


def money(text: str | None) -> str:
    """An amount as the page writes it, for a result: sign, symbol, two decimals; zero is a word."""
    if text is None:
        return "—"
    value = Decimal(text)
    if value == 0:
        return "FLAT"
    return f"{'−' if value < 0 else '+'}${abs(value):,.2f}"


def executions(desk: Desk) -> list[dict[str, Any]]:
    """What the API lists of the day, newest first."""
    answer = desk.ask("/timed/activity", READ_KEY, kinds="execution,correction", limit=str(SHOWN))
    found: list[dict[str, Any]] = answer["items"]
    return found


def test_the_day_arrives_without_a_reload_and_equals_the_api(tab: Tab, desk: Desk) -> None:
    """Journey 2."""
    tab.page.clock.install()
    page = tab.open("today")
    page.evaluate("window.notReloaded = true")
    before = executions(desk)
    desk.play(MINUTES)
    after = executions(desk)
    assert after != before, "nothing was executed in these minutes"
    page.clock.fast_forward(POLL_MS)
    told = [item["figures"]["action_type"].replace("_", " ") for item in after]
    expect(page.locator(".activity-item .pill")).to_have_text(told)
    assert page.evaluate("window.notReloaded") is True
    tab.refresh()
    (worth,) = desk.ask("/timed/portfolio", READ_KEY, range="1d")["totals"]
    expect(page.locator(".account-equity")).to_have_text(f"${Decimal(worth['equity']):,.2f}")
    assert shown(page, "Unrealized") == money(worth["unrealized_pnl"])
    assert page.locator(".account-day .num").first.inner_text() == money(worth["day_pnl"])
    (results,) = desk.ask("/timed/ledger/summary", READ_KEY, since="2026-02-03")["totals"]
    counts = {name: shown(page, name.capitalize()) for name in ("entries", "adds", "trims", "exits")}
    assert counts == {name: str(results[name]) for name in counts}
    assert shown(page, "Won · lost · flat") == f"{results['wins']} W · {results['losses']} L · {results['flats']} F"
    assert shown(page, "Realized") == money(results["realized_pnl"])
    tab.picture("today")


def test_an_item_of_the_activity_opens_its_position_and_back_returns(tab: Tab, desk: Desk) -> None:
    page = tab.open("today", range="5d")
    first = executions(desk)[0]
    page.locator("a.activity-item").first.click()
    expect(page).to_have_url(re.compile(rf"/app/positions/{first['position_id']}"))
    page.go_back()
    expect(page.get_by_role("button", name="5D")).to_have_attribute("aria-pressed", "true")


def test_today_says_which_tickers_have_no_price_and_knows_nothing_that_hangs_on_them(tab: Tab) -> None:
    def without_price(document: dict[str, Any]) -> None:
        for worth in document["totals"]:
            worth |= {"missing_marks": ["ZALT"], "equity": None, "day_pnl": None, "unrealized_pnl": None}

    tab.rewrite("/timed/portfolio", without_price)
    page = tab.open("today")
    expect(page.locator(".account-card")).to_contain_text("Without a price: ZALT")
    assert page.locator(".account-equity").inner_text() == "—"
    assert page.locator(".account-equity .unknown").get_attribute("title") == "no price for ZALT"
    assert shown(page, "Unrealized") == "—"
