"""What is missing below the floor, and which gaps the watermark waits for."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from fillbook.mt5.gaps import below_floor, holds_watermark
from fillbook.mt5.model import AccountState, Window
from fillbook.mt5.records import Gap
from fillbook.mt5.windows import day_msc, narrowed
from fillbook.mt5.words import BackfillState, GapCause

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
FLOOR = day_msc(date(2026, 1, 1))
INCEPTION, OCTOBER = date(1970, 1, 1), date(2025, 10, 1)
DONE, BLOCKED, RUNNING = BackfillState.DONE, BackfillState.BLOCKED, BackfillState.RUNNING


@pytest.mark.parametrize(
    ("changes", "target", "begins"),
    [
        ({}, INCEPTION, 0),
        ({"backfill_state": BLOCKED}, INCEPTION, 0),
        ({"backfill_state": BLOCKED}, OCTOBER, day_msc(OCTOBER)),
        ({}, OCTOBER, None),  # as deep as was wanted
        ({"backfill_state": RUNNING}, INCEPTION, None),
        ({}, None, None),
        ({"opening_balance": Decimal("0.01")}, INCEPTION, None),  # one last digit is none
        ({"opening_balance": Decimal("-0.02")}, INCEPTION, 0),
        ({"opening_balance": None}, INCEPTION, None),
        ({"opening_proven": True}, INCEPTION, None),
        ({"history_floor_msc": None}, INCEPTION, None),
    ],
)
def test_something_is_missing_below_the_floor_when_the_past_ends_short_and_the_money_says_so(
    changes: dict[str, Any], target: date | None, begins: int | None
) -> None:
    given = {"history_floor_msc": FLOOR, "opening_balance": Decimal(100), "backfill_state": DONE} | changes
    state = AccountState(next_due_at=NOW, lease_token=1, **given)
    found = below_floor(state, target, 2)
    assert found == (None if begins is None else Window(from_msc=begins, to_msc=FLOOR))


@pytest.mark.parametrize(
    ("cause", "to_msc", "floor_msc", "holds"),
    [
        (GapCause.CASH, FLOOR + 1, FLOOR, True),
        (GapCause.PAGES, FLOOR + 1, FLOOR, True),
        (GapCause.PAGES, FLOOR, FLOOR, False),
        (GapCause.PAGES, FLOOR, None, True),
        (GapCause.FLOOR, FLOOR, None, False),
    ],
)
def test_the_watermark_waits_for_gaps_above_the_floor(cause: GapCause, to_msc: int, floor_msc: int | None, holds: bool) -> None:
    assert holds_watermark(Gap(from_msc=0, to_msc=to_msc, opened_at=NOW, cause=cause), floor_msc) is holds


@pytest.mark.parametrize(
    ("rows", "rows_max", "length"), [(None, 10, 500), (20, 15, 500), (100, 10, 100), (10**9, 1, 1), (100, 0, 1)]
)
def test_a_window_that_was_too_large_is_narrowed_to_its_upper_end(rows: int | None, rows_max: int, length: int) -> None:
    assert narrowed(Window(from_msc=0, to_msc=1000), rows, rows_max) == Window(from_msc=1000 - length, to_msc=1000)
