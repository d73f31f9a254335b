"""Exponents of growth: what grows linearly is 1, what does not grow is 0; every stage that the scorecard names is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.bench import growth
from tests.bench.growth import KINDS, Kind
from tests.bench.growth_place import Works
from tests.bench.report import Stage


@pytest.mark.parametrize("power", [1.0, 0.0, 2.0, 1.5])
def test_a_slope_is_the_power_that_time_goes_by(power: float) -> None:
    assert growth.slope({size: 3 * size**power for size in (50, 100, 200, 400)}) == pytest.approx(power)


def test_each_size_is_measured_in_turn_after_a_warm_up_and_sizes_that_stand_alone_one_by_one() -> None:
    done: list[tuple[int, ...]] = []

    @contextmanager
    def begin(sizes: Sequence[int]) -> Iterator[Works]:
        done.append(tuple(sizes))

        def work(size: int) -> float:
            done.append((size,))
            return size * 1e-3

        yield {"it": work}

    kind = Kind(begin=begin, size=2, unit="things")
    assert growth.measured(kind, kind.sizes, 2) == {"it": {size: [size * 1e-3] * 2 for size in (1, 2, 4, 8)}}
    assert done == [(1, 2, 4, 8), (1,), *[(1,), (2,), (4,), (8,)] * 2]
    done.clear()
    growth.measured(Kind(begin=begin, size=2, unit="things", is_alone=True), (1, 2), 1)
    assert done == [(1,), (1,), (1,), (2,), (2,), (2,)]


def test_what_grows_faster_than_its_size_misses_its_goal() -> None:
    stage = Stage(name="x")
    kind = KINDS["booking"]
    growth.tell(stage, "work", kind, {size: [size**1.2, size**1.0] for size in kind.sizes})
    (judged,) = [figure for figure in stage.figures if figure.goal]
    assert (judged.name, judged.goal, judged.is_reached) == ("growth of work", "≤ 1.05", False)
    assert judged.value == pytest.approx(1.1)


def test_every_stage_that_the_scorecard_wants_to_see_grow_is_there() -> None:
    assert set(KINDS) == {"booking", "ingest", "rebuild", "replay", "snapshot", "accounts", "api"}
    assert [name for name, kind in KINDS.items() if kind.goal == growth.FLAT] == ["api"]


def test_a_stage_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert growth.run(["--stages", "bookings"]) == 1
    assert "stages are booking, ingest" in capsys.readouterr().out
