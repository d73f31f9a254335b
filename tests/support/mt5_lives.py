"""Accounts that live a story each on one desk, side by side: a handful of runs of the real functions tells all of them.

A story is a generator: it does something at the account's broker and yields for a run, again and again; after each run it looks
at what is stored. Faults are limited to the account and by count, so no story disturbs another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from tests.support.mt5_fleet import FleetDesk

Story = Iterator[None]
Told = Mapping[str, Any]


class Life:
    """One account of a story: its broker's side (``does``, ``fault``) and, after a run, what the room holds of it."""

    def __init__(self, desk: FleetDesk, name: str, *, is_v0: bool = False) -> None:
        self.desk, self.name, self.is_v0 = desk, name, is_v0
        self.row: Told = {}
        self.logs: list[Told] = []
        self.trades: list[Told] = []
        self.events: list[str] = []
        self.counts: Mapping[str, int] = {}

    def does(self, kind: str, *, ago: timedelta | None = None, late: timedelta | None = None, **given: Any) -> Any:
        """An operation at the broker, now or some time ago; ``late``: history shows it only so much later."""
        now = self.desk.cloud.clock.now()
        given |= {} if ago is None else {"at": (now - ago).isoformat()}
        given |= {} if late is None else {"appears_at": (now + late).isoformat()}
        return self.desk.broker(f"accounts/{self.name}/operations", operations=[{"kind": kind, **given}])[0]

    def does_all(self, operations: Iterable[Told]) -> None:
        """Many operations at once, now."""
        self.desk.broker(f"accounts/{self.name}/operations", operations=list(operations))

    def calls(self, endpoint: str) -> int:
        """How often the broker was asked that of the account."""
        return int(self.desk.broker("calls", "GET")["accounts"].get(self.name, {}).get(endpoint, 0))

    def fault(self, knob: str, *, count: int, **rule: Any) -> None:
        """The broker does this to the account's next calls."""
        self.desk.fault(knob, account=self.name, count=count, **rule)

    def trades_some(self) -> None:
        """A deposit, a closed trade and an open one."""
        self.does("deposit", amount="10000.00")
        self.does("open", symbol="EURUSD", side="buy", volume="1.00", price="1.10000", ref="one")
        self.does("close", position="one", price="1.10100")
        self.does("open", symbol="EURUSD", side="sell", volume="0.50", price="1.10200", ref="two")

    @property
    def told(self) -> tuple[str, str | None]:
        """Status and code of the last run."""
        return self.logs[-1]["status"], self.logs[-1]["error_code"]

    @property
    def states(self) -> list[str]:
        """States of its trades, by position and episode."""
        return [one["status"] for one in self.trades]

    @property
    def snapshot(self) -> str:
        """Where the account's money is told."""
        return "info" if self.is_v0 else "snapshot"

    @property
    def history(self) -> str:
        """Where its deals are told."""
        return "history" if self.is_v0 else "deals"

    def is_fine(self) -> bool:
        """The last run was a success."""
        return self.told == ("success", None) and self.row["sync_failure_count"] == 0 and self.row["last_error"] is None


Written = Callable[[Life], Story]
_ADDED: Final[Mapping[str, Told]] = {
    "15": {"mode": "netting"},
    "27": {"overrides": {"margin_level": "101398.67590140559", "margin": "10.00"}, "shape": {"numbers": "noisy"}},
}
_CLOCKS: Final[Mapping[str, Told]] = {"26": {"zone_name": "UTC", "shift_minutes": 180}}
_SINCE: Final = {"12": timedelta(days=90)}
_ROWS = """
select a.id::text as account_id, a.balance, a.credit, a.margin_level, a.sync_failure_count, a.last_connection_error as last_error,
       a.last_successful_sync_at, s.history_until_msc, s.history_floor_msc, s.backfill_state::text as backfill_state,
       s.opening_proven, s.cash_state::text as cash_state, s.next_due_at > :next_tick::timestamptz as is_waiting, h.backfill_pct,
       (select count(distinct d.deal_ticket) from mt5.deals d where d.account_id = a.id) as deals,
       (select count(*) from mt5.cash_operations c where c.account_id = a.id) as cash
  from mt5.trading_accounts a
  join mt5.account_sync_state s on s.account_id = a.id
  join mt5.account_sync_health h on h.account_id = a.id
 where a.is_active
"""
_LOGS = """select account_id::text as account_id, status::text as status, error_code, error_message, trades_synced, attempts
             from mt5.sync_logs order by started_at"""
_TRADES = """select account_id::text as account_id, id, position_id, episode, ticket, status::text as status, type::text as type,
                    open_volume, open_price, close_price, open_time, close_time, realized_profit, net_pnl
               from mt5.trades order by position_id, episode"""
_EVENTS = """select event_type, split_part(aggregate_key, '/', 2) as account_id
               from outbox.events where aggregate_key like 'mt5/%' order by id"""


class Lives:
    """All stories on one desk: accounts of two instances, one for each language, each at a server of its own."""

    def __init__(self, desk: FleetDesk, stories: Mapping[str, Written], in_both: Iterable[str]) -> None:
        """``stories`` by the numbers of their scenarios; those ``in_both`` are lived in either language."""
        self.desk = desk
        self.going: dict[str, tuple[Life, Story]] = {}
        desk.begin(0, seed=0)
        urls = {False: desk.cloud.place.mt5_url, True: self._simple_service()}
        for number, story in stories.items():
            for is_v0 in (False, True) if number in in_both else (False,):
                one = self._settled(number, urls[is_v0], is_v0=is_v0)
                self.going[one.name] = (one, story(one))
        self.told = len(self.going)

    def _simple_service(self) -> str:
        """The three-endpoint service on a port of its own, with a limit that nobody reaches."""
        return str(self.desk.broker("instances", name="simple", contract="v0", requests_per_minute=60_000)["base_url"])

    def _settled(self, number: str, url: str, *, is_v0: bool) -> Life:
        name, instance = f"story-{number}-{'v0' if is_v0 else 'v1'}", "simple" if is_v0 else "default"
        self.desk.broker("servers", name=name, **_CLOCKS.get(number, {}))
        made = self.desk.broker("accounts", id=name, server=name, instance=instance, **_ADDED.get(number, {}))[0]
        since = _SINCE.get(number)
        self.desk.link(made, url=url, instance=instance, since=since)
        if is_v0:  # it tells times in UTC and no clock
            self.desk.confirm_clock(name, zone_name="America/New_York", shift_minutes=420)
        return Life(self.desk, name, is_v0=is_v0)

    def go_on(self) -> bool:
        """Let every story go on to its next run; whether any wants one. A story that is not as it should be raises."""
        for name, (_, story) in list(self.going.items()):
            if next(story, story) is story:  # it yields nothing but None
                del self.going[name]
        return bool(self.going)

    def look(self) -> None:
        """Tell every life what the room holds of it."""
        desk = self.desk
        rows = {row["account_id"]: row for row in desk.rows(_ROWS, next_tick=desk.cloud.clock.now() + timedelta(minutes=6))}
        logs, trades, events = (_grouped(desk.rows(text)) for text in (_LOGS, _TRADES, _EVENTS))
        for one, _ in self.going.values():
            account_id = desk.accounts[one.name]
            one.row = rows[account_id]
            one.counts = {name: one.row[name] for name in ("deals", "cash")}
            one.logs, one.trades = logs.get(account_id, []), trades.get(account_id, [])
            one.events = [row["event_type"] for row in events.get(account_id, [])]


def _grouped(rows: Iterable[dict[str, Any]]) -> dict[str, list[Told]]:
    found: dict[str, list[Told]] = {}
    for row in rows:
        found.setdefault(row["account_id"], []).append(row)
    return found
