"""A crew: every account once, never too many at once, nothing begun that cannot end, and nobody's crash is another's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from fillbook.mt5.crew import Answer, Chore, Crew, Outcome, Rules
from fillbook.mt5.desk import Desk, DeskClosed, RealTime
from fillbook.mt5.pacing import Batches, Fits, Window
from fillbook.runtime import clock
from tests.support.mt5_crew import BROKER_DOWN, FOREVER, REFUSED_LOGIN, Deaf, Member, Simulation, breakers, members, outcomes


def test_scenario_3_twenty_five_accounts_run_in_three_groups_with_a_pause_between() -> None:
    told: list[tuple[int, int | None]] = []
    pace = Batches(total=25, tell=lambda number, of: told.append((number, of)))
    simulation = Simulation()
    ended, crew = simulation.run(members(25, seconds=2.15), pace)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert outcomes(ended) == {"success": 25}
    assert len({one.account.account_id for one in ended}) == 25
    assert simulation.most_in_flight["default"] == 10
    starts = sorted({at for _, at in simulation.began})
    assert [later - former for former, later in pairwise(starts)] == pytest.approx([2.25, 2.25])
    assert simulation.seconds == pytest.approx(3 * 2.15 + 2 * 0.1)
    assert not crew.is_stopped


def test_a_window_starts_the_next_account_when_one_ends() -> None:
    simulation = Simulation()
    slow = members(1, "slow", seconds=30.0)
    ended, _ = simulation.run([*slow, *members(60, seconds=1.0)], Window(4), limit=lambda _: 100)
    assert outcomes(ended) == {"success": 61}
    assert simulation.most_in_flight["default"] == 4
    assert simulation.seconds == pytest.approx(30)
    assert ended[-1].account.account_id == "slow0000"


@pytest.mark.parametrize("make", [lambda: Batches(10), lambda: Window(10)])
def test_sessions_of_an_instance_bound_what_is_in_flight_there_alone(make: type[Window]) -> None:
    simulation = Simulation()
    narrow, wide = members(20, "n", instance_key="narrow"), members(20, "w", instance_key="wide")
    mixed = [one for pair in zip(narrow, wide, strict=True) for one in pair]
    ended, _ = simulation.run(mixed, make(), limit=lambda key: 2 if key == "narrow" else 50)
    assert outcomes(ended) == {"success": 40}
    assert simulation.most_in_flight["narrow"] == 2
    assert 2 < simulation.most_in_flight["wide"] <= 10


def test_an_account_that_is_given_twice_is_worked_once() -> None:
    ended, _ = Simulation().run([*members(5), *members(7)], Window(3))
    assert sorted(one.account.account_id for one in ended) == [one.account_id for one in members(7)]


def test_scenario_6_a_crash_is_the_outcome_of_one_account_and_has_its_real_duration() -> None:
    ended, _ = Simulation().run([*members(4), Member(account_id="bad", raises=True, seconds=1.5), *members(4, "b")], Window(3))
    assert outcomes(ended) == {"success": 8, "crashed": 1}
    [crashed] = [one for one in ended if one.outcome is Outcome.CRASHED]
    assert crashed.seconds == pytest.approx(1.5)
    assert crashed.started_at is not None
    assert str(crashed.crash) == "bad"


def test_scenario_28_nothing_begins_that_would_not_end_and_what_was_not_drawn_stays() -> None:
    simulation = Simulation()
    source = iter(members(300, seconds=2.0))
    ended, crew = simulation.run(source, Batches(), budget=60.0)
    assert crew.is_stopped
    assert simulation.seconds <= 60
    assert simulation.seconds > 50
    assert outcomes(ended) == {"success": len(ended)}
    assert len(ended) + len(list(source)) == 300


def test_accounts_are_expected_to_take_ten_seconds_until_ten_are_known() -> None:
    ended, crew = Simulation().run(members(30, seconds=1.0), Window(1), budget=14.9)
    assert (len(ended), crew.is_stopped) == (0, True)
    ended, _ = Simulation().run(members(30, seconds=1.0), Window(10), budget=15.5)
    assert len(ended) == 30
    ended, _ = Simulation().run(members(30, seconds=1.0), Window(9), budget=15.5)
    assert len(ended) == 9


def test_the_run_leaves_what_hangs_beyond_its_deadline_and_refuses_what_it_brings_later() -> None:
    simulation = Simulation()
    hung = Member(account_id="hung", seconds=500.0, heeds=False)
    waiting = members(3, "w", instance_key="full")
    ended, crew = simulation.run(
        [hung, *waiting, *members(3)], Window(20), budget=60.0, limit=lambda key: 0 if key == "full" else 9
    )
    assert outcomes(ended) == {"success": 3, "deferred": 4}
    assert simulation.seconds == pytest.approx(60)
    assert crew.is_stopped
    [left] = [one for one in ended if one.account is hung]
    assert (left.seconds, left.started_at is not None) == (60, True)


def test_an_accounts_own_deadline_leaves_the_margin_for_its_last_transaction() -> None:
    simulation = Simulation()
    ended, _ = simulation.run([Member(account_id="hung", seconds=FOREVER)], Window(), budget=60.0)
    assert outcomes(ended) == {"failed": 1}
    assert simulation.seconds == pytest.approx(55)


def test_skipped_accounts_make_room_for_others_and_waiting_ones_are_asked_again() -> None:
    gate = Deaf(iter([Answer.SKIP, Answer.WAIT, Answer.GO, Answer.SKIP, Answer.WAIT]))
    ended, _ = Simulation().run(members(6), Window(2), gate=gate)
    assert outcomes(ended) == {"skipped": 2, "success": 4}
    assert len(gate.gone) == 4


def test_chores_are_done_in_between_for_as_long_as_the_run_takes() -> None:
    simulation = Simulation()
    beats: list[float] = []
    chore = Chore(every_seconds=15.0, do=lambda: beats.append(simulation.seconds))
    simulation.run([Member(account_id="slow", seconds=80.0)], Window(), chores=[chore])
    assert beats == pytest.approx([15, 30, 45, 60, 75])


def test_what_the_source_of_accounts_raises_ends_the_run_and_closes_the_desk() -> None:
    def source() -> object:
        yield from members(3)
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"):
        Simulation().run(source(), Window(2))  # type: ignore[arg-type]


def test_one_account_hanging_and_one_refusing_its_login_leave_298_done_in_time() -> None:
    fleet = members(298, seconds=2.15)
    fleet.insert(7, Member(account_id="hung", seconds=FOREVER))
    fleet.insert(40, Member(account_id="refused", failures=(REFUSED_LOGIN,)))
    simulation = Simulation()
    ended, crew = simulation.run(fleet, Batches(total=300), gate=breakers(fleet))
    assert outcomes(ended) == {"success": 298, "failed": 2}
    assert simulation.seconds < 270
    assert not crew.is_stopped


@pytest.mark.parametrize(("pace", "in_flight"), [(lambda: Batches(10), 10), (lambda: Window(20), 20)])
def test_scenario_31_a_broker_that_is_down_stops_itself_and_no_other(pace: type[Window], in_flight: int) -> None:
    down = members(40, "down", server="Down-Live", failures=(BROKER_DOWN,), seconds=1.0)
    fine = members(40, "fine")
    simulation = Simulation()
    fleet = [one for pair in zip(down, fine, strict=True) for one in pair]
    gate = breakers(fleet)
    ended, _ = simulation.run(fleet, pace(), limit=lambda _: 50, gate=gate)
    tried = [name for name, _ in simulation.began if name.startswith("down")]
    assert len(tried) <= 5 + in_flight
    assert outcomes(ended) == {"success": 40, "failed": len(tried), "skipped": 40 - len(tried)}
    assert gate.row("broker:Down-Live").state == "open"
    assert gate.row("service:default").state == "closed"

    simulation.seconds += 60  # a minute later it is up again: one probe, then everybody
    well = members(40, "down", server="Down-Live", seconds=1.0)
    began = len(simulation.began)
    ended, _ = simulation.run(well, pace(), limit=lambda _: 50, gate=gate)
    assert outcomes(ended) == {"success": 40}
    first, second = (at for _, at in simulation.began[began : began + 2])
    assert second >= first + 1
    assert gate.row("broker:Down-Live").state == "closed"


def test_five_dead_accounts_at_the_head_of_a_healthy_fleet_do_not_stop_it() -> None:
    fleet = [*members(9, "dead", failures=(BROKER_DOWN,), seconds=0.01), *members(300)]
    ended, _ = Simulation().run(fleet, Window(20), limit=lambda _: 50, gate=breakers(fleet))
    assert outcomes(ended) == {"success": 300, "failed": 9}


@pytest.mark.parametrize("places", [range(5), range(5, 10), range(0, 10, 2)])
def test_five_hanging_accounts_in_one_group_with_healthy_ones_do_not_stop_the_fleet(places: range) -> None:
    fleet = [Member(account_id=f"a{n}", seconds=FOREVER if n in places else 0.2) for n in range(100)]
    ended, _ = Simulation().run(fleet, Batches(10), gate=breakers(fleet))
    assert outcomes(ended) == {"success": 95, "failed": 5}


def test_a_doubtful_account_is_no_probe_while_a_healthy_one_comes() -> None:
    simulation = Simulation()
    down = members(30, failures=(BROKER_DOWN,))
    gate = breakers(down)
    simulation.run(down, Window(10), gate=gate)
    simulation.seconds += 60
    fleet = [*members(3, "ill", failures=(BROKER_DOWN,), sync_failure_count=2), *members(20, "well")]
    began = len(simulation.began)
    ended, _ = simulation.run(fleet, Window(10), gate=gate)
    assert simulation.began[began][0] == "well0000"
    assert outcomes(ended) == {"success": 20, "failed": 3}
    simulation.seconds += 10
    assert gate.row("broker:Alpha-Live").state == "closed"


# --- with real threads ------------------------------------------------------------------------------------------------


def real_crew(
    fetch: object, pool: ThreadPoolExecutor, desk: Desk, *, size: int = 8, fits: Fits | None = None
) -> Crew[Member, object]:
    often = Chore(every_seconds=0.01, do=lambda: None)
    rules = Rules(
        pace=Window(size),
        fits=fits or Fits(clock.monotonic() + 60),
        limit=lambda _: size,
        budget=lambda _: 5.0,
        is_success=lambda _: True,
    )
    return Crew(fetch, rules=rules, pool=pool, desk=desk, time=RealTime(clock.SystemClock()), chores=[often])  # type: ignore[arg-type]


def test_calls_run_side_by_side_and_everything_else_in_the_one_thread_that_owns_the_connection() -> None:
    desk, met, threads, owners = Desk(), threading.Barrier(8, timeout=60), set(), set()

    def own() -> int:
        owners.add(threading.get_ident())
        return len(owners)

    def fetch(account: Member, deadline: float) -> object:
        met.wait()  # only passed when eight accounts are in flight at once
        threads.add(threading.get_ident())
        assert desk.write(own) == 1
        return own

    with ThreadPoolExecutor(8) as pool:
        ended = list(real_crew(fetch, pool, desk).run(members(64)))
    assert [one.outcome for one in ended] == [Outcome.WORKED] * 64
    assert owners == {threading.get_ident()}
    assert len(threads) == 8


def test_what_a_piece_of_writing_raises_is_raised_in_the_thread_that_asked() -> None:
    desk = Desk()

    def refuse() -> None:
        raise ValueError("stale")

    def fetch(account: Member, deadline: float) -> object:
        with pytest.raises(ValueError, match="stale"):
            desk.write(refuse)
        if account.account_id == "a0001":
            return refuse
        return lambda: "done"

    with ThreadPoolExecutor(2) as pool:
        ended = {one.account.account_id: one for one in real_crew(fetch, pool, desk, size=2).run(members(2))}
    assert ended["a0000"].result == "done"
    assert isinstance(ended["a0001"].crash, ValueError)


def test_a_thread_that_outlives_the_run_is_refused_its_writing_and_released() -> None:
    desk, go_on, refused = Desk(), threading.Event(), threading.Event()

    def fetch(account: Member, deadline: float) -> object:
        go_on.wait(60)
        try:
            desk.write(lambda: None)
        except DeskClosed:
            refused.set()
        return lambda: None

    with ThreadPoolExecutor(1) as pool:
        fits = Fits(clock.monotonic() + 60)
        crew = real_crew(fetch, pool, desk, size=1, fits=fits)
        cut = threading.Timer(0.03, lambda: setattr(fits, "deadline", clock.monotonic()))
        cut.start()
        assert [one.outcome for one in crew.run(members(1))] == [Outcome.DEFERRED]
        go_on.set()
        assert refused.wait(60)


def test_a_caller_that_stops_early_lets_no_thread_wait_for_ever() -> None:
    desk, refused = Desk(), threading.Barrier(2, timeout=60)

    def fetch(account: Member, deadline: float) -> object:
        if account.account_id == "a0000":
            return lambda: "first"
        try:
            while True:
                desk.write(lambda: None)
        except DeskClosed:
            refused.wait()
            raise

    with ThreadPoolExecutor(2) as pool:
        running = real_crew(fetch, pool, desk, size=2).run(members(2))
        assert next(running).result == "first"
        running.close()
        refused.wait()
