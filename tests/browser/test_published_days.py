"""Journey through the published days: figures in their order, one of them whole, another day, and what was restated."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewTab
from tests.support.browser import READ_KEY, Desk
from tests.support.browser_scenes import BEFORE, RESTATED, days_published


@pytest.fixture(scope="module", autouse=True)
def _days(desk: Desk) -> None:
    days_published(desk)


def test_a_published_day_stands_in_its_order_opens_a_figure_and_says_what_was_restated(new_tab: NewTab, desk: Desk) -> None:
    """Journey 13."""
    tab = new_tab(key=READ_KEY)
    page = tab.open("snapshot", date=RESTATED)
    told = desk.ask("/timed/snapshot", date=RESTATED)["snapshot"]
    assert page.locator(".kpi-name").all_inner_texts() == [one["kpi"] for one in told["kpis"]]
    assert page.locator(".kpi-value").all_inner_texts() == [one["value"] for one in told["kpis"]]
    missing = page.get_by_role("button", name="Win rate")
    assert missing.inner_text().split("\n") == ["Win rate", "—", "nothing was closed"]
    expect(page.locator(".proof")).to_contain_text("version 2 · published elsewhere")
    assert page.locator(".proof code").get_attribute("title") == told["content_sha256"]

    page.get_by_role("button", name="Equity").click()
    expect(page.locator("#kpi-title")).to_be_focused()
    panel = tab.settled().locator("#kpi-detail")
    expect(panel.locator("canvas").first).to_be_visible()
    panel.get_by_role("button", name="Show as table").click()
    points = desk.ask("/timed/snapshot/series", date=RESTATED, kpi="Equity")["points"]
    expect(panel.locator(".chart tbody tr")).to_have_count(len(points))
    assert panel.locator(".extremes tbody th").all_inner_texts() == ["1 AMZN", "2 AMD", "1 TSLA", "2 NVDA"]

    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Equity")).to_be_focused()
    page.keyboard.press("Enter")

    restated = page.get_by_role("region", name="What was restated").get_by_role("row", name="Realized PnL")
    assert [cell.inner_text() for cell in restated.get_by_role("cell").all()][:4] == ["1 → 2", "$77.00", "$99.00", "+22"]
    expect(restated).to_contain_text("AMZN TRIM 6f1c9b1e, recorded after publication")

    page.get_by_role("navigation", name="Published days").get_by_role("link", name="Jan 30").click()
    expect(page.get_by_text("Not restated")).to_be_visible()
    assert f"date={BEFORE}" in page.url
    assert "kpi=Equity" in page.url, "the figure stays open on another day"
    page.go_back()
    expect(page.get_by_role("link", name="Feb 2")).to_have_attribute("aria-current", "date")


def test_on_a_phone_the_day_stands_in_two_columns_and_privacy_hides_its_amounts(sized_tab: NewTab) -> None:
    tab = sized_tab(width=360)
    page = tab.open("snapshot", date=RESTATED, kpi="Equity")
    assert not tab.scrolls_sideways()
    lefts = page.locator(".kpi").evaluate_all("cards => new Set(cards.map(card => card.getBoundingClientRect().left)).size")
    assert lefts == 2
    assert tab.findings() == []
    page.get_by_role("button", name="Privacy").click()
    shown = page.evaluate("document.querySelector('main').outerHTML")
    assert "$" not in shown
    assert "222.5" not in shown
    assert page.get_by_role("button", name="Win rate").inner_text().split("\n")[1] == "—"
