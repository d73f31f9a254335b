"""Which executions are one trade, and what they come to."""

from decimal import Decimal
from itertools import permutations

from fillbook.ibkr.parents import resolve
from fillbook.ibkr.words import Source
from tests.support.ibkr import FIRST, desk, exec_id, flex, report, tws


def trades(*rows, **options):
    """The trades, the same for every order in which the rows are given."""
    one = desk(*rows, **options)
    executions = one.settlement.executions
    for order in list(permutations(executions))[:24]:
        assert resolve(FIRST, order, **options) == one.resolution
    return one.trades


def loose(name, *parts, **texts):
    """A fill without permanent id."""
    return tws(exec_id(name), *parts, permId="0", **texts)


def test_fills_of_one_permanent_id_are_one_trade_with_an_exact_average():
    [trade] = trades(tws(exec_id(1), "BOT", "60", "10.5"), tws(exec_id(2), "BOT", "40", "10.52"))
    assert (trade.match_kind, trade.confidence, trade.keys) == ("perm_id", "high", ("perm:1400000001",))
    assert (trade.total_quantity, trade.total_value, trade.avg_price) == (100, Decimal("1050.80"), Decimal("10.508"))
    assert (trade.execution_count, trade.canonical_count, trade.missing_commission_count) == (2, 2, 2)
    assert trade.commission is None


def test_the_average_is_rounded_to_twelve_decimals():
    [trade] = trades(tws(exec_id(1), "BOT", "1", "1"), tws(exec_id(2), "BOT", "2", "2"))
    assert trade.avg_price == Decimal("1.666666666667")


def test_a_trusted_label_joins_and_another_does_not():
    [trade] = trades(loose(1, orderRef="FB-7"), loose(2, orderRef="FB-7"))
    assert (trade.match_kind, trade.confidence) == ("order_ref", "medium")
    rows = [loose(1, orderRef="SpreadTrader", orderId="5"), loose(2, orderRef="SpreadTrader", orderId="6")]
    assert [trade.match_kind for trade in trades(*rows)] == ["composite", "composite"]


def test_order_id_zero_never_joins():
    both = trades(loose(1, orderId="0"), loose(2, orderId="0"))
    assert [(trade.match_kind, trade.confidence) for trade in both] == [("single", "low")] * 2


def test_the_composite_goes_by_the_brokers_trade_day():
    late = {"orderId": "9", "secType": "FUT", "time": "20260105 23:59:50 UTC"}
    [trade] = trades(loose(1, **late), loose(2, **(late | {"time": "20260106 00:00:10 UTC"})))
    assert trade.match_kind == "composite"
    assert len(trades(loose(1, **late), loose(2, **(late | {"time": "20260107 00:00:10 UTC"})))) == 2


def test_a_row_with_a_soft_key_follows_the_one_component_that_carries_it():
    hard, soft = tws(exec_id(1), orderRef="FB-7"), loose(2, orderRef="FB-7")
    [trade] = trades(hard, soft)
    assert (trade.match_kind, trade.keys) == ("perm_id", ("perm:1400000001", "ref:FB-7"))


def test_a_soft_key_carried_by_two_components_stays_alone_and_says_so():
    one = desk(tws(exec_id(1), orderRef="FB-7"), tws(exec_id(2), orderRef="FB-7", permId="5"), loose(3, orderRef="FB-7"))
    assert len(one.trades) == 3
    assert one.anomalies == [("ambiguous_parent", "ref:FB-7")]


def test_a_statement_order_filled_over_two_days_is_one_trade():
    rows = [flex(exec_id(1), ibOrderID="9"), flex(exec_id(2), ibOrderID="9", dateTime="20260106;093001", tradeDate="20260106")]
    [trade] = trades(*rows)
    assert (trade.match_kind, trade.first_executed_at < trade.last_executed_at) == ("flex_order_id", True)


def leg(name, conid, quantity, price, slot, **texts):
    return flex(exec_id(name, slot=slot), quantity, price, conid=conid, ibOrderID=conid, **texts)


def test_two_legs_with_two_order_ids_and_no_combo_order_are_one_trade():
    [trade] = trades(leg(1, "11", "1", "2.1", "02"), leg(1, "12", "-1", "0.9", "03"))
    assert (trade.is_combo, trade.total_quantity, trade.avg_price) == (True, 1, Decimal("1.2"))
    assert (trade.commission, trade.conid, trade.side) == (2, None, None)
    assert "combo:0000e0d5.1" in trade.keys


def test_one_instrument_in_many_pieces_of_one_combo_order_is_no_combo():
    rows = [flex(exec_id(n), ibOrderID=str(n), brokerageOrderID="00ab.1") for n in (1, 2, 3)]
    assert [trade.is_combo for trade in trades(*rows)] == [False] * 3


def test_the_summary_gives_quantity_and_price_and_the_legs_the_money():
    bag = tws(exec_id(1), "BOT", "2", "1.92", conId="9", secType="BAG")
    legs = [
        tws(exec_id(1, slot=f"0{n}"), side, "2", price, conId=f"1{n}")
        for n, side, price in ((2, "BOT", "62.12"), (3, "SLD", "60.2"))
    ]
    fees = [report(exec_id(1), "0.0"), *(report(one.ib_exec_id, "4.74") for one in legs)]
    for rows in ([bag, *legs, *fees], [*legs, *fees, bag]):
        [trade] = trades(*rows)
        assert (trade.total_quantity, trade.avg_price, trade.commission) == (2, Decimal("1.92"), Decimal("9.48"))
        assert (trade.side, trade.is_combo) == ("BUY", True)
    roles = {one.ib_exec_id[-5:]: one.exec_role.value for one in desk(bag, *legs).resolution.executions}
    assert roles == {"01.01": "combo_summary", "02.01": "leg", "03.01": "leg"}


def test_settled_legs_that_contradict_the_summary_win():
    bag = tws(exec_id(1), "BOT", "3", "1.92", conId="9", secType="BAG")
    legs = [leg(1, "11", "2", "2.1", "02"), leg(1, "12", "-2", "0.9", "03")]
    one = desk(bag, *legs)
    assert one.trades[0].total_quantity == 2
    assert [kind for kind, _ in one.anomalies] == ["combo_quantity_differs"]


def test_legs_of_unequal_contract_size_have_no_price_of_the_combo():
    [trade] = trades(leg(1, "11", "2", "2.1", "02", multiplier="100"), leg(1, "12", "-4", "0.9", "03", multiplier="50"))
    assert (trade.total_quantity, trade.total_value, trade.avg_price) == (2, None, None)


def test_legs_that_close_one_another_come_to_nothing():
    rows = [leg(1, "11", "2", "2.1", "02"), leg(1, "12", "-0.5", "0.9", "03")]
    assert trades(*rows)[0].total_quantity == Decimal("0.5")


def test_expiry_assignment_and_exercise_are_read_from_their_notes():
    def book(note, transaction):
        return flex("", "-1", "0", transactionType="BookTrade", notes=note, transactionID=transaction, ibOrderID=transaction)

    found = trades(book("Ep", "1"), book("A", "2"), book("Ex", "3"), book("P", "4"))
    assert [(trade.status, trade.match_kind, trade.confidence) for trade in found] == [
        ("expired", "single", "high"),
        ("assigned", "single", "high"),
        ("exercised", "single", "high"),
        ("unknown", "single", "high"),
    ]


def test_only_a_known_order_size_says_whether_an_order_is_complete():
    row = tws(exec_id(1))
    assert trades(row)[0].status == "unknown"
    assert trades(row, order_sizes={1400000001: Decimal(100)})[0].status == "filled"
    assert trades(row, order_sizes={1400000001: Decimal(101)})[0].status == "partial"
    over = desk(row, order_sizes={1400000001: Decimal(99)})
    assert (over.trades[0].status, over.anomalies) == ("filled", [("overfilled", "perm:1400000001")])


def test_commissions_of_two_currencies_are_not_added_up():
    [trade] = trades(tws(exec_id(1)), tws(exec_id(2)), report(exec_id(1), "1", "USD"), report(exec_id(2), "2", "CHF"))
    assert (trade.commission, trade.commission_currency, trade.missing_commission_count) == (None, None, 0)


def test_an_emptied_trade_names_its_heir():
    before = desk(loose(1, orderId="94"))
    former = {exec_id(1): before.trades[0].trade_id}
    after = desk(tws(exec_id(1), orderId="94"), former=former)
    assert after.resolution.merged == {former[exec_id(1)]: after.trades[0].trade_id}


def test_a_statement_and_the_socket_make_one_trade_under_the_permanent_id():
    rows = [tws(exec_id(1)), flex(exec_id(1), ibOrderID="9", source=Source.CONFIRMATION), flex(exec_id(2), ibOrderID="9")]
    [trade] = trades(*rows)
    assert (trade.keys, trade.execution_count) == (("perm:1400000001", "flex:9"), 2)
