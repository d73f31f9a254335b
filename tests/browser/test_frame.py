"""Journeys through the frame: logging in, and what every view has in common."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import NewTab
from tests.support.browser import ADMIN_KEY, Desk


def test_a_wrong_key_is_told_and_the_right_one_opens_today(new_tab: NewTab, desk: Desk) -> None:
    """Journey 1."""
    tab = new_tab(key=None)
    page = tab.page
    page.goto(desk.url)
    expect(page.get_by_label("Desk key")).to_be_focused()
    assert page.url == f"{desk.url}/app/today"
    page.keyboard.type("not-a-key")
    with tab.expecting(401):
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("does not open the desk")
    page.get_by_label("Desk key").fill(ADMIN_KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Equity").first).to_be_visible()
    tab.settled()
    kept = page.evaluate("[document.cookie, JSON.stringify({...localStorage}), JSON.stringify({...sessionStorage}), location.href]")
    assert not any(ADMIN_KEY in one for one in kept)
