"""Scenes for the journeys about brokers, published days and messages: what a desk has behind it before a reader looks.

Each is set by the door through which it would come: days through the receiver of snapshots, accounts as an operator links them,
a message changed by a person on the fake Discord. What no door brings within seconds (a gap in a broker's history, a message that
failed for hours) is written where it would stand, and told as such.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from fillbook.mt5 import deskstore
from fillbook.runtime.sql import statement
from infra.cost import kept
from infra.local import mt5_desk
from infra.local.desk import LocalCloud
from infra.local.fakes import MT5
from infra.local.meter import Meter
from tests.support.browser import ADMIN_KEY, Desk
from tests.support.snapshot_api import signature

SCRIPT = "<img src=x onerror=\"document.title='broken'\">"
TICKS_MAX = 40
RESTATED, BEFORE = "2026-02-02", "2026-01-30"
HISTORY = timedelta(days=9)
GOOD, REFUSED, BARRED = "demo-01", "demo-07", "demo-14"


def posted(address: str, document: object, **headers: str) -> Any:
    """What a POST of a document answers."""
    return sent(address, json.dumps(document).encode(), **headers)


def sent(address: str, body: bytes, **headers: str) -> Any:
    """The same of its bytes."""
    request = Request(address, body, {"Content-Type": "application/json", **headers})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def written(desk: Desk, text: str, **params: object) -> int:
    """A statement of whoever sets the scene; how many rows it touched."""
    with desk.cloud.database.transaction() as tx:
        return tx.execute(statement(text), **params)


# --- published days -----------------------------------------------------------------------------------------------------


def _row(kpi: str, place: int, value: str, number: float | None, kind: str, unit: str | None, **more: Any) -> dict[str, Any]:
    return {"kpi": kpi, "value": value, "value_num": number, "kind": kind, "unit": unit, "sort_order": place, **more}


def _document(day: str, realized: int, late: list[dict[str, Any]]) -> dict[str, Any]:
    minutes = [f"{day}T14:{31 + number:02d}:00.000Z" for number in range(20)]
    sides = {
        "hi": [("AMZN", 450.5, 15), ("AMD", 99, 6)],
        "lo": [("TSLA", -220.25, 4), ("NVDA", -8, 1)],
    }
    return {
        "date": day,
        "updated_at": f"{day}T21:00:0{len(late)}.512Z",
        "headline": f"Fillbook metrics for {day}",
        "summary": "",
        "stage": "final",
        "kpi_version": 1,
        "rows": [
            _row("Daily PnL", 10, f"${realized + 123}.50", realized + 123.5, "currency", "USD"),
            _row("Realized PnL", 20, f"${realized}.00", realized, "currency", "USD"),
            _row("Equity", 50, f"$100,{realized + 123}.50", 100_000 + realized + 123.5, "currency", "USD"),
            _row("Win rate", 70, "—", None, "percent", "%", missing_reason="none_closed"),
            _row("Profit factor", 80, "4.5", 4.5, "ratio", None),
            _row("Entries opened", 120, "2", 2, "number", None),
            _row("Avg hold time", 210, "1h 03m", 3780, "duration", "s"),
        ],
        "overlay": {
            "seriesByKpi": {"Equity": [{"t": at, "v": 100_000 + 7 * number, "src": "live"} for number, at in enumerate(minutes)]},
            "extremes": {
                "byKpi": {
                    "Equity": {
                        side: [
                            {"trade_id": 100 + rank, "symbol": name, "contract_name": name, "rank": rank, "metric_raw": number,
                             "qty": quantity, "individual_pnl": number, "percent_change": number / 100, "cost_basis": 1601.5}
                            for rank, (name, number, quantity) in enumerate(rows, 1)
                        ]
                        for side, rows in sides.items()
                    }
                }
            },
            "portfolioAssets": [
                {"trade_id": number, "symbol": name, "contract_name": name} for number, name in ((101, "AMZN"), (102, "AMD"))
            ],
        },
        "source": "fillbook-snapshot-publisher",
        "schema_version": 1,
        "provenance": {"books": ["live"], "late_actions": late},
    }  # fmt: skip


def days_published(desk: Desk) -> None:
    """Two final days, the later one restated by a late fill."""
    secrets = desk.cloud.secrets
    late = {"action_id": "6f1c9b1e-0000-5000-8000-000000000001", "action_type": "TRIM", "symbol": "AMZN"}
    for day, realized, why in ((BEFORE, 50, []), (RESTATED, 77, []), (RESTATED, 99, [late])):
        body = json.dumps(_document(day, realized, why)).encode()
        signed = {"X-Internal-Token": secrets["internal_token"], "X-Signature": signature(body, secrets["signing_secret"])}
        sent(f"{desk.cloud.url('snapshot_api')}/v1/internal/trades/snapshot", body, **signed)


# --- broker accounts ----------------------------------------------------------------------------------------------------


def fake_mt5(cloud: LocalCloud, path: str, document: object) -> Any:
    """The control API of the fake MT5 service."""
    port = json.loads((cloud.home.path / "run.json").read_text())["ports"][MT5]
    return posted(f"http://127.0.0.1:{port}/_fake/{path}", document)


@contextmanager
def accounts_linked(desk: Desk) -> Iterator[dict[str, str]]:
    """Three accounts, one of them named by somebody who means ill, one whose login will be refused, one that waits for a person.

    Yields their ids by name. Afterwards they are switched off, so that nobody else's day syncs them.
    """
    cloud, now = desk.cloud, datetime.fromtimestamp(desk.ask("/timed/session")["server_ts"] / 1000, UTC)
    url = cloud.operator_environment["MT5_DEMO_URL"]
    wanted = {
        one.service_account_id: one
        for one in mt5_desk.links(url, now.date() - HISTORY)
        if one.service_account_id in (GOOD, REFUSED, BARRED)
    }
    fake_mt5(cloud, "faults", {"fault": "status", "code": 401, "error_code": "AUTH_FAILED", "account": REFUSED})
    ids = {}
    try:
        with cloud.database.transaction() as tx:
            for name, link in wanted.items():
                ids[str(name)] = deskstore.link_account(tx, link, now).account_id
            deskstore.rename_account(tx, ids[GOOD], SCRIPT, now)
        posted(f"{desk.url}/timed/admin/sync", {"account_id": ids[REFUSED]}, Authorization=f"Bearer {ADMIN_KEY}")
        written(
            desk,
            "update mt5.trading_accounts set connection_status = 'needs_reauth', sync_failure_count = 3,"
            " last_error_code = 'auth_failed', last_connection_error = :words where id = :id::uuid",
            id=ids[BARRED],
            words=f"refused {SCRIPT}",
        )
        yield ids
    finally:
        with cloud.database.transaction() as tx:
            for account_id in ids.values():
                deskstore.deactivate_account(tx, account_id, now)


def gap_opened(desk: Desk, account_id: str, day: str) -> None:
    """A day of which the account's money says that something of its history is missing."""
    written(
        desk,
        "insert into mt5.history_gaps (account_id, from_msc, to_msc, opened_at, cause)"
        " select :id::uuid, g.began, g.began + 1, now(), 'cash'"
        " from (select extract(epoch from :day::date)::bigint * 1000 as began) g",
        id=account_id,
        day=day,
    )


def gap_closed(desk: Desk, account_id: str) -> None:
    """The missing fill arrived, and the money adds up: the run that brought it leaves its mark on the account."""
    written(desk, "update mt5.history_gaps set closed_at = now() where account_id = :id::uuid", id=account_id)
    written(
        desk, "update mt5.trading_accounts set updated_at = updated_at + interval '1 second' where id = :id::uuid", id=account_id
    )


# --- messages -----------------------------------------------------------------------------------------------------------


def message_changed_by_hand(desk: Desk, message_id: str) -> None:
    """Somebody edits a message on Discord: its quantity is another one now."""
    inbox = json.load(urlopen(f"{desk.cloud.place.discord_url}/_control/messages", timeout=10))
    (message,) = [one for one in inbox if one["id"] == message_id]
    embeds = json.loads(json.dumps(message["embeds"]))
    for field in embeds[0]["fields"]:
        if field["name"] == "quantity":
            field["value"] = "4242"
    posted(
        f"{desk.cloud.place.discord_url}/_control/meddle",
        {"how": "edited", "message_id": message_id, "patch": {"embeds": embeds}},
    )


@contextmanager
def dead_letter(desk: Desk, action_id: str) -> Iterator[None]:
    """A message that met a failure for hours and was given up; afterwards it stands as it stood."""
    written(
        desk,
        "update notify.messages set state = 'dead', dead_reason = 'exhausted', attempts = 8 where action_id = :id::uuid",
        id=action_id,
    )
    try:
        yield
    finally:
        written(desk, "update notify.messages set state = 'posted', dead_reason = null where action_id = :id::uuid", id=action_id)


def day_counted(desk: Desk) -> str:
    """What the desk has used so far is counted, as ``run`` does it every minute; the day."""
    return kept.settle(desk.cloud, Meter(desk.cloud)).isoformat()


def check_worked_off(desk: Desk) -> None:
    """Ticks of the notifier until no check is under way; Discord is asked no faster than it allows, so the clock goes on."""
    for _ in range(TICKS_MAX):
        desk.step(30)
        desk.cloud.control.run_job("discord-drain")
        runs = desk.ask("/api/v1/notifications/reconciliation", limit="5")["runs"]
        if all(one["finished_ts"] is not None for one in runs):
            return
    raise AssertionError("the check did not end")


def refused(desk: Desk, path: str, document: object, key: str) -> int:
    """The status with which a key's order is refused; 0 when it is not."""
    try:
        posted(f"{desk.url}{path}", document, Authorization=f"Bearer {key}")
    except HTTPError as error:
        return error.code
    return 0
