"""The bucket route on a real database: pages of a day, however they are cut, make one run."""

from __future__ import annotations

from tests.support.replay_desk import OPENS, ReplayDesk, walk


def test_scenario_1_a_day_of_one_ticker_by_offset_takes_sixteen_calls(desk: ReplayDesk) -> None:
    desk.keep(walk(3, ["ZZTA"], range(390)))
    answers = desk.day(ticker="ZZTA")
    print([(a.rows, a.next_bucket) for a in answers][:3], answers[-1])
    assert [answer.rows for answer in answers] == [25] * 15 + [15]
    assert answers[-1].run.status == "done"
    assert answers[-1].trades_created or sum(a.trades_created for a in answers)
    print({k: len(v) for k, v in desk.rows(answers[-1]).items()})
