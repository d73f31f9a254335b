"""Executions become messages: what stands in the channel equals what is stored (scenarios 1 to 9, 27, 28, 37)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from fillbook.notify.execution import from_row
from fillbook.notify.model import Embed
from fillbook.notify.proof import read_embed
from tests.support.notify_desk import NotifyDesk, action, executed


def fields(embed: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in embed["fields"]}


def test_01_four_executions_of_a_position_become_four_messages_whose_fields_are_the_rows(desk: NotifyDesk) -> None:
    kinds = {"e": "ENTRY", "d": "ADD_ENTRY", "t": "TRIM", "x": "EXIT"}
    report = desk.tell(*(executed(name, kind=kind) for name, kind in kinds.items()))
    assert report.reason == "idle"
    assert desk.states() == {"posted": 4}
    titles = ["Entered AMD LONG", "Added to AMD LONG", "Trimmed AMD LONG: gain", "Closed AMD LONG: WIN"]
    assert [embed["title"] for embed in desk.embeds()] == titles
    for (name, kind), embed in zip(kinds.items(), desk.embeds(), strict=True):
        row = from_row("live", action(name, kind=kind))
        assert read_embed(Embed.from_json(embed)).differences(row) == []
    trim = fields(desk.embeds()[2])
    assert trim["lots"] == "10 @ 100.00 → +298.00\n10 @ 110.00 → +198.00\n4 @ 120.00 → +39.20"
    assert list(trim) == [
        "action_type", "ticker", "direction", "executed_at", "quantity", "price", "value", "fees", "realized_pnl",
        "position_quantity_after", "position_vwap_after", "unrealized_pnl_after", "position_realized_pnl_after", "lots", "reason",
    ]  # fmt: skip
    assert "unrealized_pnl_after" not in fields(desk.embeds()[3])
    assert all(message["content"] == "" for message in desk.posts())


def test_02_a_trim_at_a_loss_is_reduced_and_never_speaks_of_profit(desk: NotifyDesk) -> None:
    desk.tell(executed(kind="TRIM", realized_pnl="-12.5", reason="taking_profit_at_target"))
    (embed,) = desk.embeds()
    assert embed["title"] == "Reduced AMD LONG: loss"
    assert embed["color"] == 0xEF4444
    assert fields(embed)["realized_pnl"] == "-12.50 USD"
    told = str(embed).lower()
    assert "profit" not in told
    assert "target" not in told


def test_03_zero_is_flat_null_is_pending_and_late_fees_edit_without_a_mark(desk: NotifyDesk) -> None:
    desk.tell(executed("flat", kind="TRIM", realized_pnl="0"), executed("open", kind="EXIT", position_realized_pnl_after=None,
                                                                        realized_pnl=None, fees=None))  # fmt: skip
    flat, pending = desk.embeds()
    assert (flat["title"], fields(flat)["realized_pnl"]) == ("Trimmed AMD LONG: FLAT", "+0.00 USD")
    assert pending["title"] == "Closed AMD LONG: P&L pending"
    assert (fields(pending)["realized_pnl"], fields(pending)["fees"]) == ("unknown", "unknown")
    desk.tell(
        executed("open", event="execution_corrected", kind="EXIT", version=2, cause="commission", realized_pnl="-30",
                 position_realized_pnl_after="504", fees="1", changed=["fees", "realized_pnl"])
    )  # fmt: skip
    edited = desk.embeds()[1]
    assert edited["title"] == "Closed AMD LONG: WIN"
    assert "corrected" not in fields(edited)
    assert len(desk.posts()) == 2


def test_03_a_leg_settled_under_a_new_id_edits_the_same_message(desk: NotifyDesk) -> None:
    desk.tell(executed("live-leg", aggregate_version=10))
    (before,) = desk.posts()
    settled = executed("settled-leg", event="execution_corrected", cause="settled", aggregate_version=12, price="131",
                       replaces_action_id=action("live-leg")["action_id"], changed=["price"])  # fmt: skip
    desk.tell(settled)
    (after,) = desk.posts()
    assert after["id"] == before["id"]
    assert fields(after["embeds"][0])["price"] == "131.00"
    assert action("settled-leg")["action_id"] in after["embeds"][0]["footer"]["text"]
    late = executed("live-leg", event="execution_corrected", version=2, aggregate_version=11)
    assert [stored.outcome for stored in desk.push(late)] == ["stale"]
    desk.drain()
    assert len(desk.posts()) == 1
    assert desk.message("live-leg")["state"] == "removed"


def test_03_a_replacement_that_overtakes_its_original_leaves_one_message(desk: NotifyDesk) -> None:
    settled = executed("new", event="execution_corrected", cause="settled", aggregate_version=12,
                       replaces_action_id=action("old")["action_id"])  # fmt: skip
    desk.tell(settled, executed("old", aggregate_version=10))
    assert len(desk.posts()) == 1
    assert action("new")["action_id"] in desk.embeds()[0]["footer"]["text"]


def test_04_an_exit_tells_the_trades_outcome_and_its_own_figure(desk: NotifyDesk) -> None:
    desk.tell(executed(kind="EXIT", realized_pnl="-30", position_realized_pnl_after="470"))
    (embed,) = desk.embeds()
    assert embed["title"] == "Closed AMD LONG: WIN"
    assert fields(embed)["realized_pnl"] == "-30.00 USD"
    assert fields(embed)["position_realized_pnl_after"] == "+470.00 USD"


def test_05_the_same_event_32_times_at_once_is_one_delivery_and_one_message(desk: NotifyDesk) -> None:
    body = executed()

    def deliver(_: int) -> str:
        (stored,) = desk.push(body)
        desk.drain()
        return stored.outcome

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(deliver, range(32)))
    assert sorted(outcomes)[:2] == ["created", "duplicate"]
    assert outcomes.count("created") == 1
    assert len(desk.rows("select 1 from notify.deliveries")) == 1
    assert len(desk.posts()) == 1


def test_06_a_correction_before_the_first_send_leaves_one_message_with_final_values(desk: NotifyDesk) -> None:
    corrected = executed(event="execution_corrected", version=2, price="131.5", cause="revision", changed=["price"],
                         before={"price": "130"})  # fmt: skip
    desk.tell(executed(), corrected)
    (embed,) = desk.embeds()
    assert fields(embed)["price"] == "131.50"
    assert [one["operation"] for one in desk.requests()] == ["create"]


def test_07_a_correction_after_the_send_edits_with_a_mark_and_without_mentions(desk: NotifyDesk) -> None:
    desk.tell(executed())
    desk.tell(executed(event="execution_corrected", version=2, price="112", value="2688", cause="revision",
                       changed=["price", "value", "recorded_at"], before={"price": "110", "value": "2640"}))  # fmt: skip
    (embed,) = desk.embeds()
    assert embed["title"] == "Entered AMD LONG (corrected)"
    assert fields(embed)["corrected"] == "price 110.00 → 112.00\nvalue 2640.00 → 2688.00"
    assert [one["operation"] for one in desk.requests()] == ["create", "edit"]
    assert all(one["body"]["allowed_mentions"] == {"parse": []} for one in desk.requests())
    assert len(desk.posts()) == 1


def test_08_of_three_versions_in_any_order_the_highest_is_shown(desk: NotifyDesk) -> None:
    def version(number: int) -> bytes:
        return executed(event="execution_corrected", version=number, price=str(100 + number), cause="revision")

    outcomes = [stored.outcome for stored in desk.push(version(3), version(1), version(2))]
    desk.drain()
    assert outcomes == ["created", "stale", "stale"]
    assert fields(desk.embeds()[0])["price"] == "103.00"


def test_09_a_bust_is_struck_and_a_later_booking_is_told_again(desk: NotifyDesk) -> None:
    desk.tell(executed(kind="TRIM"))
    row = action(kind="TRIM")
    desk.tell(executed(event="execution_busted", kind="TRIM", version=2, cause="bust", before=row))
    (embed,) = desk.embeds()
    assert embed["title"] == "BUSTED: Trimmed AMD LONG: gain"
    assert embed["color"] == 0x5C6475
    assert fields(embed)["price"] == "~~130.00~~"
    assert fields(embed)["cause"] == "bust"
    assert embed["description"].startswith("~~")
    desk.tell(executed(event="execution_corrected", kind="TRIM", version=3, cause="rebook"))
    (embed,) = desk.embeds()
    assert embed["title"] == "Trimmed AMD LONG: gain (corrected)"
    assert fields(embed)["price"] == "130.00"


def test_09_a_bust_by_settling_is_merged(desk: NotifyDesk) -> None:
    desk.tell(executed(), executed(event="execution_busted", version=2, cause="settled", before=action()))
    assert desk.embeds()[0]["title"] == "MERGED: Entered AMD LONG"


def test_27_nothing_in_a_ticker_or_reason_is_alive(desk: NotifyDesk) -> None:
    nasty = "@everyone <@1> [x](http://evil.example) `code` **b** \u202egnol\u202c ||s|| # h - l > q"
    desk.tell(executed(ticker=f"A{nasty}"[:60], reason=nasty, kind="EXIT"))
    (embed,) = desk.embeds()
    assert not any(ping["would_ping"] for ping in desk.discord.pings())
    text = embed["title"] + embed["description"] + "".join(fields(embed).values())
    assert "\u202e" not in text
    assert "://" not in text
    assert "\\@everyone" in text


def test_28_long_reasons_and_many_lots_are_cut_and_money_stays_whole(desk: NotifyDesk) -> None:
    lot = {"quantity": "123456.1234567890", "price": "98765.1234567890", "realized_pnl": "-123456.12345678"}
    desk.tell(executed(kind="TRIM", reason="lorem ipsum " * 420, lots=[lot] * 40, value="99999999999999999999.12345678"))
    (embed,) = desk.embeds()
    told = fields(embed)
    assert told["value"] == "99999999999999999999.12345678 USD"
    assert told["lots"].endswith("+32 more")
    assert "…[+" in told["reason"]
    assert (
        sum(len(part) for part in (embed["title"], embed["description"], embed["footer"]["text"], *told, *told.values())) <= 6000
    )


def test_28_a_message_whose_identity_does_not_fit_is_a_dead_letter(desk: NotifyDesk) -> None:
    desk.tell(executed(ticker="T" * 2000))
    assert desk.requests() == []
    row = desk.message()
    assert (row["state"], row["dead_reason"]) == ("dead", "too_large")
    (event,) = desk.events("message_dead")
    assert event["data"]["reason"] == "too_large"


def test_37_the_sentence_is_new_york_time_and_the_field_utc(desk: NotifyDesk) -> None:
    summer = datetime(2026, 3, 9, 13, 30, 0, 5, tzinfo=UTC)  # the first session after the clocks changed
    winter = datetime(2025, 11, 28, 18, 0, tzinfo=UTC)  # a half day's close
    desk.tell(executed("s", executed_at=summer.isoformat()), executed("w", executed_at=winter.isoformat()))
    first, second = sorted(desk.embeds(), key=lambda embed: str(embed["timestamp"]), reverse=True)
    assert "2026-03-09 09:30:00 EDT" in first["description"]
    assert fields(first)["executed_at"] == "2026-03-09T13:30:00.000005Z"
    assert "2025-11-28 13:00:00 EST" in second["description"]


def test_a_position_of_two_legs_at_one_instant_keeps_its_order(make_desk: Callable[..., NotifyDesk]) -> None:
    desk = make_desk()
    desk.tell(
        executed("exit", kind="EXIT", position="long", direction="LONG"),
        executed("entry", kind="ENTRY", position="short", direction="SHORT", price=str(Decimal("0.0001"))),
    )
    assert [embed["title"] for embed in desk.embeds()] == ["Closed AMD LONG: WIN", "Entered AMD SHORT"]
    assert fields(desk.embeds()[1])["price"] == "0.0001"
