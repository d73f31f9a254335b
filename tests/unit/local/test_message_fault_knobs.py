"""Fault knobs: counted, seeded, per target, and strict about what they are given."""

from __future__ import annotations

import pytest

from infra.local.faults import FaultError, Faults


def test_a_knob_with_a_count_is_used_up() -> None:
    faults = Faults()
    faults.turn({"target": "s", "duplicate": 3, "count": 2})
    assert [faults.value("s", "duplicate", 1) for _ in range(4)] == [3, 3, 1, 1]


def test_a_knob_for_all_holds_for_each_and_its_own_wins() -> None:
    faults = Faults()
    faults.turn({"duplicate": 2})
    faults.turn({"target": "s", "duplicate": 5})
    assert (faults.value("s", "duplicate", 1), faults.value("other", "duplicate", 1)) == (5, 2)


def test_the_same_seed_strikes_the_same_messages() -> None:
    def struck() -> list[bool]:
        faults = Faults()
        faults.turn({"drop_ack": 0.5, "seed": 11})
        return [faults.strikes("s", "drop_ack") for _ in range(50)]

    assert struck() == struck()
    assert 5 < sum(struck()) < 45


def test_a_counted_chance_strikes_that_often_and_no_more() -> None:
    faults = Faults()
    faults.turn({"refuse": 1, "count": 3})
    assert sum(faults.strikes("t", "refuse") for _ in range(10)) == 3


def test_reset_turns_everything_off() -> None:
    faults = Faults()
    faults.turn({"refuse": 1, "duplicate": 2})
    faults.reset()
    assert faults.document() == []
    assert not faults.strikes("t", "refuse")


@pytest.mark.parametrize(
    "instruction",
    [{"sabotage": 1}, {"drop_ack": 2}, {"drop_ack": -1}, {"drop_ack": True}, {"drop_ack": "1"}, {"duplicate": 0},
     {"target": 5, "duplicate": 2}, {"count": -1, "duplicate": 2}, {"seed": 1.5}],
)  # fmt: skip
def test_a_bad_instruction_changes_nothing(instruction: dict[str, object]) -> None:
    faults = Faults()
    with pytest.raises(FaultError):
        faults.turn(instruction)
    assert faults.document() == []
