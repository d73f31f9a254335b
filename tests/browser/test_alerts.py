"""Journey through what was told: a dead letter with its remedy, a message that somebody changed, and the check that mends it."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from fillbook.notify.pacing import LADDER
from tests.browser.conftest import NewTab
from tests.support.browser import READ_KEY, Desk
from tests.support.browser_scenes import check_worked_off, day_counted, message_changed_by_hand


def test_a_dead_letter_has_a_remedy_and_a_check_finds_and_mends_a_changed_message(
    new_tab: NewTab, desk: Desk, width: int
) -> None:
    """Journey 16."""
    messages = desk.ask("/api/v1/notifications/messages", kind="execution", books="live", limit="500")["messages"]
    changed = [one for one in messages if one["message_id"] is not None][width // 360]
    (dead,) = desk.ask("/api/v1/notifications/dead-letters")["groups"]
    tab = new_tab()
    page = tab.open("alerts", tab="dead")
    group = page.locator(".groups li", has_text="in ops")
    expect(group).to_contain_text(f"exhausted {dead['count']} in ops")
    expect(group.locator("code")).to_contain_text("op notify replay --channel ops --reason exhausted")
    rows = page.get_by_role("region", name="Dead letters").locator("tbody tr")
    expect(rows.locator("[data-label='Failed tries']")).to_have_text([str(len(LADDER))] * dead["count"])

    message_changed_by_hand(desk, changed["message_id"])
    tab.turn("alerts", tab="checks")
    page.get_by_role("button", name="Start a check").click()
    expect(page.get_by_text("Queued.")).to_be_visible()
    check_worked_off(desk)
    tab.refresh()
    checks = page.get_by_role("region", name="Checks, newest first")
    asked = checks.locator("tbody tr").filter(has_text="trade_tracker").first
    expect(asked).to_contain_text(re.compile("repaired|proven"))
    found = checks.locator("tbody tr").filter(has_text="1 wrong").first  # by this check, or by the hour's that was due before it
    expect(found).to_contain_text("repaired")
    found.get_by_role("button").click()
    field = tab.settled().locator(".findings").get_by_role("row", name="quantity")
    assert field.locator("td").all_inner_texts()[1] == "4242"
    assert field.locator("td").all_inner_texts()[0] != "4242"

    tab.turn("alerts", tab="log", state="posted", channel="executions")
    row = page.get_by_role("row", name=changed["title"]).first
    row.get_by_role("button").click()
    requests = tab.settled().get_by_role("region", name="Requests for this message")
    expect(requests.get_by_role("row", name="edit").first).to_be_visible()


def test_a_read_key_reads_alerts_and_costs_on_a_phone_and_starts_nothing(sized_tab: NewTab, desk: Desk) -> None:
    tab = sized_tab(width=360, key=READ_KEY)
    page = tab.open("alerts", tab="checks")
    expect(page.get_by_text("A check is started with an admin key.")).to_be_visible()
    assert page.get_by_role("button", name="Start a check").count() == 0
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_text("Nobody counts what this desk uses.")).to_be_visible()
    day = day_counted(desk)
    tab.refresh()
    costs = page.get_by_role("region", name="What each function used that day")
    expect(costs.get_by_role("row", name="signal_worker")).to_contain_text("MB")
    expect(page.get_by_text("when nobody trades.")).to_contain_text(f"A month of 21 days like {day}: $")
    assert not tab.scrolls_sideways()
    assert tab.findings() == []
