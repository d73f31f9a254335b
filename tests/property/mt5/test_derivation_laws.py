"""Laws of derivation (1 to 7, 15): order, splits and repetition change nothing; volume and money are conserved; truth is met."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5.deals import money_of
from fillbook.mt5.fills import wanted
from fillbook.mt5.model import Deal
from fillbook.mt5.revisions import withdraw
from fillbook.mt5.trades import View
from fillbook.mt5.words import CashKind, TradeStatus
from tests.support.mt5_deals import NOW, Desk, derived, facts, shown, terms, utc
from tests.support.mt5_histories import Broker, brokers, half, polls, quarter, truth

KNOWN = (facts("EURUSD"), facts("USDJPY", 100_000, "JPY"))


def desk_of(broker: Broker, deals: Iterable[Deal] = ()) -> Desk:
    desk = Desk(terms(*KNOWN, hedging=broker.hedging))
    desk.poll(deals)
    return desk


def last_view(broker: Broker) -> View:
    return View.of(broker.now + 1, broker.positions())


def agrees_with_truth(desk: Desk, broker: Broker) -> None:
    expected = truth(broker)
    assert set(desk.rows) == set(expected)
    for key, said in expected.items():
        row = desk.rows[key]
        assert {name: getattr(row, name) for name in said} == said
    for life in broker.lives:
        row = desk.rows[life.position, life.number]
        assert row.open_time == utc(life.begun_msc)
        assert row.close_time == (None if life.ended_msc is None else utc(life.ended_msc))


@half
@given(data=st.data(), broker=brokers())
def test_law_1_any_order_and_any_split_into_polls_give_the_same_trades_cash_and_book(data: st.DataObject, broker: Broker) -> None:
    expected, desk = desk_of(broker), desk_of(broker)
    expected.poll(broker.deals, last_view(broker))
    for read in data.draw(polls(broker.deals)):
        desk.poll(read)
    desk.poll((), last_view(broker))
    assert desk.trades == expected.trades
    assert desk.operations == expected.operations
    assert desk.held == expected.held
    assert desk.world.parked == expected.world.parked
    assert desk.world.state_hash == expected.world.state_hash


@quarter
@given(data=st.data(), broker=brokers())
def test_law_1_snapshots_of_any_moment_between_polls_change_nothing_in_the_end(data: st.DataObject, broker: Broker) -> None:
    expected, desk = desk_of(broker), desk_of(broker)
    expected.poll(broker.deals, last_view(broker))
    ids = [life.position for life in broker.lives]
    for read in data.draw(polls(broker.deals)):
        seen = data.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
        moment = data.draw(st.integers(broker.deals[0].time_msc - 1, broker.now))
        side = data.draw(st.sampled_from(["buy", "sell"]))
        volume = Decimal(data.draw(st.integers(1, 40))).scaleb(-2)
        desk.poll(read, View.of(moment, [shown(each, side, volume) for each in seen]))
    desk.poll((), last_view(broker))
    told = [row for row in desk.trades if (row.position_id, row.episode) in expected.rows]
    assert told == expected.trades
    assert desk.world.state_hash == expected.world.state_hash


@half
@given(broker=brokers())
def test_law_2_the_same_answer_again_changes_no_row_and_tells_nothing(broker: Broker) -> None:
    desk = desk_of(broker)
    desk.poll(broker.deals, last_view(broker))
    before = (desk.changed, len(desk.versions), desk.world.chain_head)
    desk.poll(broker.deals, last_view(broker))
    desk.poll(broker.deals, last_view(broker), all_told=True)
    assert (desk.changed, len(desk.versions), desk.world.chain_head) == before


@half
@given(broker=brokers())
def test_law_3_volume_is_conserved_and_the_parts_of_a_reversal_sum_to_it(broker: Broker) -> None:
    desk = desk_of(broker, broker.deals)
    for found in desk.derived.values():
        for life in found.episodes:
            assert life.open_volume == life.opened - life.closed >= 0
            assert not life.missing
        told = wanted(desk.terms, found.episodes).fills
        for deal in broker.deals:
            if deal.entry == 2 and deal.position_id == found.position_id:
                parts = [leg for life in found.episodes for leg in life.legs if leg.deal.deal_ticket == deal.deal_ticket]
                assert len(parts) == 2
                assert sum(leg.volume for leg in parts) == deal.volume
                assert sum(leg.net for leg in parts) == money_of(deal)
                assert sum(leg.commission for leg in parts) == deal.commission
                names = (str(deal.deal_ticket), f"{deal.deal_ticket}#2")
                assert sum(fill.quantity for fill in told if fill.source_id in names) == deal.volume


@half
@given(broker=brokers())
def test_law_4_trades_and_cash_are_the_balance(broker: Broker) -> None:
    desk = desk_of(broker, broker.deals)
    moved = sum(each.amount for each in desk.operations.values() if each.kind is not CashKind.CREDIT)
    assert sum(row.net_pnl or 0 for row in desk.trades) + moved == Decimal(broker.balance).scaleb(-2)
    credit = sum(each.amount for each in desk.operations.values() if each.kind is CashKind.CREDIT)
    assert credit == Decimal(broker.credit).scaleb(-2)


@given(data=st.data(), broker=brokers())
def test_law_5_rebuilt_and_incremental_states_are_the_truth_of_the_operations(data: st.DataObject, broker: Broker) -> None:
    rebuilt, desk = desk_of(broker, broker.deals), desk_of(broker)
    agrees_with_truth(rebuilt, broker)
    for read in data.draw(polls(broker.deals)):
        desk.poll(read)
    agrees_with_truth(desk, broker)
    assert {ticket: Decimal(cents).scaleb(-2) for ticket, cents in broker.cash.items()} == {
        ticket: each.amount for ticket, each in desk.operations.items()
    }


@half
@given(data=st.data(), broker=brokers())
def test_law_6_no_snapshot_up_to_its_last_deal_reopens_what_is_closed(data: st.DataObject, broker: Broker) -> None:
    read = [each for each in broker.deals if each.entry != 0 or data.draw(st.booleans())]
    desk = desk_of(broker, read)
    closed = [row for row in desk.trades if row.status is TradeStatus.CLOSED]
    for row in closed:
        assert row.last_deal_msc is not None
        moment = data.draw(st.integers(row.last_deal_msc - 100_000, row.last_deal_msc))
        volume = row.volume + data.draw(st.integers(0, 3))
        seen = View.of(moment, [shown(row.position_id, row.side.value, volume)])
        desk.poll((), seen)
        assert desk.rows[row.position_id, row.episode] == row


@half
@given(data=st.data(), broker=brokers(), absences=st.integers(1, 15))
def test_law_7_absence_alone_never_closes(data: st.DataObject, broker: Broker, absences: int) -> None:
    read = [each for each in broker.deals if each.entry != 1 or data.draw(st.booleans())]
    desk = desk_of(broker)
    desk.poll(read, View.of(broker.now + 1, broker.positions()))
    before = desk.trades
    for poll in range(absences):
        desk.poll(read, View.of(broker.now + 2 + poll, ()))
    for row, earlier in zip(desk.trades, before, strict=True):
        assert (row.status is TradeStatus.CLOSED) is (earlier.status is TradeStatus.CLOSED)
        if row.status is TradeStatus.CLOSE_PENDING and earlier.status is TradeStatus.OPEN:
            assert row.pending_polls == absences


@half
@given(data=st.data(), broker=brokers(hedging=True))
def test_law_15_open_lots_of_a_position_are_its_open_volume(data: st.DataObject, broker: Broker) -> None:
    desk = desk_of(broker)
    for read in data.draw(polls(broker.deals)):
        desk.poll(read)
    held: dict[str | None, Decimal] = {}
    for lot in desk.world.memory.lots.values():
        if lot.status == "OPEN":
            held[lot.lot_ref] = held.get(lot.lot_ref, Decimal(0)) + lot.quantity_open
    assert held == {str(row.position_id): row.open_volume for row in desk.trades if row.open_volume}
    assert desk.world.parked == {}


@half
@given(data=st.data(), broker=brokers())
def test_the_book_of_a_flat_episode_has_its_net_pnl_within_half_a_digit_per_close(data: st.DataObject, broker: Broker) -> None:
    desk = desk_of(broker)
    for read in data.draw(polls(broker.deals)):
        desk.poll(read)
    booked: dict[tuple[int, int], Decimal | None] = {}
    for version in desk.world.actions:
        action = version.action
        if action.closings:
            key = (int(action.meta["position_id"]), action.meta["episode"])
            known = booked.get(key, Decimal(0))
            booked[key] = None if known is None or action.realized_pnl_base is None else known + action.realized_pnl_base
    for life in broker.lives:
        if life.ended_msc is not None and not life.has_no_rate and _is_whole(desk, life.position, life.number):
            said, net = booked[life.position, life.number], desk.rows[life.position, life.number].net_pnl
            assert said is not None
            assert net is not None
            assert abs(said - net) <= Decimal("0.005") * life.closings


def _is_whole(desk: Desk, position: int, number: int) -> bool:
    """In netting FIFO lots and averages agree per flat episode, since no lot outlives it."""
    return desk.rows[position, number].status is TradeStatus.CLOSED


@half
@given(data=st.data(), broker=brokers())
def test_a_deal_edited_or_withdrawn_ends_as_if_it_had_always_been_so(data: st.DataObject, broker: Broker) -> None:
    gone = data.draw(st.sampled_from(broker.deals))
    edited = replace(gone, commission=gone.commission - 1, price=gone.price + Decimal("0.00010"))
    is_edited = data.draw(st.booleans())
    desk = desk_of(broker, broker.deals)
    if is_edited:
        desk.poll([edited])
    else:
        desk.take([withdraw(desk.stored[gone.deal_ticket], NOW)])
    expected = desk_of(
        broker, [edited if each is gone and is_edited else each for each in broker.deals if is_edited or each is not gone]
    )
    assert desk.trades == expected.trades
    assert desk.operations == expected.operations
    assert desk.held == expected.held
    assert desk.world.parked == expected.world.parked
    assert desk.world.state_hash == expected.world.state_hash


@quarter
@given(broker=brokers(hedging=False))
def test_a_position_derived_in_any_order_of_its_deals_is_the_same(broker: Broker) -> None:
    for position in {life.position for life in broker.lives}:
        deals = [each for each in broker.deals if each.position_id == position]
        assert derived(deals[::-1]) == derived(deals)
