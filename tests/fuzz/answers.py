"""What an MT5 service answers, in both of its languages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

from fillbook.mt5 import contract, contract_v0, contract_v1, faults, reading, server_time, told
from fillbook.mt5.faults import CallFailed, ContractError
from fillbook.mt5.model import DealPage, Info, Snapshot, Window
from fillbook.runtime.sql import encode
from tests.support.mt5_shapes import (
    ASKED,
    ASKED_UTC,
    NOW,
    NOW_MSC,
    RULE,
    deal,
    deals_v1,
    head_v1,
    history_v0,
    info,
    infos_v0,
    position,
    positions_v0,
    snapshot_v1,
    target,
    wire,
)

NAMES: Final = (
    "contract mt5/1 login server server_time_msc as_of cache_age_ms complete info positions rows error code retry_after_seconds",
    "total next_cursor deals ticket order position_id time time_msc type entry reason volume price commission swap fee profit",
    "symbol comment magic external_id balance equity margin free_margin margin_free margin_level credit leverage currency",
    "currency_digits margin_mode success data account_info positions_count total_positions trades total_trades pagination",
    "has_more open_time close_time open_price close_price type_str timestamp cached cache_age_seconds limit offset symbols",
    "contract_size status limits requests_per_minute sessions healthy degraded unhealthy INVALID_LOGIN detail message error_code",
)
_WINDOW: Final = Window(from_msc=NOW_MSC - 86_400_000, to_msc=NOW_MSC + 1)


_READERS: Final[Mapping[str, Callable[[bytes], object]]] = {
    "v1 health": contract_v1.read_health,
    "v1 snapshot": lambda body: _snapshot(contract_v1.read_snapshot(body)),
    "v1 deals": lambda body: _page(contract_v1.read_deals(body, is_first=True)),
    "v1 deals on": lambda body: _page(contract_v1.read_deals(body, is_first=False)),
    "v1 symbols": contract_v1.read_symbols,
    "v0 health": contract_v0.read_health,
    "v0 info": lambda body: _info(contract_v0.read_info(body, ASKED).info),
    "v0 positions": lambda body: contract_v0.read_positions(body, ASKED),
    "v0 positions in utc": lambda body: contract_v0.read_positions(body, ASKED_UTC),
    "v0 history": lambda body: _page(contract_v0.read_history(body, ASKED, limit=1000, offset=0)),
    "v0 history in utc": lambda body: _page(contract_v0.read_history(body, ASKED_UTC, limit=2, offset=2, total_before=4)),
}


def seeds() -> Iterable[bytes]:
    """Every documented shape once, and the ways of saying that something is wrong."""
    money, held, deals = info(), (position(1), position(2, comment="ä")), (deal(1), deal(2, entry=1))
    yield wire(snapshot_v1(money, held))
    yield wire(deals_v1(deals))
    yield from (wire(document) for document in infos_v0(money, 2))
    yield from (wire(document) for document, _ in positions_v0(held))
    yield from (wire(document) for document, _ in history_v0(deals))
    facts = {"symbol": "EURGBP", "contract_size": "100000", "digits": 5, "currency_profit": "GBP"}
    yield wire({**head_v1(), "symbols": [facts]})
    yield wire({"status": "healthy", "contract": "mt5/1", "limits": {"requests_per_minute": 100, "sessions": 10}})
    yield b'{"success":false,"error":{"code":"BROKER_TIMEOUT","retry_after_seconds":7}}'
    yield b'{"detail":[{"loc":["x"]}]}'


def check(body: bytes) -> str:
    """Read an answer with every reader there is; each refuses it with a code, or makes values that can be stored."""
    words = []
    for name, read in _READERS.items():
        try:
            read(body)
        except CallFailed as refusal:
            encode([refusal.fault.where, refusal.fault.code])
            continue
        words.append(name)
    document, header = _document(body), _header(body)
    words += [faults.of_answer(status, document, retry_after=header, now=NOW).code for status in (200, 429, 500)]
    return " ".join(words)


def _document(body: bytes) -> object:
    try:
        return reading.parse(body)
    except ContractError:
        return None


def _header(body: bytes) -> str:
    return body[:40].decode("latin-1")


def _info(money: Info) -> None:
    encode([money.balance, money.equity, money.margin, money.margin_level])
    assert all(isinstance(one, Decimal) for one in (money.balance, money.equity, money.profit))


def _snapshot(snapshot: Snapshot) -> None:
    assert snapshot.head is not None
    server_time.compared(RULE, snapshot.head.server_time_msc or 0, snapshot.head.as_of)
    server_time.measured("other", snapshot.head.server_time_msc or 0, snapshot.head.as_of)
    if isinstance(snapshot.info, Info):
        _info(snapshot.info)
    if isinstance(snapshot.positions, tuple):
        for one in snapshot.positions:
            server_time.to_utc(RULE, one.time_msc)
            encode([told.line(one), one.extra])


def _page(page: DealPage) -> None:
    contract.only(page, _WINDOW)
    contract.only(page, 6001)
    try:
        contract.check_identity(page.head, target())
    except ContractError as error:
        assert error.fault.code == "identity_mismatch"
    for one in page.deals:
        server_time.to_utc(RULE, one.time_msc)
        server_time.clock_date(one.time_msc)
    for pair in page.paired:
        server_time.to_utc(RULE, pair.close_msc)
    told.content(page.deals, page.paired)
    if page.next_cursor is not None and page.head.server_time_msc is None:
        contract_v0.place_of(page.next_cursor)
