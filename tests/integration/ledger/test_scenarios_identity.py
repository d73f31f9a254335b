"""Scenarios 12-26, 53, 54 of the ledger specification: identity, order of arrival, corrections, busts, parked facts."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from fillbook.ledger import bookstore, store
from fillbook.ledger.model import Fill
from fillbook.ledger.rebooking import History
from fillbook.runtime.errors import Conflict, Rejected
from tests.integration.ledger.conftest import MakeWorld, World
from tests.support.campaigns import small_or_full
from tests.support.ledger import MemoryWorld, make_fill


def fact(name: str, side: str, quantity: object, price: object, minute: float = 0, **options: object) -> Fill:
    return make_fill(name, side, quantity, price, minute, source="ibkr", account_key="U1", **options)


def types(world: World) -> list[tuple[str, str, int]]:
    return [(v.action.action_type.value, v.action.direction.value, v.version) for v in world.actions]


def void_of(world: World, position_id: str, lot_id: str) -> tuple[list[str], list[str]]:
    """Status of a position and of a lot as they stand, VOID ones included."""
    if isinstance(world, MemoryWorld):
        positions, lots = list(world.memory.positions.values()), list(world.memory.lots.values())
    else:
        with world.db.transaction(read_only=True) as tx:
            positions = [position for position, _ in bookstore.positions(tx, world.book.book_id)]
            lots = list(bookstore.lots(tx, world.book.book_id))
    return (
        [position.status.value for position in positions if position.position_id == position_id],
        [lot.status.value for lot in lots if lot.lot_id == lot_id],
    )


def read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many fills each reading of an instrument's history brings, from here on."""
    counts: list[int] = []
    owner, name = (world.memory, "histories") if isinstance(world, MemoryWorld) else (store, "load_history")
    plain = getattr(owner, name)

    def counted(*given: object, **options: object) -> dict[str, History]:
        found: dict[str, History] = plain(*given, **options)
        counts.extend(len(history.fills) for history in found.values())
        return found

    monkeypatch.setattr(owner, name, counted)
    return counts


def round_trips(count: int) -> list[Fill]:
    """Bought and sold again, one after another."""
    return [fact(f"{side}{n}", side, 10, 100 + n, 2 * n + (side == "SELL")) for n in range(count) for side in ("BUY", "SELL")]


def told(world: World) -> list[str]:
    return [event_type for event_type, _ in world.told]


def test_scenario_12_the_same_fill_again_is_a_duplicate_without_effect(make_world: MakeWorld) -> None:
    world = make_world()
    fill = make_fill("a", "BUY", 10, 100)
    assert [world.deliver([fill])[0].status for _ in range(3)] == ["booked", "duplicate", "duplicate"]
    assert world.deliver([fill, fill])[1].status == "duplicate"
    assert told(world) == ["execution_booked"]


def test_scenario_13_other_content_under_the_same_key_is_a_conflict_and_the_first_stays(make_world: MakeWorld) -> None:
    world = make_world()
    world.deliver([make_fill("a", "BUY", 10, 100)])
    before = (world.state_hash, world.chain_head)
    with pytest.raises(Conflict, match="fill_content_changed"):
        world.deliver([make_fill("a", "BUY", 10, 101), make_fill("b", "BUY", 1, 1, 5)])
    assert (world.state_hash, world.chain_head) == before


def test_scenario_13_in_a_broker_book_the_conflict_is_an_outcome_and_the_rest_is_booked(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    world.deliver([fact("a", "BUY", 10, 100)])
    outcomes = world.deliver([fact("a", "BUY", 10, 101), fact("b", "BUY", 1, 100, 5)])
    assert [outcome.status for outcome in outcomes] == ["conflict", "booked"]
    assert [version.action.price for version in world.actions] == [100, 100]


def test_scenario_14_a_fee_that_becomes_known_enriches_and_is_never_forgotten(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    entry, leave = fact("a", "BUY", 10, 100), fact("b", "SELL", 10, 110, 1)
    unknown = replace(leave, fees=None)
    world.deliver([entry])
    world.deliver([unknown])
    assert world.actions[1].action.realized_pnl is None
    assert world.actions[1].action.realized_pnl_gross == 100
    assert world.deliver([replace(leave, fees=Decimal(1))])[0].status == "enriched"
    assert (world.actions[1].action.realized_pnl, world.actions[1].cause) == (99, "enrichment")
    assert world.deliver([unknown])[0].status == "duplicate"
    assert told(world) == ["execution_booked", "execution_booked", "execution_corrected"]
    _, data = world.told[-1]
    assert (data["is_direct"], data["cause"], data["changed"]) == (
        True,
        "enrichment",
        ["fees", "cash_effect", "realized_pnl", "realized_pnl_base", "position_realized_pnl_after"],
    )


def test_scenario_15_two_adds_in_one_microsecond_are_two_lots(make_world: MakeWorld) -> None:
    world = make_world()
    world.deliver([make_fill("a", "BUY", 10, 100)])
    world.deliver([make_fill("b", "BUY", 1, 100, 5), make_fill("c", "BUY", 1, 100, 5)])
    assert [kind for kind, _, _ in types(world)] == ["ENTRY", "ADD_ENTRY", "ADD_ENTRY"]
    assert len(world.positions[0].lots) == 3


def test_scenario_16_trim_and_exit_of_one_receipt_are_booked_in_their_order(make_world: MakeWorld) -> None:
    world = make_world()
    world.deliver([make_fill("a", "BUY", 10, 100)])
    world.deliver([make_fill("r#2", "SELL", 6, 101, 5, venue_order="02"), make_fill("r#1", "SELL", 4, 101, 5, venue_order="01")])
    assert [(v.action.action_type, v.action.quantity) for v in world.actions[1:]] == [("TRIM", 4), ("EXIT", 6)]


def test_scenario_17_a_close_on_a_flat_book_is_refused_and_leaves_no_row(make_world: MakeWorld) -> None:
    world = make_world()
    before = world.chain_head
    with pytest.raises(Rejected, match="nothing_to_close"):
        world.deliver([make_fill("a", "SELL", 1, 100, position_effect="close")])
    assert (world.chain_head, world.actions, world.told) == (before, [], [])


def test_scenario_18_a_broker_exit_before_its_entry_waits_and_books_itself(make_world: MakeWorld) -> None:
    world = make_world("mt5:srv:1", netting="hedge")
    sell = fact("out", "SELL", 1, 110, 5, direction="LONG", position_effect="close")
    assert world.deliver([sell])[0].reason == "nothing_to_close"
    assert [(kind, data["reason"]) for kind, data in world.told] == [("fill_parked", "nothing_to_close")]
    world.deliver([fact("in", "BUY", 1, 100, 1, direction="LONG", position_effect="open")])
    assert types(world) == [("ENTRY", "LONG", 1), ("EXIT", "LONG", 1)]
    assert world.parked == {}
    assert told(world) == ["fill_parked", "execution_booked", "execution_booked"]


def test_scenario_19_in_a_net_auto_book_the_late_entry_turns_the_short_into_an_exit(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    sold = world.deliver([fact("out", "SELL", 10, 110, 5)])[0].actions[0]
    world.deliver([fact("in", "BUY", 10, 100, 1)])
    assert types(world) == [("ENTRY", "LONG", 1), ("EXIT", "LONG", 2)]
    assert world.actions[1].action.action_id == sold.action.action_id
    assert [position.direction for position in world.positions] == ["LONG"]
    assert (world.actions[1].cause, world.actions[1].cause_seq) == ("late_fill", 3)
    short = sold.action
    assert void_of(world, short.position_id, str(short.lot_id)) == (["VOID"], ["VOID"])


def test_scenario_20_a_late_fill_changes_only_the_actions_whose_content_differs(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    world.deliver([fact("a", "BUY", 10, 100, 0), fact("b", "SELL", 10, 105, 1), fact("c", "BUY", 5, 90, 10)])
    world.deliver([fact("d", "SELL", 2, 95, 12), fact("e", "BUY", 7, 80, 11)])
    assert types(world) == [
        ("ENTRY", "LONG", 1),
        ("EXIT", "LONG", 1),
        ("ENTRY", "LONG", 1),
        ("ADD_ENTRY", "LONG", 1),
        ("TRIM", "LONG", 1),
    ]
    world.deliver([fact("late", "BUY", 1, 99, 10.5)])
    assert [version for _, _, version in types(world)] == [1, 1, 1, 1, 2, 2]


def test_scenario_21_a_late_fill_before_the_first_makes_another_position(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    world.deliver([fact("b", "BUY", 10, 100, 5)])
    old = world.positions[0].position_id
    world.deliver([fact("a", "BUY", 1, 99, 1)])
    assert types(world) == [("ENTRY", "LONG", 1), ("ADD_ENTRY", "LONG", 2)]
    assert [position.position_id for position in world.positions] == [world.actions[0].action.position_id]
    assert world.positions[0].position_id != old
    assert void_of(world, old, "")[0] == ["VOID"]


def test_scenario_22_a_late_original_under_a_known_revision_changes_nothing(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    world.deliver([fact("a", "BUY", 10, 102, source_revision=2, cause="revision")])
    before = world.state_hash
    assert world.deliver([fact("a", "BUY", 10, 100)])[0].status == "superseded"
    assert (world.state_hash, [version.action.price for version in world.actions]) == (before, [102])


def test_scenario_23_revised_busted_repeated_and_moved_to_another_instrument(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    first = fact("a", "BUY", 10, 100)
    world.deliver([first])
    assert world.deliver([replace(first, is_bust=True, cause="bust")])[0].actions[0].state == "VOID"
    assert world.deliver([first])[0].status == "duplicate"
    assert world.actions == []
    moved = replace(first, instrument="NVDA", ticker="NVDA", contract_name="NVDA", source_revision=2, cause="revision")
    world.deliver([moved])
    assert [(v.action.instrument, v.version, v.state) for v in world.actions] == [("NVDA", 3, "BOOKED")]
    assert told(world) == ["execution_booked", "execution_busted", "execution_corrected"]


def test_scenario_24_a_bust_of_the_only_entry_parks_the_close(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    entry, leave = fact("a", "BUY", 10, 100), fact("b", "SELL", 4, 101, 1, position_effect="close")
    world.deliver([entry, leave])
    world.deliver([replace(entry, is_bust=True, cause="bust")])
    assert world.actions == []
    assert world.parked == {leave.fill_id: ("AMD", "nothing_to_close")}
    assert told(world)[2:] == ["execution_busted", "execution_busted", "fill_parked"]
    world.deliver([fact("again", "BUY", 10, 100, 0.5)])
    assert [kind for kind, _, _ in types(world)] == ["ENTRY", "TRIM"]
    assert told(world)[-1] == "execution_corrected"


CORRECTED = small_or_full(700, 2_000)


def test_scenario_25_a_correction_of_2000_tells_200_and_one_restatement(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    fills = [fact(f"f{n:04}", "BUY" if n % 4 else "SELL", 1, 100 + n % 7, n / 100) for n in range(CORRECTED)]
    world.deliver(fills)
    world.deliver([replace(fills[2], source_revision=2, price=Decimal(50), cause="revision")])
    kinds = told(world)[CORRECTED:]
    assert kinds == ["execution_corrected"] * 201 + ["book_restated"]
    _, data = world.told[-1]
    assert data["instrument_id"] == "AMD"
    changed = [version for version in world.actions if version.version == 2]
    assert data["count"] == len(changed) - 1 - 200 > CORRECTED // 2
    assert [data["is_direct"] for _, data in world.told[CORRECTED : CORRECTED + 2]] == [True, False]


def test_scenario_26_a_close_above_the_open_quantity_is_refused_whole(make_world: MakeWorld) -> None:
    world = make_world()
    world.deliver([make_fill("a", "BUY", 10, 100)])
    before = world.chain_head
    with pytest.raises(Rejected, match="close_exceeds_open"):
        world.deliver([make_fill("b", "SELL", 11, 101, 1, position_effect="close")])
    assert world.chain_head == before
    broker = make_world("ibkr:U1")
    broker.deliver([fact("a", "BUY", 10, 100)])
    assert broker.deliver([fact("b", "SELL", 11, 101, 1, position_effect="close")])[0].reason == "close_exceeds_open"
    assert broker.positions[0].quantity_open == 10


def test_scenario_53_void_and_add_of_one_source_id_is_one_correction(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    fill = fact("a", "BUY", 10, 100)
    first = world.deliver([fill])[0].actions[0]
    gone = replace(fill, is_bust=True, cause="bust")
    again = replace(fill, source_revision=2, price=Decimal(101), cause="rebook")
    outcomes = world.deliver([gone, again])
    assert [outcome.status for outcome in outcomes] == ["booked", "booked"]
    assert [(v.action.action_id, v.version, v.action.price) for v in world.actions] == [(first.action.action_id, 2, 101)]
    assert told(world) == ["execution_booked", "execution_corrected"]


def test_scenario_53_another_id_taking_its_place_voids_the_old_one_silently(make_world: MakeWorld) -> None:
    world = make_world("ibkr:U1")
    old = fact("leg", "BUY", 10, 100)
    first = world.deliver([old])[0].actions[0]
    heir = fact("settled", "BUY", 10, 100, replaces_fill_id=old.fill_id, cause="settled")
    world.deliver([replace(old, is_bust=True, cause="settled"), heir])
    assert told(world) == ["execution_booked", "execution_corrected"]
    _, data = world.told[-1]
    assert data["replaces_action_id"] == first.action.action_id
    assert (data["before"]["action_id"], data["version"]) == (first.action.action_id, 1)
    assert [version.action.fill_id for version in world.actions] == [heir.fill_id]


def test_scenario_54_a_contract_size_that_becomes_known_fills_the_money_in(make_world: MakeWorld) -> None:
    world = make_world("mt5:srv:1", "SPECIFIC", "hedge", base_currency="EUR")
    options = {"direction": "LONG", "lot_ref": "77", "cash_style": "margin", "fees_currency": "EUR", "fees_rate": "1"}
    entry = fact("1", "BUY", 2, 100, 0, fees="0.5", multiplier=None, currency="XXX", position_effect="open", **options)
    leave = fact(
        "2", "SELL", 2, 101, 1, fees="0.25", multiplier=None, currency="XXX", position_effect="close", fx_rate="0.9",
        lot_picks=[("77", "2")], **options,
    )  # fmt: skip
    world.deliver([entry, leave])
    position = world.positions[0]
    assert (position.quantity_closed, position.entry_vwap, position.exit_vwap) == (2, 100, 101)
    assert (position.realized_pnl, position.realized_pnl_gross, position.fees_total) == (None, None, None)
    known = {"multiplier": Decimal(100), "currency": "USD"}
    outcomes = world.deliver([replace(entry, **known), replace(leave, **known)])
    assert [outcome.status for outcome in outcomes] == ["enriched", "enriched"]
    position = world.positions[0]
    assert (position.realized_pnl_gross, position.realized_pnl_base) == (200, Decimal("179.25"))
    # the entry's rate is unknown, so its fee is known in EUR alone
    assert position.realized_pnl is None


def test_a_correction_reads_what_lies_between_the_flat_points_around_it(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(book_id="ibkr:U1")
    world.deliver(round_trips(20))
    counts = read_again(world, monkeypatch)
    world.deliver([fact("BUY3", "BUY", 10, 90, 6, source_revision=2)])
    assert counts == [2]
    assert [v.action.realized_pnl for v in world.actions][5:8:2] == [Decimal(0), Decimal(130)]


def test_where_a_correction_leaves_something_open_everything_behind_it_is_folded(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(book_id="ibkr:U1")
    world.deliver(round_trips(20))
    counts = read_again(world, monkeypatch)
    world.deliver([fact("SELL3", "SELL", 4, 103, 7, source_revision=2)])
    assert counts == [2, 34]
    assert [position.quantity_open for position in world.positions if position.status == "OPEN"] == [Decimal(6)]


def test_a_parked_fact_is_looked_for_everything_behind_it(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(book_id="ibkr:U1")
    early = fact("early", "SELL", 5, 100, 1.5, position_effect="close", direction="LONG")
    late = fact("late", "SELL", 5, 100, 60, position_effect="close", direction="LONG")
    world.deliver([*round_trips(20), late])
    counts = read_again(world, monkeypatch)
    assert world.deliver([early])[0].status == "parked"
    assert counts == [39]
