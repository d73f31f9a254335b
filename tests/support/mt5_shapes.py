"""One state of an account, written in every shape a service may answer in: what a test means, and what goes over the wire.

The values are the tests' own. Times are whole seconds, positions keep their first ticket, so that every shape can say them all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from fillbook.mt5 import contract_v0, contract_v1, server_time
from fillbook.mt5.contract import Asked
from fillbook.mt5.model import Deal, DealPage, Info, Instance, OpenPosition, ServerRule, Target
from fillbook.mt5.words import ContractKind, EpochClock, TradeSide

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "mt5"
SERVER, LOGIN = "Meadow-Live", 20_000_007
RULE = ServerRule(server=SERVER, zone_name="America/New_York", shift_minutes=420)
NOW = datetime(2026, 5, 6, 14, 30, tzinfo=UTC)
NOW_MSC = server_time.to_server(RULE, NOW)
ASKED = Asked(at=NOW, rule=RULE)
ASKED_UTC = Asked(at=NOW, rule=RULE, epoch_clock=EpochClock.UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def target(base_url: str = "http://127.0.0.1:9", kind: ContractKind = ContractKind.V1, **changes: Any) -> Target:
    """An account of the service at ``base_url``."""
    instance = Instance(instance_key="default", base_url=base_url, contract=kind)
    named = {"account_id": "a-1", "service_account_id": "svc-7", "login": LOGIN, "server": SERVER, "rule": RULE}
    return Target(instance=instance, **{**named, **changes})


def info(**changes: Any) -> Info:
    """An account's money."""
    named = {
        "balance": Decimal("2500.50"), "equity": Decimal("2512.25"), "margin": Decimal(125), "margin_free": Decimal("2387.25"),
        "margin_level": Decimal("2009.8"), "credit": Decimal(0), "profit": Decimal("11.75"), "leverage": 200, "currency": "EUR",
        "currency_digits": 2, "margin_mode": 2,
    }  # fmt: skip
    return Info(**{**named, **changes})


def position(number: int = 1, **changes: Any) -> OpenPosition:
    """An open position, opened ``number`` minutes before now."""
    named = {
        "ticket": 810_000 + number, "position_id": 810_000 + number, "time_msc": NOW_MSC - number * 60_000, "side": TradeSide.BUY,
        "volume": Decimal("0.3"), "price_open": Decimal("1.0925"), "price_current": Decimal("1.0931"),
        "stop_loss": Decimal("1.088"), "take_profit": None, "swap": Decimal("-0.25"), "profit": Decimal(12),
        "symbol": "EURGBP", "comment": "", "magic": 0,
    }  # fmt: skip
    return OpenPosition(**{**named, **changes})


def deal(number: int = 1, **changes: Any) -> Deal:
    """An entry, one minute after another."""
    named = {
        "deal_ticket": 5_000 + number, "order_id": 6_000 + number, "position_id": 6_000 + number,
        "time_msc": NOW_MSC - 3_600_000 + number * 60_000, "deal_type": 0, "entry": 0, "reason": 3, "symbol": "EURGBP",
        "volume": Decimal("0.3"), "price": Decimal("1.0925"), "profit": Decimal(0), "commission": Decimal("-1.05"),
        "swap": Decimal(0), "fee": Decimal(0), "magic": 77, "comment": "ea", "external_id": "",
    }  # fmt: skip
    return Deal(**{**named, **changes})


def wire(document: Any) -> bytes:
    """JSON as a service writes it: Decimals as numbers, never through a float."""
    marked = json.dumps(document, default=lambda number: f"\x1f{number}\x1f" if isinstance(number, Decimal) else None)
    return marked.replace('"\\u001f', "").replace('\\u001f"', "").encode()


# --- contract mt5/1 ---------------------------------------------------------------------------------------------------


def head_v1(**changes: Any) -> dict[str, Any]:
    """The head of every answer about an account."""
    named = {
        "contract": "mt5/1", "login": str(LOGIN), "server": SERVER, "server_time_msc": str(NOW_MSC),
        "as_of": f"{NOW:%Y-%m-%dT%H:%M:%S.000Z}", "cache_age_ms": 0,
    }  # fmt: skip
    return {**named, **changes}


def snapshot_v1(money: Info, positions: Sequence[OpenPosition], number: Callable[[Decimal], Any] = str) -> dict[str, Any]:
    """A snapshot; ``number`` writes an amount, as text or as a number."""
    told = {
        "complete": True, "leverage": money.leverage,
        "margin_level": number(money.margin_level or Decimal(0)),
        **{name: number(getattr(money, name)) for name in ("balance", "equity", "margin", "margin_free", "credit", "profit")},
    }  # fmt: skip
    rows = [
        {
            "ticket": str(one.ticket), "identifier": str(one.position_id), "time": one.time_msc // 1000,
            "time_msc": str(one.time_msc), "time_update_msc": str(one.time_msc), "type": _side_number(one),
            "symbol": one.symbol, "comment": one.comment, "magic": one.magic,
            **{name: number(getattr(one, name) or Decimal(0))
               for name in ("volume", "price_open", "price_current", "swap", "profit")},
            "sl": number(one.stop_loss or Decimal(0)), "tp": number(one.take_profit or Decimal(0)),
        }
        for one in positions
    ]  # fmt: skip
    frame = {"margin_mode": money.margin_mode, "currency": money.currency, "currency_digits": money.currency_digits}
    return {**head_v1(), **frame, "info": told, "positions": {"complete": True, "rows": rows}}


def deals_v1(deals: Sequence[Deal], number: Callable[[Decimal], Any] = str, **changes: Any) -> dict[str, Any]:
    """A page that is the only one."""
    rows = [_deal_row(one, number, str) for one in deals]
    return {**head_v1(), "complete": True, "total": len(deals), "next_cursor": None, "deals": rows, **changes}


# --- the three-endpoint service ---------------------------------------------------------------------------------------


def infos_v0(money: Info, count: int) -> list[dict[str, Any]]:
    """Info in both roots."""
    told = {name: getattr(money, name) for name in ("balance", "equity", "margin", "credit", "profit", "leverage", "currency")}
    told["margin_level"] = money.margin_level or Decimal(0)
    more = {"margin_mode": money.margin_mode, "currency_digits": money.currency_digits}
    return [
        {"success": True, "timestamp": f"{NOW:%Y-%m-%dT%H:%M:%SZ}", "cached": False, "cache_age_seconds": 0,
         "data": {**told, **more, "free_margin": money.margin_free, "positions_count": count}},
        {"account_info": {**told, **more, "margin_free": money.margin_free, "login": LOGIN, "server": SERVER}},
    ]  # fmt: skip


def positions_v0(positions: Sequence[OpenPosition]) -> list[tuple[dict[str, Any], Asked]]:
    """The list in its spellings, each with how its epochs are to be read."""
    iso, epoch, epoch_utc, mixed = [], [], [], []
    for one in positions:
        same = {"ticket": one.ticket, "symbol": one.symbol, "volume": one.volume, "swap": one.swap, "profit": one.profit,
                "sl": one.stop_loss or Decimal(0), "tp": one.take_profit or Decimal(0), "comment": one.comment,
                "magic": one.magic}  # fmt: skip
        first = {"open_price": one.price_open, "current_price": one.price_current or Decimal(0)}
        second = {"price_open": one.price_open, "price_current": one.price_current or Decimal(0)}
        at, side = server_time.to_utc(RULE, one.time_msc), _side_number(one)
        seconds = int((at - EPOCH).total_seconds())
        iso.append({**same, **first, "type": one.side.value, "open_time": f"{at:%Y-%m-%dT%H:%M:%SZ}"})
        epoch.append({**same, **second, "type": side, "identifier": one.position_id, "time": one.time_msc // 1000,
                      "time_msc": one.time_msc})  # fmt: skip
        epoch_utc.append({**same, **second, "type": side, "open_time": seconds})
        mixed.append({**same, **second, "type": side, "type_str": one.side.value.upper(), "time": at.isoformat()})
    count = len(positions)
    return [
        ({"success": True, "positions": iso, "total_positions": count, "total_profit": Decimal("1.5")}, ASKED),
        ({"success": True, "positions": epoch}, ASKED),
        ({"success": True, "positions": epoch_utc, "positions_count": count}, ASKED_UTC),
        ({"positions": mixed}, ASKED),
    ]


def history_v0(deals: Sequence[Deal]) -> list[tuple[dict[str, Any], Asked]]:
    """Deals with and without paging, in both clocks."""
    rows = [{**_deal_row(one, lambda number: number, lambda number: number), "time": one.time_msc // 1000} for one in deals]
    utc = []
    for row in rows:
        at = server_time.to_utc(RULE, row["time_msc"])
        utc.append({**row, "time": int((at - EPOCH).total_seconds()), "time_msc": int((at - EPOCH).total_seconds()) * 1000})
    pages = {"limit": 1000, "offset": 0, "has_more": False}
    return [
        ({"success": True, "deals": rows, "total": len(rows), "pagination": pages}, ASKED),
        ({"success": True, "deals": utc, "total_deals": len(rows)}, ASKED_UTC),
        ({"deals": [{name: value for name, value in row.items() if name != "time_msc"} for row in rows]}, ASKED),
    ]


def read_v0_history(body: bytes, asked: Asked = ASKED, *, limit: int = 1000, offset: int = 0) -> DealPage:
    """Read a page as the adapter does."""
    return contract_v0.read_history(body, asked, limit=limit, offset=offset)


def read_v1_deals(body: bytes) -> DealPage:
    """Read a first page."""
    return contract_v1.read_deals(body, is_first=True)


def _side_number(one: OpenPosition) -> int:
    return 0 if one.side is TradeSide.BUY else 1


def _deal_row(one: Deal, number: Callable[[Decimal], Any], whole: Callable[[int], Any]) -> dict[str, Any]:
    amounts = {name: number(getattr(one, name)) for name in ("volume", "price", "profit", "commission", "swap", "fee")}
    return {
        "ticket": whole(one.deal_ticket), "order": whole(one.order_id), "position_id": whole(one.position_id),
        "time_msc": whole(one.time_msc), "type": one.deal_type, "entry": one.entry, "reason": one.reason,
        "symbol": one.symbol, "magic": one.magic, "comment": one.comment, "external_id": one.external_id, **amounts,
    }  # fmt: skip


def at_path(document: Any, path: Sequence[str | int]) -> Any:
    """What stands at a path of keys and numbers."""
    for step in path:
        document = document[step]
    return document


def paths(document: Any, before: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every path below a document."""
    inner = document.items() if isinstance(document, Mapping) else enumerate(document) if isinstance(document, list) else ()
    return [path for name, value in inner for path in ((*before, name), *paths(value, (*before, name)))]
