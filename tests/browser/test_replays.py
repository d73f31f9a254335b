"""Journey through a replay: started, watched, compared with live, which stays as it is."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import NewTab
from tests.support.browser import READ_KEY, Desk
from tests.support.browser_scenes import refused

OTHER_PROFILE = "tt-2026-02-12"


def test_a_replay_is_started_watched_and_compared_with_live_which_stays_as_it_is(new_tab: NewTab, desk: Desk) -> None:
    """Journey 15."""
    live = desk.ask("/timed/ledger/trades", limit="500")["trades"]
    tab = new_tab()
    page = tab.open("replay")
    start = page.get_by_role("button", name="Start the replay")
    page.get_by_label("Config profile").fill(OTHER_PROFILE)
    page.get_by_label("Clean slate").check()
    expect(start).to_be_disabled()
    page.get_by_label("to confirm").fill("CLEAN 2026-02-04")
    expect(start).to_be_disabled()
    page.get_by_label("to confirm").fill("CLEAN 2026-02-03")
    with tab.expecting(404):  # nothing is compared yet
        start.click()
        expect(page.get_by_text("Started.")).to_be_visible()
        row = page.get_by_role("region", name="Replay runs").get_by_role("row", name=OTHER_PROFILE)
        expect(row.get_by_text("paused").or_(row.get_by_text("done", exact=True))).to_be_visible()
        (run,) = [one for one in desk.ask("/timed/replay/runs")["runs"] if one["profile"] == OTHER_PROFILE]
        expect(row).to_contain_text(f"{run['progress']['buckets_done']} of {run['progress']['buckets_total']} buckets")
        expect(row.get_by_role("progressbar")).to_be_visible()
        page.get_by_role("button", name=re.compile("Compare (now|again)")).click()
        expect(page.get_by_role("button", name="Compare again")).to_be_enabled()
        expect(page.get_by_role("heading", name="First divergence")).to_be_visible()
        tab.refresh()
    found = desk.ask("/timed/replay/compare", left=run["run_id"], right="live")
    first = found["first_divergence"]
    expect(page.locator(".divergence")).to_contain_text(f"First divergence: {first['ticker']}")
    expect(page.locator(".divergence")).to_contain_text(f"by rule {first['rule']}")
    entries = page.locator(".totals").get_by_role("row", name="Entries").locator("td").all_inner_texts()
    assert entries[:2] == [str(found["left"]["totals"]["entries"]), str(found["right"]["totals"]["entries"])]
    differing = [one for one in found["trades"] if one["status"] != "equal"]
    expect(page.get_by_role("region", name="Trades that differ").locator("tbody tr")).to_have_count(len(differing))
    expect(page.get_by_role("figure", name="Equity of A and B")).to_be_visible()
    assert desk.ask("/timed/ledger/trades", limit="500")["trades"] == live
    page.set_viewport_size({"width": 360, "height": 900})
    assert not tab.scrolls_sideways()


def test_a_read_key_sees_no_form_and_its_order_is_refused(sized_tab: NewTab, desk: Desk) -> None:
    tab = sized_tab(width=360, key=READ_KEY)
    page = tab.open("replay")
    expect(page.get_by_text("A replay is started with an admin key.")).to_be_visible()
    assert page.get_by_role("button", name="Start the replay").count() == 0
    assert not tab.scrolls_sideways()
    assert refused(desk, "/timed/admin/replay-runs", {"date": "2026-02-03"}, READ_KEY) == 403
    assert tab.findings() == []
