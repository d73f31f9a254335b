"""Generated histories for the ledger's laws: what a broker may send of two instruments, in booking order of the facts.

Both sides, effects, ties within one instant, unknown fees and multipliers that become known, revisions, busts, several lot
references, splits. A history is a list of deliveries; any order and batching of it is a possible day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from fillbook.ledger.model import Book, Fill
from fillbook.runtime.errors import Rejected
from tests.support.ledger import MemoryWorld, make_book, make_fill

BROKER = "ibkr:U1"
METHODS = ("FIFO", "LIFO", "HIFO", "AVERAGE", "SPECIFIC")
# a history is folded several times in each example; FILLBOOK_EXAMPLES raises these with the rest
half = settings(max_examples=max(10, settings().max_examples // 2))
quarter = settings(max_examples=max(10, settings().max_examples // 4))
_FATES = ("plain", "plain", "unknown fees", "late fees", "late multiplier", "revised", "moved", "busted", "both")
quantities = st.one_of(
    st.integers(1, 20).map(Decimal),
    st.decimals("0.0001", "9", places=4, allow_nan=False, allow_infinity=False),
    st.decimals("0.0000000001", "3", places=10, allow_nan=False, allow_infinity=False),
)
prices = st.decimals("0.5", "300", places=2, allow_nan=False, allow_infinity=False)
fees = st.one_of(st.just(Decimal(0)), st.decimals("-1", "5", places=4, allow_nan=False, allow_infinity=False))


@dataclass(frozen=True, slots=True)
class Split:
    """A split to be entered between deliveries."""

    ratio: tuple[int, int]
    minute: int


@st.composite
def facts(draw: st.DrawFn, size: int = 12, *, hedge: bool = False, **fixed: Any) -> list[Fill]:
    """Fills of two instruments, one version each; ``fixed`` holds columns that shall not vary; ``hedge`` adds directions."""
    count = draw(st.integers(1, size))
    found = []
    for number in range(count):
        options: dict[str, Any] = {
            "source": "ibkr",
            "account_key": "U1",
            "instrument": draw(st.sampled_from(["AMD", "NVDA"])),
            "fees": draw(fees),
            "venue_order": draw(st.sampled_from(["", "1", "2"])),
            "position_effect": draw(st.sampled_from(["auto", "auto", "auto", "open", "close"])),
            "lot_ref": draw(st.sampled_from([None, "a", "b"])),
            **fixed,
        }
        options.setdefault("quantity", draw(quantities))
        options.setdefault("price", draw(prices))
        quantity, price = options.pop("quantity"), options.pop("price")
        if hedge:
            options["direction"] = draw(st.sampled_from(["LONG", "SHORT"]))
        if draw(st.booleans()):
            options["lot_picks"] = [(draw(st.sampled_from(["a", "b"])), str(quantity))]
        side = draw(st.sampled_from(["BUY", "SELL"]))
        found.append(make_fill(f"x{number}", side, quantity, price, draw(st.integers(0, 8)), **options))
    return found


@st.composite
def deliveries(draw: st.DrawFn, size: int = 10, *, hedge: bool = False) -> list[Fill]:
    """Facts with what happens to them: unknown first and known later, corrected, busted, moved to another instrument."""
    result: list[Fill] = []
    for fill in draw(facts(size, hedge=hedge)):
        fate = draw(st.sampled_from(_FATES))
        if fate == "unknown fees":
            result.append(replace(fill, fees=None, fees_currency=None))
            continue
        if fate == "late fees":
            result.append(replace(fill, fees=None, fees_currency=None))
        if fate == "late multiplier":
            result.append(replace(fill, multiplier=None, currency="XXX"))
        result.append(fill)
        revised = replace(fill, source_revision=2, cause="revision", price=draw(prices), quantity=draw(quantities))
        if fate == "moved":
            revised = replace(revised, instrument="NVDA" if fill.instrument == "AMD" else "AMD")
        if fate in ("revised", "moved", "both"):
            result.append(revised)
        if fate in ("busted", "both"):
            result.append(replace(fill if fate == "busted" else revised, is_bust=True, cause="bust"))
    return result


@st.composite
def batches(draw: st.DrawFn, items: Sequence[Fill]) -> list[list[Fill]]:
    """Any order, any batching."""
    order = draw(st.permutations(items))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(order) - 1)), max_size=6)))
    return [list(order[start:end]) for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True) if order[start:end]]


def broker_book(method: str, netting: str = "net") -> Book:
    """A broker's book, where facts are parked and never refused."""
    return make_book(BROKER, method, netting)


def delivered(items: Sequence[Fill | Split], method: str = "FIFO") -> MemoryWorld:
    """A world after the items came one by one."""
    world = MemoryWorld(broker_book(method))
    for item in items:
        if isinstance(item, Split):
            for instrument in ("AMD", "NVDA"):
                world.split(item.ratio, item.minute, instrument=instrument)
        else:
            world.deliver([item])
    return world


def is_refused(action: Any) -> str | None:
    """The reason for which ``action()`` is refused, or None."""
    try:
        action()
    except Rejected as error:
        return error.reason
    return None
