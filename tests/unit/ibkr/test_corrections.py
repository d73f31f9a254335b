"""Corrections, cancels, busts, rebooks, settling: the state of every row from everything known, in any order."""

from decimal import Decimal
from itertools import permutations

from fillbook.ibkr.corrections import settle
from fillbook.ibkr.words import Source
from tests.support.ibkr import cancel, desk, exec_id, flex, report, sorted_out, tws


def settled(*rows):
    """The settlement, the same for every order in which the rows are given."""
    results = {repr(settle(*sorted_out(order))) for order in permutations(rows)}
    assert len(results) == 1
    return desk(*rows)


def test_the_higher_revision_rules_and_the_lower_is_superseded():
    one = settled(tws(exec_id(1, 1), "BOT", "100"), tws(exec_id(1, 2), "BOT", "60"), tws(exec_id(1, 3), "BOT", "70"))
    assert one.states == {exec_id(1, 1): "superseded", exec_id(1, 2): "superseded", exec_id(1, 3): "live"}
    assert one.executions[exec_id(1, 3)].supersedes_execution_id == one.executions[exec_id(1, 2)].execution_id
    assert one.trades[0].total_quantity == 70


def test_a_revision_of_another_instrument_or_side_is_a_second_fill():
    for texts in ({"conId": "2"}, {"side": "SLD"}, {"permId": "7"}):
        one = settled(tws(exec_id(1, 1)), tws(exec_id(1, 2), **texts))
        assert one.states == {exec_id(1, 1): "live", exec_id(1, 2): "anomaly"}
        assert ("revision_mismatch", exec_id(1, 2)) in one.anomalies


def test_a_revision_that_counts_up_is_a_second_fill():
    one = settled(tws(exec_id(1, 1), cumQty="100"), tws(exec_id(1, 2), "BOT", "60", cumQty="160"))
    assert one.states == {exec_id(1, 1): "live", exec_id(1, 2): "anomaly"}
    corrected = settled(tws(exec_id(1, 1), cumQty="100"), tws(exec_id(1, 2), "BOT", "60", cumQty="60"))
    assert corrected.states == {exec_id(1, 1): "superseded", exec_id(1, 2): "live"}


def test_the_next_revision_joins_the_group_it_corrects():
    rows = [tws(exec_id(1, 1)), tws(exec_id(1, 2), conId="2"), tws(exec_id(1, 3), conId="2"), tws(exec_id(1, 4))]
    one = settled(*rows)
    assert one.states == {
        exec_id(1, 1): "superseded",
        exec_id(1, 2): "superseded",
        exec_id(1, 3): "anomaly",
        exec_id(1, 4): "live",
    }


def original(transaction="100", name=1, revision=1, **texts):
    return flex(exec_id(name, revision), transactionID=transaction, tradeID="500", **texts)


def test_a_bust_voids_its_row_in_every_order():
    bust = cancel("-100", transactionID="101", origTransactionID="100", origTradeID="500")
    one = settled(original(), bust)
    assert one.states == {exec_id(1): "voided"}
    [event] = one.settlement.events
    assert (event.state.value, event.ib_exec_id) == ("applied", exec_id(1))
    assert one.executions[exec_id(1)].voided_by_event_id == event.event_id
    assert (one.trades[0].total_quantity, one.trades[0].avg_price, one.trades[0].status.value) == (0, None, "cancelled")


def test_a_bust_without_its_row_waits():
    bust = cancel("-100", transactionID="101", origTransactionID="100")
    one = settled(bust)
    assert [event.state.value for event in one.settlement.events] == ["parked"]
    assert one.anomalies == [("cancel_parked", "tx:101")]


def test_a_bust_told_by_the_statement_silences_the_socket_too():
    one = settled(tws(exec_id(1)), original(), cancel("-100", transactionID="101", origTransactionID="100"))
    assert one.states == {exec_id(1): "voided"}


def test_a_cancel_and_a_rebook_under_one_id_count_once():
    rebook = original("102", ibCommission="0")
    one = settled(original(ibCommission="-6"), cancel("-100", transactionID="101", origTransactionID="100"), rebook)
    row = one.executions[exec_id(1)]
    assert (row.state.value, row.facts.transaction_id, row.facts.commission) == ("live", 102, 0)


def test_a_highest_revision_that_is_voided_leaves_nothing_that_counts():
    rows = [original(), original("102", revision=2), cancel("-100", transactionID="103", origTransactionID="102")]
    assert settled(*rows).states == {exec_id(1, 1): "superseded", exec_id(1, 2): "voided"}


def test_a_cancel_without_transaction_id_is_matched_by_trade_quantity_and_price():
    confirmed = flex(exec_id(1), tradeID="500", source=Source.CONFIRMATION)
    other = flex(exec_id(2), tradeID="501", source=Source.CONFIRMATION)
    bust = cancel("-100", origTradeID="500", source=Source.CONFIRMATION)
    assert settled(confirmed, other, bust).states == {exec_id(1): "voided", exec_id(2): "live"}
    unequal = cancel("-99", origTradeID="500", source=Source.CONFIRMATION)
    assert settled(confirmed, unequal).anomalies == [("cancel_parked", unequal.event_key)]


def test_a_cancel_that_could_mean_two_rows_voids_neither():
    one = settled(
        flex(exec_id(1), tradeID="500"), flex(exec_id(2), tradeID="500"), cancel("-100", transactionID="9", origTradeID="500")
    )
    assert set(one.states.values()) == {"live"}
    assert ("cancel_ambiguous", "tx:9") in one.anomalies


def test_a_later_booking_is_not_what_an_earlier_cancel_meant():
    assert settled(original("100"), cancel("-100", transactionID="99", origTradeID="500")).states == {exec_id(1): "live"}


def test_a_confirmed_cancel_is_absorbed_by_the_statements():
    confirmed = flex(exec_id(1), tradeID="500", source=Source.CONFIRMATION)
    early = cancel("-100", origTradeID="500", source=Source.CONFIRMATION)
    statement = cancel("-100", transactionID="101", origTransactionID="100", origTradeID="500")
    one = settled(confirmed, early, original(), statement, original("102"))
    assert one.states == {exec_id(1): "live"}
    assert [event.state.value for event in one.settlement.events] == ["applied", "applied"]


def test_fractions_are_cancelled_in_transaction_order():
    def fraction(transaction):
        return flex("", "-0.276942", "203.698646", transactionType="FracShare", transactionID=transaction)

    undo = cancel("0.276942", "203.698646", transactionType="FracShareCancel", transactionID="35")
    one = settled(fraction("34"), fraction("33"), undo, fraction("36"))
    assert one.states == {"tx:33": "voided", "tx:34": "live", "tx:36": "live"}


def test_the_statement_speaks_and_the_socket_fills_in():
    one = settled(
        tws(exec_id(1), orderId="94", orderRef="FB-1", cumQty="100"), original(ibOrderID="77"), report(exec_id(1), "0.9")
    )
    row = one.executions[exec_id(1)]
    assert (row.facts.ib_perm_id, row.facts.ib_order_id, row.facts.order_ref) == (1400000001, 94, "FB-1")
    assert (row.facts.transaction_id, row.facts.commission, row.facts.liquidity) == (100, Decimal(1), "2")
    assert row.facts.executed_at_text == "20260105 15:30:00 UTC"
    assert [source.value for source in row.sources] == ["statement", "tws"]
    assert not one.anomalies


def test_a_later_null_never_erases():
    one = settled(original("100", orderReference="x", seen=60), original("100", orderReference="", seen=90))
    assert one.executions[exec_id(1)].facts.order_ref == "x"


def test_times_that_differ_by_more_than_a_minute_open_an_anomaly_and_the_statement_wins():
    one = settled(tws(exec_id(1), time="20260105 15:31:01 UTC"), original())
    assert one.anomalies == [("time_differs", exec_id(1))]
    assert one.executions[exec_id(1)].facts.executed_at_text == "20260105;103000"
    assert not settled(tws(exec_id(1), time="20260105 15:31:00 UTC"), original()).anomalies


def test_the_socket_settles_which_of_two_autumn_hours_it_was():
    late = "20261101 06:30:00 UTC"
    one = settled(tws(exec_id(1), time=late), original(dateTime="20261101;013000", tradeDate="20261101"))
    assert not one.anomalies
    assert one.executions[exec_id(1)].facts.executed_at_text == late


def test_sources_that_say_another_price_or_quantity_open_an_anomaly():
    one = settled(tws(exec_id(1), "BOT", "100", "10.6"), original())
    assert one.anomalies == [("sources_differ", exec_id(1))]
    assert one.executions[exec_id(1)].facts.price == Decimal("10.5")


def test_inner_pieces_give_way_to_the_statements_row():
    pieces = [tws(exec_id(1, slot="03", fifth=fifth), "SLD") for fifth in ("01", "02")]
    one = settled(*pieces)
    assert set(one.states.values()) == {"live"}
    whole = flex(exec_id(1, slot="03"), "-200", transactionID="7")
    one = settled(*pieces, whole)
    assert one.states == {pieces[0].ib_exec_id: "superseded", pieces[1].ib_exec_id: "superseded", whole.ib_exec_id: "live"}
    assert not one.anomalies
    unequal = settled(*pieces, flex(exec_id(1, slot="03"), "-150", transactionID="7"))
    assert ("settled_quantity_mismatch", "0000e0d5.1.03") in unequal.anomalies


def test_one_fill_under_two_keys_is_shown_and_both_count():
    one = settled(flex(exec_id(1), transactionID="5"), flex("", transactionID="5"))
    assert one.states == {exec_id(1): "live", "tx:5": "live"}
    assert ("id_shared", "tx:5") in one.anomalies


def test_a_late_commission_fills_in_and_the_last_known_one_counts():
    first, last = report(exec_id(1), "1.05", seen=1), report(exec_id(1), "1.05", pnl="12.5", seen=2)
    facts = settled(tws(exec_id(1)), first, last).executions[exec_id(1)].facts
    assert (facts.commission, facts.broker_realized_pnl) == (Decimal("1.05"), Decimal("12.5"))
    assert settled(tws(exec_id(1))).executions[exec_id(1)].facts.commission is None
