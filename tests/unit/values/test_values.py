"""What ``@frozen`` makes is a frozen, slotted, keyword-only dataclass to everybody who looks."""

from __future__ import annotations

import copy
import pickle
import threading
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from fillbook.values import frozen

NAN = Decimal("NaN")


@frozen
class Fee:
    """A value with every kind of field."""

    amount: Decimal
    currency: str = "USD"
    notes: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False, compare=False)
    doubled: Decimal = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "doubled", self.amount * 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The same by the standard library."""

    amount: Decimal
    currency: str = "USD"
    notes: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False, compare=False)
    doubled: Decimal = field(init=False, repr=False, compare=False)


@frozen
class Base:
    """A value that another extends."""

    left: int = 1


@frozen
class Extended(Base):
    """Its extension."""

    right: int = 2


@frozen(kw_only=False)
class Pair:
    """A value made by position."""

    first: int
    second: int = 0


@frozen
class Nothing:
    """A value without fields."""


def test_fields_and_their_options_are_those_of_a_dataclass() -> None:
    shape = [(each.name, each.type, each.default, each.repr, each.compare, each.init, each.kw_only) for each in fields(Fee)]
    assert is_dataclass(Fee)
    assert shape == [(e.name, e.type, e.default, e.repr, e.compare, e.init, e.kw_only) for e in fields(Reference)]
    assert Fee.__slots__ == Reference.__slots__  # type: ignore[attr-defined]


def test_defaults_factories_and_what_follows_the_making_are_applied() -> None:
    first, second = Fee(amount=Decimal(2)), Fee(amount=Decimal(2))
    assert (first.currency, first.notes, first.doubled) == ("USD", [], Decimal(4))
    assert first.notes is not second.notes


def test_the_text_leaves_out_what_shall_not_be_shown() -> None:
    assert repr(Fee(amount=Decimal(2), secret="s")) == "Fee(amount=Decimal('2'), currency='USD', notes=[])"


def test_a_value_cannot_be_changed_or_extended() -> None:
    fee = Fee(amount=Decimal(2))
    for name in ("amount", "other"):
        with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(fee, name, 1)
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'amount'"):
        del fee.amount
    assert not hasattr(fee, "__dict__")


def test_arguments_are_keywords_and_all_of_them_known() -> None:
    make: Any = Fee
    with pytest.raises(TypeError, match="positional"):
        make(Decimal(2))
    with pytest.raises(TypeError, match="amount"):
        make()
    with pytest.raises(TypeError, match="price"):
        make(amount=Decimal(2), price=1)
    assert Pair(1, 2) == Pair(first=1, second=2)


def test_the_first_call_may_be_a_wrong_one() -> None:
    @frozen
    class Fresh:
        """Nobody has made one yet."""

        one: int

    make: Any = Fresh
    with pytest.raises(TypeError, match="one"):
        make()
    assert make(one=1).one == 1


def test_values_are_equal_by_class_and_compared_fields() -> None:
    assert Fee(amount=Decimal(2), secret="a") == Fee(amount=Decimal("2.0"), secret="b")
    assert Fee(amount=Decimal(2)) != Fee(amount=Decimal(3))
    assert Base() != Extended()
    assert Base() != (1,)
    assert Base(left=NAN) == Base(left=NAN)  # type: ignore[arg-type]  # the same object, as in a tuple
    assert Nothing() == Nothing()


def test_equal_values_have_one_hash() -> None:
    assert hash(Pair(1, 2)) == hash(Pair(1, 2))
    assert len({Base(left=3), Base(left=3), Base(left=4), Nothing(), Nothing()}) == 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(Fee(amount=Decimal(2)))  # it holds a list


def test_replace_asdict_copies_and_pickles_work() -> None:
    fee = Fee(amount=Decimal(2), notes=["x"])
    assert replace(fee, amount=Decimal(3)).doubled == Decimal(6)
    assert asdict(fee) == {"amount": Decimal(2), "currency": "USD", "notes": ["x"], "secret": "", "doubled": Decimal(4)}
    assert copy.deepcopy(fee) == fee == copy.copy(fee)
    assert pickle.loads(pickle.dumps(fee)).doubled == Decimal(4)


def test_fields_of_a_base_come_first() -> None:
    both = Extended(left=5)
    assert (both.left, both.right) == (5, 2)
    assert repr(both) == "Extended(left=5, right=2)"
    assert Extended(left=5) == both != Extended(left=6)


def test_what_the_class_says_itself_stays() -> None:
    @frozen
    class Quiet:
        """It has a text of its own."""

        one: int

        def __repr__(self) -> str:
            return "quiet"

    assert repr(Quiet(one=1)) == "quiet"


def test_a_mutable_default_is_refused() -> None:
    with pytest.raises(ValueError, match="mutable default"):

        @frozen
        class Wrong:
            """Two values would share it."""

            notes: list[str] = []  # noqa: RUF012


def test_two_threads_may_make_the_first_instance_at_once() -> None:
    for _ in range(50):

        @frozen
        class Fresh:
            """Nobody has made one yet."""

            one: int

        start, made = threading.Barrier(4), []

        def make(kind: Any = Fresh, start: threading.Barrier = start, made: list[Any] = made) -> None:
            start.wait()
            made.append(kind(one=1))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == [Fresh(one=1)] * 4
