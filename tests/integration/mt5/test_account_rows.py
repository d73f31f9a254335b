"""One account: read under its fence, written in one message, the same work twice changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from fillbook.mt5 import ids, runstore, store
from fillbook.mt5.model import CashOperation, SymbolFacts, Window
from fillbook.mt5.records import NEVER, CashAsked, CashCheckRow, Gap, StaleLease, Wanted
from fillbook.mt5.revisions import Missed
from fillbook.mt5.words import (
    BackfillState,
    CashKind,
    CashResult,
    CashState,
    Code,
    ConnectionStatus,
    GapCause,
    SyncStatus,
    SyncType,
    TradeSide,
)
from fillbook.runtime.db import Tx
from tests.support.mt5_world import NOW, World, closed, deal, digest, info, msc, run_id, trade, version

HUGE = 2**63 - 1


def one_row(world: World, table: str) -> dict[str, object]:
    (row,) = world.query(f"select * from mt5.{table}")
    return row


def test_what_is_written_of_an_account_is_what_is_read_back(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    opening, entry = deal(1), deal(2, 77, magic=HUGE, comment="it's", external_id="x", reason=3, extra={"new_field": "7"})
    state = replace(
        held.state,
        next_due_at=NOW + timedelta(minutes=5),
        last_deal_at=NOW,
        history_until_msc=msc(NOW),
        history_floor_msc=msc(NOW) - 1000,
        page_cursor="c",
        backfill_state=BackfillState.RUNNING,
        state_digest=digest("answer"),
        opening_balance=Decimal("12.50"),
        opening_proven=True,
        has_open_positions=True,
        cash_state=CashState.OK,
    )
    gap = Gap(from_msc=1, to_msc=2, opened_at=NOW, cause=GapCause.CASH)
    missed = Missed(deal_ticket=5, first_missed_at=NOW, reads=2)
    facts = SymbolFacts(
        server="Alpha-Demo",
        symbol="EURUSD",
        symbol_norm="EURUSD",
        contract_size=Decimal(100000),
        digits=5,
        currency_profit="USD",
    )
    check = CashCheckRow(
        checked_at=NOW, balance=Decimal("100.00"), expected=Decimal("99.00"), gap=Decimal("1.00"), result=CashResult.GAP
    )
    opened = trade(account, 77, ticket=HUGE, stop_loss=Decimal("1.05"), profit=Decimal("3.10"), last_deal_msc=entry.time_msc)
    applied = world.apply(
        world.work(
            held,
            state=state,
            deals=[version(opening), version(entry)],
            trades=[opened],
            gaps_opened=[gap],
            missed=[missed],
            symbols=[facts],
            cash_check=check,
        )
    )
    assert (applied.deals_inserted, applied.trades_changed, applied.cash_changed) == (2, 1, 0)

    (again,) = world.claim(account, run=2)
    loaded = world.load(again, tickets=[1, 2, 3])
    assert loaded.deals == (version(opening), version(entry))
    assert loaded.trades == (opened,)
    assert loaded.gaps == (gap,)
    assert loaded.missed == (missed,)
    assert loaded.symbols == {"EURUSD": facts}
    assert loaded.last_check == check
    expected = replace(state, lease_token=again.lease_token, last_run_id=run_id(1))
    assert loaded.state == expected
    assert (loaded.account.currency, loaded.account.margin_mode, loaded.account.last_sync_at) == ("USD", 2, NOW)
    assert loaded.is_rule_measured
    assert not held.is_rule_measured


def test_the_same_work_twice_changes_no_row_of_what_is_derived(world: World) -> None:
    account = world.link().account_id
    operation = CashOperation(
        account_id=account, deal_ticket=1, kind=CashKind.DEPOSIT, amount=Decimal("100.00"), occurred_at=NOW, comment=None
    )
    given = {
        "deals": [version(deal(1)), version(deal(2, 77))],
        "trades": [trade(account, 77)],
        "cash_operations": [operation],
        "missed": [Missed(deal_ticket=5, first_missed_at=NOW, reads=2)],
        "symbols": [
            SymbolFacts(
                server="Alpha-Demo", symbol="X", symbol_norm="X", contract_size=Decimal("10.0"), digits=None, currency_profit=None
            )
        ],
    }
    world.open()
    first = world.sync(account, **given)
    before = world.written()
    world.open()
    second = world.sync(account, 2, **given)
    assert (first.deals_inserted, first.trades_changed, first.cash_changed) == (2, 1, 1)
    assert (second.deals_inserted, second.trades_changed, second.cash_changed) == (0, 0, 0)
    assert world.written() == before
    assert [row["trades_synced"] for row in world.query("select trades_synced from mt5.sync_logs order by created_at, id")] in (
        [1, 0],
        [0, 1],
    )


def test_a_stale_token_reads_nothing_and_writes_nothing(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    world.query("update mt5.account_sync_state set lease_until = '2000-01-01' returning 1")
    (other,) = world.claim(account, run=2)
    with pytest.raises(StaleLease):
        world.load(held)
    with pytest.raises(StaleLease):
        world.apply(world.work(held, deals=[version(deal(1))]))
    assert (
        world.query("select 1 from mt5.deals union all select 1 from mt5.sync_logs union all select 1 from mt5.sync_hours") == []
    )
    assert world.apply(world.work(other, 2, deals=[version(deal(1))])).deals_inserted == 1


def test_what_other_rooms_sent_before_is_undone_with_a_stale_lease(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    world.query("update mt5.account_sync_state set lease_token = lease_token + 1 returning 1")

    def both(tx: Tx) -> None:
        runstore.open_run(tx, run_id(9), sync_type=SyncType.MANUAL, requested_by="tests", now=NOW)
        store.write_account(tx, world.work(held), NOW)

    with pytest.raises(StaleLease):
        world.db.run(both)
    assert world.query("select 1 from mt5.sync_runs") == []


def test_an_outcome_ends_the_lease_and_pages_without_one_keep_it(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    world.apply(world.work(held, deals=[version(deal(1))], outcome=None))
    state = one_row(world, "account_sync_state")
    assert (state["lease_run_id"], state["last_run_id"]) == (UUID(run_id(1)), None)
    assert world.query("select 1 from mt5.sync_logs") == []
    world.apply(world.work(held, deals=[version(deal(2))]))
    state = one_row(world, "account_sync_state")
    assert (state["lease_run_id"], state["lease_until"], str(state["last_run_id"])) == (None, None, run_id(1))
    assert len(world.query("select 1 from mt5.deals")) == 2


def test_a_partial_answer_leaves_balances_and_the_last_success_alone(world: World) -> None:
    account = world.link().account_id
    world.sync(account)
    (held,) = world.claim(account, run=2)
    later = NOW + timedelta(minutes=5)
    failed = replace(world.failure(), last_sync_at=later)
    outcome = world.outcome(account, 2, later, status=SyncStatus.FAILED, error_code=Code.TIMEOUT, error_message="no answer")
    world.apply(world.work(held, 2, account=failed, outcome=outcome), later)
    row = one_row(world, "trading_accounts")
    assert (row["balance"], row["info_at"], row["currency"]) == (Decimal("100.00"), NOW, "USD")
    assert (row["last_sync_at"], row["last_successful_sync_at"], row["sync_failure_count"]) == (later, NOW, 1)
    assert (row["last_error_code"], row["connection_status"]) == ("timeout", "error")
    hours = one_row(world, "sync_hours")
    assert (hours["runs"], hours["successes"], hours["failures"], hours["duration_ms_sum"]) == (2, 1, 1, 4000)


def test_the_watermark_never_falls(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    world.apply(world.work(held, state=replace(held.state, history_until_msc=5000, history_floor_msc=1000)))
    (held,) = world.claim(account, run=2)
    world.apply(world.work(held, 2, state=replace(held.state, history_until_msc=4000)))
    assert world.query("select history_until_msc from mt5.account_sync_state") == [{"history_until_msc": 5000}]


def test_a_trade_changes_in_place_and_an_episode_that_is_gone_is_removed(world: World) -> None:
    account = world.link().account_id
    first, second = trade(account, 77), trade(account, 77, 2, side=TradeSide.SELL)
    world.sync(account, trades=[first, second])
    applied = world.sync(account, 2, trades=[closed(first)], trades_removed=[(77, 2)])
    assert applied.trades_changed == 2
    (row,) = world.query("select * from mt5.trades")
    assert (str(row["id"]), row["status"], row["net_pnl"], row["close_time"]) == (first.id, "closed", Decimal("10.00"), NOW)


def test_an_edited_deal_is_another_revision_and_every_revision_is_read(world: World) -> None:
    account = world.link().account_id
    world.sync(account, deals=[version(deal(1, 77))])
    moved = deal(1, 88, price=Decimal("1.2"))
    world.sync(account, 2, deals=[version(moved, 2), version(deal(2, 88))])
    (held,) = world.claim(account, run=3)
    for wanted in ({"tickets": [1]}, {"position_ids": [77]}, {"position_ids": [88]}):
        loaded = world.load(held, **wanted)
        assert [(one.deal.deal_ticket, one.revision, one.deal.position_id) for one in loaded.deals][:2] == [
            (1, 1, 77),
            (1, 2, 88),
        ]


def test_deals_of_live_trades_and_of_known_tickets_positions_are_read_without_being_named(world: World) -> None:
    account = world.link().account_id
    deals = [version(deal(ticket, position)) for ticket, position in ((1, 77), (2, 88), (3, 88), (4, 99))]
    trades = [trade(account, 77), closed(trade(account, 88)), closed(trade(account, 99))]
    world.sync(account, deals=deals, trades=trades)
    (held,) = world.claim(account, run=2)
    loaded = world.load(held, tickets=[2])
    assert [one.deal.deal_ticket for one in loaded.deals] == [1, 2, 3]
    assert [one.position_id for one in loaded.trades] == [77, 88]


def test_missing_are_deals_of_the_windows_that_count_and_were_not_told(world: World) -> None:
    account = world.link().account_id
    times = {1: 1000, 2: 2000, 3: 3000, 4: 4000}
    stored = [version(deal(ticket, 77, time_msc=at)) for ticket, at in times.items()]
    gone = version(deal(3, 77, time_msc=3000), 2, withdrawn=True)
    world.sync(account, deals=[*stored, gone])
    (held,) = world.claim(account, run=2)
    loaded = world.load(held, tickets=[1], windows=[Window(from_msc=1000, to_msc=4000)])
    assert loaded.missing == (2,)
    assert 2 in {one.deal.deal_ticket for one in loaded.deals}
    assert world.load(held, spans=[Window(from_msc=2000, to_msc=5000)]).clocks == {2: 2000, 3: 3000, 4: 4000}


def test_the_cash_check_gets_its_sums_and_the_deals_near_the_edge(world: World) -> None:
    account = world.link().account_id
    deals = [
        deal(1, time_msc=1_000, profit=Decimal(1000)),
        deal(2, time_msc=10_000, profit=Decimal("100.00")),
        deal(3, time_msc=11_000, deal_type=3, profit=Decimal(50)),
        deal(4, time_msc=12_000, deal_type=6, profit=Decimal(7)),
        deal(
            5,
            77,
            time_msc=13_000,
            profit=Decimal("2.50"),
            commission=Decimal("-1.10"),
            swap=Decimal("-0.20"),
            fee=Decimal("-0.05"),
        ),
        deal(6, 77, time_msc=19_500, profit=Decimal(9)),
        deal(7, 77, time_msc=20_900, profit=Decimal(8)),
        deal(8, 77, time_msc=21_001, profit=Decimal(6)),
        deal(9, time_msc=14_000, profit=Decimal(400)),
    ]
    edited = version(deal(2, time_msc=10_000, profit=Decimal("90.00")), 2)
    world.sync(account, deals=[*map(version, deals), edited, version(deals[-1], 2, withdrawn=True)])
    (held,) = world.claim(account, run=2)
    found = world.load(held, cash=CashAsked(at_msc=20_000, floor_msc=5_000)).cash
    assert found is not None
    assert (found.amount, found.bonus, found.credit) == (Decimal("91.15"), Decimal(7), Decimal(50))
    assert [(one.deal_ticket, one.amount) for one in found.near] == [(6, Decimal(9)), (7, Decimal(8))]
    assert found.first is not None
    assert (found.first.deal_ticket, found.first.deal_type, found.first.amount) == (2, 2, Decimal("90.00"))
    whole = world.load(held, cash=CashAsked(at_msc=20_000)).cash
    assert whole is not None
    assert whole.amount == Decimal("1091.15")
    assert world.load(held).cash is None


def test_cash_operations_checks_and_gaps_are_kept_changed_and_closed(world: World) -> None:
    account = world.link().account_id
    one = CashOperation(
        account_id=account, deal_ticket=1, kind=CashKind.DEPOSIT, amount=Decimal("100.00"), occurred_at=NOW, comment="in"
    )
    gap = Gap(from_msc=1, to_msc=2, opened_at=NOW, cause=GapCause.PAGES)
    world.sync(account, cash_operations=[one, replace(one, deal_ticket=2)], gaps_opened=[gap])
    changed = world.sync(account, 2, cash_operations=[replace(one, amount=Decimal("90.00"))], cash_removed=[2], gaps_closed=[gap])
    assert changed.cash_changed == 2
    assert world.query("select deal_ticket, amount from mt5.cash_operations") == [{"deal_ticket": 1, "amount": Decimal("90.00")}]
    assert one_row(world, "history_gaps")["closed_at"] == NOW
    (held,) = world.claim(account, run=3)
    assert world.load(held).gaps == ()


def test_what_an_operator_entered_of_a_symbol_is_not_unlearned(world: World) -> None:
    account = world.link().account_id
    known = {"server": "Alpha-Demo", "symbol": "GOLD", "symbol_norm": "GOLD"}
    entered = SymbolFacts(**known, contract_size=Decimal(100), digits=2, currency_profit="USD")
    world.sync(account, symbols=[entered])
    before = world.written()
    world.sync(account, 2, symbols=[SymbolFacts(**known, contract_size=None, digits=None, currency_profit=None)])
    assert world.written() == before
    (held,) = world.claim(account, run=3)
    assert world.load(held, symbols=["GOLD", "NONE"]).symbols == {"GOLD": entered}


def test_law_16_ids_and_decimals_survive_database_and_json(world: World) -> None:
    account = world.link(HUGE).account_id
    tickets = (2975166898, 9007199254740993, HUGE)
    exact = Decimal("0.00001234")
    deals = [deal(ticket, HUGE - 1, order_id=HUGE, price=exact, profit=Decimal("-123456789012345.67")) for ticket in tickets]
    row = trade(account, HUGE - 1, ticket=HUGE, magic=-HUGE, open_price=exact, volume=Decimal("0.0100000000000001"))
    given = info("100000.00", margin_level=Decimal("101398.675901406"), margin=Decimal("98.62"))
    world.sync(account, deals=[version(one) for one in deals], trades=[row], account=world.update(info=given))
    (held,) = world.claim(account, run=2)
    loaded = world.load(held, tickets=tickets)
    assert [one.deal for one in loaded.deals] == deals
    assert [str(one.deal.price) for one in loaded.deals] == ["0.00001234"] * 3
    assert loaded.trades == (row,)
    assert str(loaded.trades[0].volume) == "0.0100000000000001"
    assert loaded.account.login == HUGE
    (shown,) = world.query("select login_number, margin_level from mt5.account_sync_health")
    assert shown == {"login_number": HUGE, "margin_level": Decimal("101398.675901406")}
    assert world.query("select position_id, ticket, open_price from mt5.account_trades") == [
        {"position_id": HUGE - 1, "ticket": HUGE, "open_price": exact}
    ]
    world.apply(world.work(held, 2, account=world.update(info=info("100000.00"))))
    assert world.query("select margin_level from mt5.trading_accounts") == [{"margin_level": None}]


def test_every_deal_and_trade_of_an_account_can_be_read_in_pages(world: World) -> None:
    account, other = world.link().account_id, world.link(1002).account_id
    deals = [version(deal(ticket, ticket)) for ticket in range(1, 8)]
    trades = [trade(account, position) for position in range(1, 6)]
    world.sync(account, deals=[*deals, version(deal(3, 3, price=Decimal(2)), 2)], trades=trades)
    world.sync(other, deals=[version(deal(100))])
    with world.db.transaction(read_only=True) as tx:
        found = list(store.every_deal(tx, account, rows_max=3))
        assert [(one.deal.deal_ticket, one.revision) for one in found] == [
            (1, 1),
            (2, 1),
            (3, 1),
            (3, 2),
            *((n, 1) for n in range(4, 8)),
        ]
        assert list(store.every_trade(tx, account, rows_max=2)) == trades
        page = store.accounts_of_server(tx, "Alpha-Demo", rows_max=1)
        assert sorted((*page, *store.accounts_of_server(tx, "Alpha-Demo", page[-1]))) == sorted([account, other])
        assert store.account(tx, account, "somebody") is None
        seen = store.account(tx, account, "desk")
        assert seen is not None
        assert seen.account_id == account


def test_an_account_that_is_never_due_stays_so_through_a_reading(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    world.apply(
        world.work(
            held,
            state=replace(held.state, next_due_at=NEVER),
            account=world.update(connection_status=ConnectionStatus.NEEDS_REAUTH),
        )
    )
    (held,) = world.claim(account, run=2)
    assert held.state.next_due_at == NEVER
    assert held.account.connection_status is ConnectionStatus.NEEDS_REAUTH
    with world.db.transaction() as tx:
        assert store.load_account(tx, account, held.lease_token, Wanted()).state.next_due_at == NEVER


def test_ids_of_logs_derive_from_run_and_account() -> None:
    assert ids.log_id("a", "b") == ids.log_id("a", "b") != ids.log_id("b", "a")
