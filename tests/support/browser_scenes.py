"""Scenes for the journeys about brokers, published days and messages: what a desk has behind it before a reader looks.

Each is set by the door through which it would come: days through the receiver of snapshots, accounts as an operator links them,
refusals and missing deals by the broker's stand-in, a message changed or removed by a person on the fake Discord, one that was
given up because that Discord failed for as long as it was tried again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from fillbook.mt5 import deskstore
from fillbook.notify.pacing import LADDER
from infra.cost import kept
from infra.local import mt5_desk
from infra.local.desk import LocalCloud
from infra.local.meter import Meter
from tests.support.browser import ADMIN_KEY, Desk
from tests.support.snapshot_api import signature
from tests.support.tracker_journeys import next_minute, receipt
from tests.support.waiting import wait_until

SCRIPT = "<img src=x onerror=\"document.title='broken'\">"
TICKS_MAX = 40
RESTATED, BEFORE = "2026-02-02", "2026-01-30"
BEFORE_THE_GAP = datetime(2026, 1, 29, 15, 0, tzinfo=UTC)
NIGHT = datetime(2026, 1, 29, 22, 45, tzinfo=UTC)
YESTERDAY = datetime(2026, 2, 2, 15, 0, tzinfo=UTC)
BEGINS = datetime(2026, 2, 3, 14, 0, tzinfo=UTC)
SINCE_YESTERDAY = {"ZZUP": "101.60", "ZZDN": "99.70", "ZZEV": "100.40"}
"""What was bought at 100.40 the day before, and its price before this day's session."""
LATER = 1.2  # a try comes up to a tenth later than the ladder says
KNOWN_SINCE = date(2026, 1, 20)
LATE = timedelta(days=5)
SLOT_SECONDS = 300
REFUSALS = 3
GOOD = {1440: "demo-01", 360: "demo-02"}
"""One for each width in which a journey may run: a gap is closed once."""
REFUSED, BARRED = "demo-07", "demo-14"


def posted(address: str, document: object, **headers: str) -> Any:
    """What a POST of a document answers."""
    return sent(address, json.dumps(document).encode(), **headers)


def sent(address: str, body: bytes, **headers: str) -> Any:
    """The same of its bytes."""
    request = Request(address, body, {"Content-Type": "application/json", **headers})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


# --- days before the day ---


def held_since_yesterday(desk: Desk) -> None:
    """Three positions of the day before; this morning one is worth more, one less, one the same."""
    desk.cloud.clock.set(YESTERDAY)
    at = next_minute(desk)
    desk.send(*(receipt(at, ticker) for ticker in SINCE_YESTERDAY))
    desk.tell()
    desk.cloud.clock.set(BEGINS)
    at = next_minute(desk)
    desk.send(*(receipt(at, ticker, price=Decimal(price)) for ticker, price in SINCE_YESTERDAY.items()))


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
    return posted(f"{cloud.place.mt5_url}/_fake/{path}", document)


def linked(desk: Desk, *names: str, since: date) -> dict[str, str]:
    """Accounts of the fake service as an operator links them, read from a day on; their ids by name."""
    wanted = {one.service_account_id: one for one in mt5_desk.links(desk.cloud.place.mt5_url, since)}
    with desk.cloud.database.transaction() as tx:
        return {name: deskstore.link_account(tx, wanted[name], desk.now).account_id for name in names}


def all_synced(desk: Desk) -> mt5_desk.Synced:
    """A sync of all linked accounts, at the next slot."""
    desk.step(SLOT_SECONDS)
    return mt5_desk.sync_all(desk.cloud.operator_environment)


def followed(desk: Desk) -> None:
    """Accounts whose past is known to the cent; from now on their broker shows deals five days late, their balance at once."""
    linked(desk, *GOOD.values(), since=KNOWN_SINCE)
    assert all_synced(desk).synced == len(GOOD)
    desk.tell()
    fake_mt5(desk.cloud, "faults", {"fault": "late_history", "seconds": LATE.total_seconds(), "account": list(GOOD.values())})


@contextmanager
def accounts_in_trouble(desk: Desk) -> Iterator[dict[str, str]]:
    """Beside the followed ones, of which deals are missing by now: an account that is refused, and one refused so often that it
    waits for a person. One is named by somebody who means ill.

    Yields their ids by name. Afterwards all are switched off, so that nobody else's day syncs them.
    """
    ids = linked(desk, *GOOD.values(), BARRED, since=KNOWN_SINCE)
    refuses = {"fault": "status", "code": 401, "error_code": "AUTH_FAILED", "account": [BARRED, REFUSED]}
    fake_mt5(desk.cloud, "faults", refuses)
    with desk.cloud.database.transaction() as tx:
        deskstore.rename_account(tx, ids[next(iter(GOOD.values()))], SCRIPT, desk.now)
        deskstore.rename_account(tx, ids[BARRED], f"{BARRED} {SCRIPT}", desk.now)
    for _ in range(REFUSALS - 1):
        all_synced(desk)
    ids |= linked(desk, REFUSED, since=KNOWN_SINCE)
    all_synced(desk)
    try:
        yield ids
    finally:
        with desk.cloud.database.transaction() as tx:
            for account_id in ids.values():
                deskstore.deactivate_account(tx, account_id, desk.now)


def late_deals_arrive(desk: Desk, name: str) -> None:
    """The broker shows an account's deals at once again; the next sync may begin."""
    rules = json.load(urlopen(f"{desk.cloud.place.mt5_url}/_fake/faults", timeout=10))["queued"]
    urlopen(Request(f"{desk.cloud.place.mt5_url}/_fake/faults", method="DELETE"), timeout=10).close()
    for rule in rules:
        left = [one for one in rule["account"] if one != name]
        if left:
            fake_mt5(desk.cloud, "faults", {"fault": rule["fault"], "account": left, **rule["options"]})
    desk.step(SLOT_SECONDS)


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


def message_removed(desk: Desk, message_id: str) -> None:
    """Somebody removes a message on Discord."""
    posted(f"{desk.cloud.place.discord_url}/_control/meddle", {"how": "deleted", "message_id": message_id})


def checked(desk: Desk, since: datetime, until: datetime) -> None:
    """A check of what was executed between two instants that changes nothing, as an admin orders it, until it is over."""
    order = {"since": since.isoformat(), "until": until.isoformat(), "repair": False}
    posted(f"{desk.url}/timed/admin/reconciliation", order, Authorization=f"Bearer {ADMIN_KEY}")
    check_worked_off(desk)


def given_up(desk: Desk) -> None:
    """The night's anchors of the books are to be told, and Discord is out of reach until the last try: nine hours of the clock.

    They belong into ``ops``, where no journey waits for everything to be told.
    """
    waits = [int(wait.total_seconds() * LATER) + 1 for wait in LADDER]
    desk.cloud.clock.set(NIGHT)
    url = desk.cloud.place.discord_url
    posted(f"{url}/_control/faults", {"fault": "network.refuse", "seconds": sum(waits) + 1})
    assert desk.cloud.control.run_job("desk-keeper") == 200
    desk.cloud.control.wait_idle()
    for wait in waits:
        desk.step(wait)
        assert desk.cloud.control.run_job("discord-drain") == 200
    desk.step(1)
    wait_until(lambda: is_reached(url))


def is_reached(url: str) -> bool:
    """Whether somebody listens there."""
    with suppress(URLError):
        urlopen(url, timeout=10).close()
        return True
    return False


def day_counted(desk: Desk) -> str:
    """What the desk has used so far is counted, as ``run`` does it every minute; the day."""
    return kept.settle(desk.cloud, Meter(desk.cloud)).isoformat()


def check_worked_off(desk: Desk) -> None:
    """Ticks of the notifier until no check is under way; Discord is asked no faster than it allows, so the clock goes on."""
    for _ in range(TICKS_MAX):
        desk.cloud.control.run_job("discord-drain")
        runs = desk.ask("/api/v1/notifications/reconciliation", limit="5")["runs"]
        if all(one["finished_ts"] is not None for one in runs):
            return
        desk.step(30)
    raise AssertionError("the check did not end")


def refused(desk: Desk, path: str, document: object, key: str) -> int:
    """The status with which a key's order is refused; 0 when it is not."""
    try:
        posted(f"{desk.url}{path}", document, Authorization=f"Bearer {key}")
    except HTTPError as error:
        return error.code
    return 0
