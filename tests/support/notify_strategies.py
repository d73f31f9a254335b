"""Generated executions for the notifier's laws: any figures the ledger can hold, any text a sender can choose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from fillbook.notify.execution import Change, Execution, LotPart, Telling

MONEY = st.decimals(min_value=Decimal("-1e19"), max_value=Decimal("1e19"), places=8)
PRICES = st.decimals(min_value=Decimal("0.0000000001"), max_value=Decimal("1e9"), places=10)
QUANTITIES = st.decimals(min_value=Decimal("0.0000000001"), max_value=Decimal("1e9"), places=10)
FIRST = datetime(2015, 1, 2, tzinfo=UTC)
INSTANTS = st.integers(0, 16 * 365 * 86_400_000_000).map(lambda after: FIRST + timedelta(microseconds=after))
NASTY = st.sampled_from(
    ["@everyone", "<@1>", "[x](http://evil.example)", "~~", "**", "`", "\u202e", "😀", "\\", "profit target", "|"]
)
WORDS = st.lists(st.one_of(st.text(max_size=8), NASTY), max_size=6).map("".join)
TICKERS = st.one_of(
    st.sampled_from(["AMD", "BRK.B", "ES1!", "EURUSD-x"]), st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
)


def storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


@st.composite
def executions(draw: Any, tellings: Any = None) -> Execution:
    """One execution as the ledger could have stored it."""
    kind = draw(st.sampled_from(["ENTRY", "ADD_ENTRY", "TRIM", "EXIT"]))
    closing = kind in ("TRIM", "EXIT")
    lots = draw(st.lists(st.builds(LotPart, quantity=QUANTITIES, price=PRICES, realized_pnl=st.none() | MONEY), max_size=12))
    telling = draw(tellings if tellings is not None else st.sampled_from(list(Telling)))
    changes = tuple(
        Change(column=column, before=str(draw(PRICES)), after=str(draw(PRICES)))
        for column in draw(st.lists(st.sampled_from(["price", "value", "fees", "realized_pnl", "meta"]), unique=True))
    )
    return Execution(
        book_id=draw(st.sampled_from(["live", "ibkr:U123", "mt5:Broker-Live:5501"])),
        action_id=draw(st.uuids()), version=draw(st.integers(1, 999)), position_id=draw(st.uuids()), action_type=kind,
        ticker=draw(TICKERS.filter(storable).filter(lambda text: text.strip() != "")),
        direction=draw(st.sampled_from(["LONG", "SHORT"])),
        executed_at=draw(INSTANTS), quantity=draw(QUANTITIES), price=draw(PRICES), value=draw(st.none() | MONEY),
        fees=draw(st.none() | MONEY), currency=draw(st.sampled_from(["USD", "EUR", "XXX"])),
        realized_pnl=draw(st.none() | MONEY) if closing else None, position_quantity_after=draw(st.none() | QUANTITIES),
        position_vwap_after=draw(st.none() | PRICES), unrealized_pnl_after=None if kind == "EXIT" else draw(st.none() | MONEY),
        position_realized_pnl_after=draw(st.none() | MONEY) if closing else None, lots=tuple(lots),
        lot_count=len(lots) + draw(st.sampled_from([0, 0, 30])) if lots else 0, reason=draw(st.none() | WORDS.filter(storable)),
        cause=draw(st.sampled_from(["first", "revision", "bust", "settled", "commission"])), telling=telling, changes=changes,
    )  # fmt: skip
