"""Deals read again: revisions, repetitions, and the slow proof that one is gone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from fillbook.mt5.deals import standing
from fillbook.mt5.model import Deal, DealVersion, Window
from fillbook.mt5.revisions import Missed, content_hash, content_text, is_gone, merge, missed, withdraw
from tests.support.mt5_deals import NOW, at, cash, deal, stored

ONE = deal(1, 5, "buy", "in", 1, "1.10", comment="mine", magic=7)
LATER = NOW + timedelta(hours=1)


def known(*deals: Deal):
    return {one.deal.deal_ticket: one for one in stored(*deals)}


def test_a_new_ticket_is_a_first_revision_and_touches_its_position():
    found = merge({}, [ONE, cash(2, 2, 100)], NOW)
    assert [(each.deal.deal_ticket, each.revision, each.recorded_at) for each in found.versions] == [(1, 1, NOW), (2, 1, NOW)]
    assert found.positions == {5}


def test_the_same_content_however_it_is_written_is_nothing_new():
    spelled = replace(ONE, price=Decimal("1.100"), profit=Decimal("-0.0"), extra={"new": "field"})
    assert merge(known(ONE), [spelled, ONE], NOW).versions == ()
    assert content_hash(spelled) == content_hash(ONE)
    assert content_hash(replace(ONE, price=Decimal("1.1001"))) != content_hash(ONE)


def test_content_is_a_list_of_texts_whatever_stands_in_them():
    texts = {"symbol": 'EUR"\\\u00e9\u2028\U0001f600', "comment": "", "reason": None}
    odd = replace(ONE, volume=Decimal("1E+2"), price=Decimal("1.10E-7"), **texts)
    whole = ["1", str(odd.order_id), "5", str(odd.time_msc), "0", "0", None]
    said = [*whole, odd.symbol, "100", "0.00000011", *("0" * 4), "7", "", None]
    assert json.loads(content_text(odd)) == said
    assert content_text(odd) == json.dumps(said, separators=(",", ":"))


def test_other_content_is_the_next_revision_and_touches_both_positions():
    found = merge(known(ONE), [replace(ONE, position_id=6, price=Decimal("1.2"))], LATER)
    assert [(each.revision, each.withdrawn) for each in found.versions] == [(2, False)]
    assert found.positions == {5, 6}


def test_of_a_ticket_twice_in_one_answer_the_last_row_counts():
    found = merge({}, [ONE, replace(ONE, profit=Decimal(3))], NOW)
    assert [each.deal.profit for each in found.versions] == [3]


def test_a_field_that_is_not_said_keeps_what_is_known():
    silent = replace(ONE, comment=None, magic=None)
    assert merge(known(ONE), [silent], LATER).versions == ()
    [version] = merge(known(ONE), [replace(silent, profit=Decimal(1))], LATER).versions
    assert (version.deal.comment, version.deal.magic) == ("mine", 7)
    [told] = merge(known(silent), [ONE], LATER).versions
    assert (told.revision, told.deal.comment) == (2, "mine")


def test_the_highest_revision_stands_and_the_first_reading_is_remembered():
    versions = [
        DealVersion(deal=replace(ONE, profit=Decimal(2)), revision=2, recorded_at=LATER),
        DealVersion(deal=ONE, recorded_at=NOW),
    ]
    for order in (versions, versions[::-1]):
        [one] = standing(order).values()
        assert (one.revision, one.deal.profit, one.first_read_at) == (2, 2, NOW)


def test_a_withdrawn_deal_that_is_read_again_counts_again():
    gone = withdraw(known(ONE)[1], LATER)
    assert (gone.revision, gone.withdrawn) == (2, True)
    versions = [DealVersion(deal=ONE, recorded_at=NOW), gone]
    [back] = merge(standing(versions), [ONE], LATER).versions
    assert (back.revision, back.withdrawn) == (3, False)


def test_only_complete_reads_of_its_own_time_miss_a_deal():
    window = Window(from_msc=at(0), to_msc=at(60))
    outside = deal(2, 6, "buy", "in", 1, 1, 60)
    first = missed(stored(ONE, outside), [], window, {}, NOW)
    assert first == {1: Missed(deal_ticket=1, first_missed_at=NOW, reads=1)}
    second = missed(stored(ONE, outside), [], window, first, LATER)
    assert second[1] == Missed(deal_ticket=1, first_missed_at=NOW, reads=2)
    assert missed(stored(ONE, outside), [1], window, second, LATER) == {}
    assert missed(stored(ONE), [], Window(from_msc=at(30), to_msc=at(60)), second, LATER) == second
    assert missed(stored(ONE, withdrawn=True), [], window, second, LATER) == {}


def test_three_reads_over_a_day_make_a_deal_gone():
    one = Missed(deal_ticket=1, first_missed_at=NOW, reads=3)
    assert not is_gone(one, NOW + timedelta(hours=23))
    assert is_gone(one, NOW + timedelta(hours=24))
    assert not is_gone(replace(one, reads=2), NOW + timedelta(hours=48))
