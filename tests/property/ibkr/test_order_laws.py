"""Law 1 over the cores: what counts is a function of everything known, never of the order it became known in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fillbook.ibkr.corrections import settle
from fillbook.ibkr.model import Row
from fillbook.ibkr.parents import resolve
from tests.support.ibkr import FIRST, sorted_out
from tests.support.ibkr_histories import commissions, days


@given(days(), st.randoms(use_true_random=False))
def test_any_order_of_rows_gives_the_same_states_and_trades(rows: list[Row], chance: st.DataObject) -> None:
    told = [*rows, *commissions(rows)]
    shuffled = list(told)
    chance.shuffle(shuffled)
    one, other = settle(*sorted_out(told)), settle(*sorted_out(shuffled))
    assert one == other
    backwards = list(reversed(other.executions))
    chance.shuffle(backwards)
    assert resolve(FIRST, one.executions) == resolve(FIRST, backwards)


@given(days(), st.randoms(use_true_random=False))
def test_telling_any_part_again_changes_nothing(rows: list[Row], chance: st.DataObject) -> None:
    again = chance.sample(rows, chance.randint(0, len(rows)))
    assert settle(*sorted_out(rows)) == settle(*sorted_out([*again, *rows]))


@given(days())
def test_at_most_one_row_counts_in_each_slot_and_every_row_has_one_trade(rows: list[Row]) -> None:
    settlement = settle(*sorted_out(rows))
    slots = [one.slot for one in settlement.executions if one.is_canonical]
    assert len(slots) == len(set(slots))
    resolution = resolve(FIRST, settlement.executions)
    assert sorted(one.ib_exec_id for one in resolution.executions) == sorted(one.ib_exec_id for one in settlement.executions)
    assert {one.trade_id for one in resolution.executions} == {trade.trade_id for trade in resolution.trades}
    perms = [trade.ib_perm_id for trade in resolution.trades if trade.ib_perm_id is not None]
    assert len(perms) == len(set(perms))
    keys = [key for trade in resolution.trades for key in trade.keys]
    assert len(keys) == len(set(keys))
    for one in settlement.executions:
        assert (one.state == "voided") <= (one.voided_by_event_id is not None)
