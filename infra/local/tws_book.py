"""What the fake TWS serves: a plan of raw frames, or executions and positions told one by one; and how far back it serves.

``demo`` makes a small book for a day of the local cloud: the same day gives the same frames, whenever it is asked for.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from infra.local.tws_knobs import COMMISSION, EXECUTION, REQUEST_ID, Frame

UNSET = "1.7976931348623157E308"
_TIME = re.compile(r"(\d{8})[ -]+(\d{2}:\d{2}:\d{2})(?: (\S+))?")
_EXEC_ID, _EXECUTED_AT = 14, 15
_NEW_YORK = ZoneInfo("America/New_York")
_HELD = (("SPY", "756733", "598.40"), ("QQQ", "320227571", "512.10"))
_HOLDING = 200
_DEMO = (("AAPL", "265598", "231.50"), ("MSFT", "272093", "418.25"), ("XOM", "13977", "108.90"), ("KO", "8894", "63.75"))


@dataclass(slots=True)
class Book:
    """The frames of the next answers; ``executions`` holds 11 and 59 frames in the order in which they are sent."""

    executions: list[Frame] = field(default_factory=list)
    positions: list[Frame] = field(default_factory=list)


def execution(exec_id: str, account: str, executed_at: datetime, side: str, shares: str, price: str, **texts: str) -> list[str]:
    """Return an execDetails frame (version 176) of a stock; ``texts``: symbol, conid, perm_id, order_ref, cum_quantity."""
    symbol, conid = texts.get("symbol", "AAPL"), texts.get("conid", "265598")
    cumulative = texts.get("cum_quantity", shares)
    at = executed_at.astimezone(ZoneInfo("US/Eastern")).strftime("%Y%m%d %H:%M:%S US/Eastern")
    contract = [conid, symbol, "STK", "", "0.0", "", "", "SMART", "USD", symbol, "NMS"]
    order = [texts.get("perm_id", "0"), "0", "0", cumulative, price, texts.get("order_ref", ""), "", "", "", "2"]
    return [EXECUTION, REQUEST_ID, "0", *contract, exec_id, at, account, "ISLAND", side, shares, price, *order]


def commission(exec_id: str, amount: str, currency: str = "USD", realized: str = UNSET) -> list[str]:
    """Return a commission frame."""
    return [COMMISSION, "1", exec_id, amount, currency, realized, UNSET, ""]


def position(account: str, conid: str, symbol: str, quantity: str, average_cost: str, sec_type: str = "STK") -> list[str]:
    """Return a position frame."""
    contract = [conid, symbol, sec_type, "", "0.0", "", "", "", "USD", symbol, "NMS"]
    return ["61", "3", account, *contract, quantity, average_cost]


def demo(accounts: Sequence[str], now: datetime, *, seed: int = 7) -> Book:
    """Return the New York day of ``now`` as far as it has come: executions, and the positions they come to.

    What is bought in the morning is sold before the close, beside holdings of other stocks that never change: so the positions
    of one day follow from those of the day before, whichever days are served, and so does what they cost, first in, first out.
    """
    on = now.astimezone(_NEW_YORK).date()
    held: dict[tuple[str, str, str], deque[tuple[int, Decimal]]] = {}
    for account in accounts:
        held |= {(account, name, conid): deque([(_HOLDING, Decimal(cost))]) for name, conid, cost in _HELD}
    book = Book()
    told = (
        []
        if on.weekday() >= 5
        else [frame for number, account in enumerate(accounts) for frame in _day(account, on, number, seed)]
    )
    later = {_exec_id(frame) for frame in within(told, now)}
    for frame in told:
        if _exec_id(frame) in later:
            continue
        book.executions.append(frame)
        if frame[0] == EXECUTION:
            lots = held.setdefault((frame[16], frame[4], frame[3]), deque())
            _trade(lots, frame[18], int(frame[19]), Decimal(frame[20]))
    book.positions = [position(account, conid, name, *_worth(lots)) for (account, name, conid), lots in held.items() if lots]
    return book


def _trade(lots: deque[tuple[int, Decimal]], side: str, count: int, price: Decimal) -> None:
    """Buy a lot, or sell from the oldest ones."""
    if side == "BOT":
        lots.append((count, price))
        return
    while count:
        held, cost = lots.popleft()
        if held > count:
            lots.appendleft((held - count, cost))
        count -= min(held, count)


def _worth(lots: Collection[tuple[int, Decimal]]) -> tuple[str, str]:
    """What is held and what a share of it cost on average."""
    shares = sum(count for count, _ in lots)
    paid = sum((count * cost for count, cost in lots), Decimal(0))
    return str(shares), str((paid / shares).quantize(Decimal("1e-8")))


def _day(account: str, on: date, number: int, seed: int) -> list[list[str]]:
    """One account's day: each stock bought in pieces by one order and sold in pieces by another."""
    chance = random.Random(f"{seed} {on} {account}")
    frames: list[list[str]] = []
    for place, (symbol, conid, price) in enumerate(_DEMO):
        pieces = [chance.choice((20, 40, 60)) for _ in range(chance.randint(1, 3))]
        for side, begins_at in (("BOT", time(9, 31)), ("SLD", time(13, 30))):
            perm_id = on.toordinal() * 1_000 + number * 20 + place * 2 + (side == "SLD")
            at = datetime.combine(on, begins_at, _NEW_YORK) + timedelta(minutes=chance.randint(0, 140))
            paid = (Decimal(price) * (1 + Decimal(chance.randint(-100, 100)) / 10_000)).quantize(Decimal("0.01"))
            filled = 0
            for piece, count in enumerate(pieces, 1):
                filled += count
                exec_id = f"0000fb{number:02x}.{perm_id:08x}.{piece:02d}.01"
                texts = {"symbol": symbol, "conid": conid, "perm_id": str(perm_id), "cum_quantity": str(filled)}
                at += timedelta(seconds=chance.randint(0, 40))
                frames.append(execution(exec_id, account, at, side, str(count), str(paid), **texts))
                frames.append(commission(exec_id, str(max(Decimal("1.00"), Decimal(count) * Decimal("0.005")))))
    return frames


def within(frames: Iterable[Frame], since: datetime) -> list[Frame]:
    """Return what is served from an instant on: earlier executions and their commissions are left out."""
    kept = list(frames)
    left_out = {frame[_EXEC_ID] for frame in kept if frame[0] == EXECUTION and _is_before(frame, since)}
    return [frame for frame in kept if _exec_id(frame) not in left_out]


def filter_time(text: str) -> datetime | None:
    """Return the instant of a filter in the dash form, which is UTC; raises ``ValueError`` for any other spelling."""
    return datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC) if text else None


def _exec_id(frame: Frame) -> str | None:
    at = {EXECUTION: _EXEC_ID, COMMISSION: 2}.get(frame[0])
    return None if at is None else frame[at]


def _is_before(frame: Frame, since: datetime) -> bool:
    """Whether a frame's time is readable and before an instant; what cannot be read is always served."""
    parts = _TIME.fullmatch(frame[_EXECUTED_AT])
    if parts is None:
        return False
    zone_name = parts[3] or ("UTC" if "-" in frame[_EXECUTED_AT] else "America/New_York")
    try:
        at = datetime.strptime(f"{parts[1]} {parts[2]}", "%Y%m%d %H:%M:%S").replace(tzinfo=ZoneInfo(zone_name))
    except (KeyError, ValueError):
        return False
    return at < since
