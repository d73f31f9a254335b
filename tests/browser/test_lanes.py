"""Journeys through Kanban: lanes, their cards, and why a ticker is not traded."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import NewTab
from tests.support.browser import READ_KEY, Desk, Tab
from tests.support.tracker_journeys import next_minute, receipt

LANES = ["watching", "almost_ready", "enter_now", "just_entered", "hold", "trim", "exit", "archived"]
TITLES = ["Watching", "Almost Ready", "Enter Now", "Just Entered", "Hold", "Trim", "Exit", "Archived"]
MOVED, BLOCKED = "ZZWA", "ZZWB"
NARROW = 768


def board(desk: Desk) -> list[dict[str, Any]]:
    """The lanes as the API answers them."""
    lanes: list[dict[str, Any]] = desk.ask("/timed/lanes", READ_KEY)["lanes"]
    return lanes


@pytest.fixture(scope="module")
def blocked(desk: Desk) -> Desk:
    """The desk with tickers whose entry is blocked."""
    at = next_minute(desk)
    desk.send(receipt(at, MOVED, sl=None), receipt(at, BLOCKED, "Q"))
    return desk


def sentence(stage: str) -> str:
    """A stage as the page writes it."""
    return stage.replace("_", " ").capitalize()


def place(desk: Desk) -> tuple[str, dict[str, Any]]:
    """In which lane the moving card is, and the card."""
    ((key, card),) = [(lane["key"], card) for lane in board(desk) for card in lane["cards"] if card["ticker"] == MOVED]
    return key, card


def seen(page: Page, key: str) -> Locator:
    """A lane as it is looked at; a phone shows one at a time."""
    tab = page.get_by_role("tab", name=TITLES[LANES.index(key)])
    if tab.count():
        tab.click()
    return page.locator(f"[data-lane={key}]")


def test_a_receipt_moves_one_card_and_the_board_stays_where_it_was(blocked: Desk, tab: Tab, width: int) -> None:
    """Journey 6."""
    page = tab.open("lanes")
    lanes = board(blocked)
    heads = page.locator(".lane h2" if width >= NARROW else ".lanes-view [role=tab]")
    assert [text.split("\n")[0].rstrip("0123456789 ") for text in heads.all_inner_texts()] == TITLES
    assert heads.locator(".count").all_inner_texts() == [str(lane["count"]) for lane in lanes]
    for lane in lanes:
        found = seen(page, lane["key"])
        expect(found.locator(".ticket")).to_have_count(len(lane["cards"]))
        for card in lane["cards"]:
            for reason in card["reasons"]:
                expect(found.locator(f"[data-card={card['ticker']}]")).to_contain_text(reason["text"])
    before, _ = place(blocked)
    seen(page, before)
    if width >= NARROW:
        page.set_viewport_size({"width": 1000, "height": 900})  # where the board scrolls in its frame
    frame, card = page.locator(".board"), page.locator(f"[data-card={MOVED}]")
    frame.evaluate("board => { board.scrollLeft = 40; scrollTo(0, 30); }")
    card.focus()
    stands = frame.evaluate("board => [board.scrollLeft, scrollY]")
    blocked.send(receipt(next_minute(blocked), MOVED))
    tab.refresh()
    assert frame.evaluate("board => [board.scrollLeft, scrollY]") == stands
    after, moved = place(blocked)
    assert after != before
    if width >= NARROW:
        assert stands[0] == 40
        assert page.evaluate("document.activeElement.dataset.card") == MOVED, "focus goes with the card"
    else:
        expect(card).to_have_count(0)
    expect(seen(page, after).locator(f"[data-card={MOVED}]")).to_contain_text(f"from {sentence(moved['previous_stage'])}")
    expect(card).to_have_count(1)
    expect(seen(page, "almost_ready").locator(f"[data-card={BLOCKED}]")).to_have_count(1)
    page.set_viewport_size({"width": width, "height": 900})
    tab.picture("lanes")


def test_a_blocked_card_says_in_words_what_stood_in_the_way(blocked: Desk, tab: Tab) -> None:
    """Journey 7; its moves tell the same."""
    page = tab.open("lanes", ticker=BLOCKED)
    expect(page.locator(".ticket")).to_have_count(1)
    found = [card for lane in board(blocked) for card in lane["cards"] if card["ticker"] == BLOCKED]
    said = page.locator(".ticket-blocks li").all_text_contents()
    assert said == [block["text"] for block in found[0]["block_reasons"]]
    assert any("must be at least 70" in text for text in said)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.value") == BLOCKED
    page.locator(".ticket").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("must be at least 70")
    expect(dialog).to_contain_text(found[0]["receipt_id"])
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert page.evaluate("document.activeElement.dataset.card") == BLOCKED


def test_arrow_keys_walk_through_lanes_and_cards(blocked: Desk, sized_tab: NewTab) -> None:
    page = sized_tab(width=1440).open("lanes")
    lanes = [lane for lane in board(blocked) if lane["cards"]]
    page.locator(".ticket").first.focus()
    for lane in lanes[1:]:
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.closest('[data-lane]').dataset.lane") == lane["key"]
    longest = max(lanes, key=lambda lane: len(lane["cards"]))
    page.locator(f"[data-lane={longest['key']}] .ticket").first.focus()
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.card") == longest["cards"][-1]["ticker"]
    assert page.locator(".ticket[tabindex='0']").count() == len(lanes), "one stop of the keyboard in each lane"


def test_a_phone_shows_one_lane_and_a_list_of_tabs(blocked: Desk, sized_tab: NewTab) -> None:
    """Journey 6 at 360 px."""
    tab = sized_tab(width=360, key=READ_KEY)
    page = tab.open("lanes", lane="almost_ready")
    assert [text.rstrip("0123456789 \n") for text in page.get_by_role("tab").all_inner_texts()] == TITLES
    expect(page.locator(".lane")).to_have_count(1)
    expect(page.locator(f"[data-card={BLOCKED}]")).to_be_visible()
    page.get_by_role("tab", selected=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".lane h2")).to_contain_text("Enter Now")
    assert "lane=enter_now" in page.url
    assert not tab.scrolls_sideways()
    tab.picture("lanes")
