"""A book on Postgres through any life: booked, corrected, busted, split, late, told again, rebuilt; a model of its own beside it.

After each step the stored book holds the model's quantities, lots, gains and parked facts; a look back at any earlier moment, as
it was known at any other, is the model's too. The model shares no code with the ledger.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import count
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fillbook.ledger import asof, audit, rebuild, service
from fillbook.ledger.asof import Selection
from fillbook.ledger.model import Fill
from fillbook.ledger.moment import Moment
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Conflict
from tests.support.ledger import StoredWorld, at, make_book, make_fill
from tests.support.ledger_model import BookModel, Held, Split, Told
from tests.support.machines import walk

BOOKS = count(1)
INSTRUMENTS = ("AMD", "NVDA")
UNIT = Fraction(1, 10**6)
RATIOS = {(2, 1): Fraction(2), (1, 2): Fraction(1, 2), (3, 1): Fraction(3)}
SIZES = st.integers(1, 9).map(lambda size: Decimal(size) * 12)
PRICES = st.decimals("1", "300", places=2)
FEES = st.one_of(st.just(Decimal(0)), st.decimals("-1", "5", places=2), st.none())


class BookMachine(RuleBasedStateMachine):
    """One broker's book: facts of two instruments, and everything that happens to facts."""

    def __init__(self, db: Database) -> None:
        super().__init__()
        self.db, self.steps = db, 0

    @initialize(method=st.sampled_from(["FIFO", "LIFO"]))
    def opened(self, method: str) -> None:
        self.stored = StoredWorld(self.db, make_book(f"ibkr:M{next(BOOKS)}", method))
        self.model = BookModel(method)
        self.late: list[Fill] = []

    @property
    def now(self) -> datetime:
        return at(20 + self.steps)

    def told(self, *fills: Fill) -> list[str]:
        self.steps += 1
        self.model.told += [Told(fill, self.now) for fill in fills]
        return [str(outcome.status) for outcome in self.stored.deliver(fills, self.now)]

    @rule(
        side=st.sampled_from(["BUY", "SELL"]), quantity=SIZES, price=PRICES, fees=FEES, minute=st.integers(0, 9),
        instrument=st.sampled_from(INSTRUMENTS), effect=st.sampled_from(["auto", "auto", "auto", "close"]),
        fate=st.sampled_from(["told", "told", "overtaken"]),
    )  # fmt: skip
    def books(self, side: str, quantity: Decimal, price: Decimal, fees: Decimal | None, fate: str, **where: Any) -> None:
        options = {"source": "ibkr", "account_key": "U1", "instrument": where["instrument"], "position_effect": where["effect"]}
        fill = make_fill(f"x{self.steps}", side, quantity, price, where["minute"], fees=fees, **options)
        if fate == "overtaken":  # its correction comes first
            self.late.append(fill)
            fill = replace(fill, source_revision=2, price=price + 1, cause="revision")
        (status,) = self.told(fill)
        assert status in ("booked", "parked")

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def comes_late(self, data: st.DataObject) -> None:
        late = self.late.pop(data.draw(st.integers(0, len(self.late) - 1)))
        assert self.told(late) == ["superseded"]

    @precondition(lambda self: self.model.told)
    @rule(data=st.data(), price=PRICES, quantity=SIZES, is_moved=st.booleans())
    def corrects(self, data: st.DataObject, price: Decimal, quantity: Decimal, is_moved: bool) -> None:
        fill = data.draw(st.sampled_from(self.model.told)).fill
        revision = max(one.fill.source_revision for one in self.model.told if one.fill.source_id == fill.source_id) + 1
        moved = {"instrument": INSTRUMENTS[fill.instrument == INSTRUMENTS[0]]} if is_moved else {}
        right = replace(fill, source_revision=revision, is_bust=False, cause="revision", price=price, quantity=quantity, **moved)
        assert self.told(right)[0] in ("booked", "parked")

    @precondition(lambda self: self.model.current(self.now))
    @rule(data=st.data())
    def busts(self, data: st.DataObject) -> None:
        fill = data.draw(st.sampled_from(self.model.current(self.now)))
        assert self.told(replace(fill, is_bust=True, cause="bust")) == ["booked"]

    @precondition(lambda self: any(fill.fees is None for fill in self.model.current(self.now)))
    @rule(data=st.data())
    def learns_a_fee(self, data: st.DataObject) -> None:
        fill = data.draw(st.sampled_from([fill for fill in self.model.current(self.now) if fill.fees is None]))
        assert self.told(replace(fill, fees=Decimal("0.75")))[0] in ("enriched", "parked")

    @precondition(lambda self: self.model.told)
    @rule(data=st.data())
    def hears_it_again(self, data: st.DataObject) -> None:
        before = self.stored.chain_head
        again = data.draw(st.lists(st.sampled_from(self.model.told), min_size=1, max_size=4))
        assert {str(one.status) for one in self.stored.deliver([one.fill for one in again], self.now)} == {"duplicate"}
        assert self.stored.chain_head == before

    @precondition(lambda self: self.model.told)
    @rule(data=st.data())
    def hears_otherwise(self, data: st.DataObject) -> None:
        fill, before = data.draw(st.sampled_from(self.model.told)).fill, self.stored.chain_head
        (outcome,) = self.stored.deliver([replace(fill, price=fill.price + 1000)], self.now)
        assert (str(outcome.status), self.stored.chain_head) == ("conflict", before)

    @rule(ratio=st.sampled_from(sorted(RATIOS)), minute=st.integers(0, 9), instrument=st.sampled_from(INSTRUMENTS))
    def splits(self, ratio: tuple[int, int], minute: int, instrument: str) -> None:
        known = [one for one in self.model.splits if one.instrument == instrument]
        if len({one.effective_at for one in known}) > 1 or any(one.effective_at == at(minute) for one in known):
            return
        self._split(Split(instrument, RATIOS[ratio], at(minute), False, at(21 + self.steps)), ratio)

    @precondition(lambda self: self.model.splits)
    @rule(data=st.data())
    def undoes_a_split(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.model.splits))
        ratio = next(ratio for ratio, value in RATIOS.items() if value == one.ratio)
        self._split(one._replace(is_void=True, known_at=at(21 + self.steps)), ratio)

    def _split(self, one: Split, ratio: tuple[int, int]) -> None:
        self.steps += 1
        self.model.splits.append(one)
        minute = (one.effective_at - at(0)) / timedelta(minutes=1)
        self.stored.split(ratio, minute, is_void=one.is_void, instrument=one.instrument, now=self.now)

    @rule(netting=st.sampled_from(["net", "hedge"]))
    def is_opened_otherwise(self, netting: str) -> None:
        """How a book takes its lots is fixed when it is opened."""
        method = "AVERAGE" if netting == "net" else self.model.method
        other = make_book(self.stored.book.book_id, method, netting)
        with pytest.raises(Conflict, match="book_differs"):
            service.run(self.db, lambda tx: service.open_book(tx, other, self.now))

    @precondition(lambda self: self.steps % 4 == 3)
    @rule()
    def is_rebuilt(self) -> None:
        assert rebuild.check(self.db, self.stored.book.book_id).differences == ()

    @rule(minute=st.integers(-1, 9), back=st.integers(0, 20))
    def is_looked_back_at(self, minute: int, back: int) -> None:
        moment = Moment(as_of=at(minute), known_as_of=at(20 + max(self.steps - back, 0)))
        book_id = self.stored.book.book_id
        with self.db.transaction(read_only=True, isolation="repeatable read") as tx:
            known = asof.books(tx, [book_id], moment)
            found = asof.positions(tx, known, moment, Selection(status="open", rows_max=100))
        assert {one.instrument: signed(one) for one in found} == {
            name: held.quantity
            for name in INSTRUMENTS
            if (held := self.model.held(name, moment.as_of, moment.known_as_of)).quantity
        }

    @invariant()
    def the_stored_book_is_the_models(self) -> None:
        if not hasattr(self, "model"):
            return
        models = {name: self.model.held(name, at(60), self.now) for name in INSTRUMENTS}
        opened = {one.instrument: one for one in self.stored.positions if one.status == "OPEN"}
        assert {name: signed(one) for name, one in opened.items()} == {n: h.quantity for n, h in models.items() if h.lots}
        for name, one in opened.items():
            assert [Fraction(lot.quantity_open) for lot in one.lots] == [abs(lot.quantity) for lot in models[name].lots]
        fills = {fill.fill_id: fill.source_id for fill in self.model.current(self.now)}
        self._check_gains(models, fills)
        assert {fills[fill_id] for fill_id in self.stored.parked} == set().union(*(held.parked for held in models.values()))

    def _check_gains(self, models: dict[str, Held], fills: dict[str, str]) -> None:
        gained = {one.action.fill_id: one.action.realized_pnl for one in self.stored.actions if one.action.closings}
        expected = {source_id: gain for held in models.values() for source_id, gain in held.gained.items()}
        assert {fills[fill_id] for fill_id in gained} == expected.keys()
        for fill_id, gain in gained.items():
            wanted = expected[fills[fill_id]]
            assert (gain is None) == (wanted is None)
            assert gain is None or wanted is None or abs(Fraction(gain) - wanted) < UNIT

    def teardown(self) -> None:
        if hasattr(self, "model"):
            result = audit.audit(self.db, self.stored.book.book_id, at(90))
            assert result.exit == 0, result.findings


def signed(position: Any) -> Fraction:
    return Fraction(position.quantity_open) * (1 if position.direction == "LONG" else -1)


def test_a_stored_book_is_its_models_through_any_life(db: Database) -> None:
    walk(lambda: BookMachine(db), walks=(4, 150))
