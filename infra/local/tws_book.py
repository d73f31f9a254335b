"""What the fake TWS serves: a plan of raw frames, or executions and positions told one by one; and how far back it serves.

``demo`` makes a small book for a day of the local cloud: the same day gives the same frames, whenever it is made.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from infra.local.tws_knobs import COMMISSION, EXECUTION, REQUEST_ID, Frame

UNSET = "1.7976931348623157E308"
_TIME = re.compile(r"(\d{8})[ -]+(\d{2}:\d{2}:\d{2})(?: (\S+))?")
_EXEC_ID, _EXECUTED_AT = 14, 15
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


def demo(accounts: Sequence[str], on: date, *, seed: int = 7) -> Book:
    """Return one New York day: orders filled in pieces with commissions, and the positions they leave behind."""
    chance = random.Random(f"{seed} {on} {','.join(accounts)}")
    opens_at = datetime.combine(on, time(9, 30), ZoneInfo("America/New_York"))
    book, number = Book(), 0
    held: dict[tuple[str, str, str, str], int] = {}
    for account in accounts:
        for order, (symbol, conid, price) in enumerate(_DEMO):
            pieces = [chance.choice((20, 40, 60)) for _ in range(chance.randint(1, 3))]
            perm_id, at = str(1_400_000_000 + on.toordinal() * 100 + number), opens_at + timedelta(minutes=chance.randint(1, 380))
            filled = 0
            for piece in pieces:
                number += 1
                filled += piece
                exec_id = f"0000fb{order:02x}.{on.toordinal():08x}.{number:02d}.01"
                texts = {"symbol": symbol, "conid": conid, "perm_id": perm_id, "cum_quantity": str(filled)}
                at += timedelta(seconds=chance.randint(0, 40))
                book.executions.append(execution(exec_id, account, at, "BOT", str(piece), price, **texts))
                book.executions.append(commission(exec_id, str(max(Decimal(1), Decimal(piece) * Decimal("0.005")))))
            held[account, symbol, conid, price] = filled
    book.positions = [position(account, conid, name, str(count), price) for (account, name, conid, price), count in held.items()]
    return book


def demo_until(accounts: Sequence[str], on: date, now: datetime) -> Book:
    """Return the demo day as far as it has come: executions up to ``now``, and the positions they come to."""
    whole = demo(accounts, on)
    later = {_exec_id(frame) for frame in within(whole.executions, now)}
    executions = [frame for frame in whole.executions if _exec_id(frame) not in later]
    held: dict[tuple[str, str], int] = {}
    for frame in executions:
        if frame[0] == EXECUTION:
            key = (frame[_EXECUTED_AT + 1], frame[3])
            held[key] = held.get(key, 0) + int(frame[19])
    positions: list[Frame] = [
        [*one[:-2], str(held[one[2], one[3]]), one[-1]] for one in whole.positions if (one[2], one[3]) in held
    ]
    return Book(executions=executions, positions=positions)


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
