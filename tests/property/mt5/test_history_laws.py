"""Law 8 and its kin: the watermark never falls and never passes what is not proven; money of generated accounts adds up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5.cash import CashCheck, check, lowered, sums
from fillbook.mt5.deals import money_of
from fillbook.mt5.history import Gap, Proof, after_check, begin, taken, watermark
from fillbook.mt5.model import AccountState, DealPage, Head, Window
from fillbook.mt5.words import CashBucket, CashResult
from tests.support.mt5_deals import NOW, START_MSC, deal, stored
from tests.support.mt5_histories import Broker, brokers, half

GAP_AMOUNTS = st.sampled_from([Decimal(0), Decimal(5), Decimal(9)])


@st.composite
def runs(draw: st.DrawFn) -> tuple[int, int, bool, bool, Decimal, bool]:
    """(minutes since the last run, server clock error, every page came, info came, money missing, paired)."""
    return (
        draw(st.integers(1, 1000)),
        draw(st.integers(-5_000, 5_000)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(GAP_AMOUNTS),
        draw(st.integers(0, 9)) == 0,
    )


@half
@given(history=st.lists(runs(), max_size=30), is_proven=st.booleans())
def test_law_8_the_watermark_never_falls_and_never_passes_what_is_not_proven(
    history: list[tuple[int, int, bool, bool, Decimal, bool]], is_proven: bool
) -> None:
    state = AccountState(next_due_at=NOW, lease_token=1, opening_balance=Decimal(0), opening_proven=is_proven)
    now, gap = NOW, None
    for minutes, error, is_whole, has_info, amount, is_paired in history:
        now += timedelta(minutes=minutes)
        server = START_MSC + int((now - NOW).total_seconds()) * 1000 + error
        reading = replace(begin(Window(from_msc=0, to_msc=server + 1)), is_whole=is_whole, known_msc=server, count=1)
        found: CashCheck | None = None
        if has_info:
            result = CashResult.UNAVAILABLE if is_paired else CashResult.GAP if amount else CashResult.OK
            found = CashCheck(result=result, gap=amount)
            step = after_check(state, found, gap)
            if step.reanchors:
                found = CashCheck(result=CashResult.REANCHORED, gap=amount)
            gap = None if step.closes else Gap(opened_at=now if step.opens or gap is None else gap.opened_at, amount=amount)
            gap = gap if found.result is CashResult.GAP else None
            state = replace(state, cash_gap_runs=step.cash_gap_runs)
        before = state.history_until_msc
        after = watermark(state, Proof(reading=reading, check=found, gap=gap), now)
        assert before is None or (after is not None and after >= before)
        if after != before:
            assert is_whole
            assert has_info
            assert after == server
            assert gap is None or (is_proven and now - gap.opened_at >= timedelta(hours=24))
        state = replace(state, history_until_msc=after)


@half
@given(data=st.data(), count=st.integers(0, 60), size=st.integers(1, 9))
def test_pages_of_a_quiet_window_bring_every_deal_once(data: st.DataObject, count: int, size: int) -> None:
    deals = [deal(1 + number, 5, "buy", "in", 1, 1, number // 3) for number in range(count)]
    head = Head(login=1, server="s", server_time_msc=START_MSC, as_of=NOW)
    reading, cursor, found = begin(Window(from_msc=0, to_msc=START_MSC * 2)), 0, []
    while not reading.is_whole:
        part = deals[cursor : cursor + size]
        cursor += size
        page = DealPage(head=head, deals=tuple(part), total=count, next_cursor=str(cursor) if cursor < count else None)
        stop_after = data.draw(st.integers(1, 20))
        reading, step = taken(reading, page, stop_after)
        found += part
        assert step.name in ("READ", "DONE", "STOP")
        if step.name == "STOP":
            reading = begin(reading.window, reading.cursor)
    assert found == deals


@half
@given(data=st.data(), broker=brokers())
def test_the_money_of_an_account_adds_up_from_any_floor_and_misses_what_is_missing(data: st.DataObject, broker: Broker) -> None:
    balance, credit = Decimal(broker.balance).scaleb(-2), Decimal(broker.credit).scaleb(-2)
    everything = stored(*broker.deals)
    at_msc = broker.now + 10_000
    floor, deeper = sorted(data.draw(st.tuples(*[st.integers(START_MSC, broker.now + 1)] * 2)), reverse=True)
    opening = balance - _total(broker, floor)
    found = sums(everything, at_msc, floor, CashBucket.BALANCE)
    assert check(balance, credit, found, opening_balance=None, currency_digits=2).opening_balance == opening
    below = [one for one in everything if deeper <= one.deal.time_msc < floor]
    assert lowered(opening, below, CashBucket.BALANCE) == balance - _total(broker, deeper)
    whole = sums(everything, at_msc, None, CashBucket.BALANCE)
    proven = check(balance, credit, whole, opening_balance=None, currency_digits=2)
    assert (proven.result, proven.opening_balance, proven.opening_proven) == (CashResult.OK, 0, True)
    gone = data.draw(st.sampled_from(broker.deals))
    if abs(money_of(gone)) > Decimal("0.01") and gone.deal_type != 3:
        rest = sums(stored(*(one for one in broker.deals if one is not gone)), at_msc, None, CashBucket.BALANCE)
        missing = check(balance, credit, rest, opening_balance=Decimal(0), currency_digits=2)
        assert (missing.result, missing.gap) == (CashResult.GAP, money_of(gone))


def _total(broker: Broker, floor: int) -> Decimal:
    return sum((money_of(one) for one in broker.deals if one.time_msc >= floor and one.deal_type != 3), Decimal(0))
