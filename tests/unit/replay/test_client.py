"""The client: bucket by bucket, patient with a server that is away or busy, interrupted and taken up again."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from fillbook.replay import __main__ as verbs
from fillbook.replay.buckets import BUCKET_MS
from fillbook.replay.client import COMPARE, INGEST, RUNS, Busy, Client, Wish
from fillbook.replay.showing import Standing, bar, comparison_lines, gap_lines
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.errors import Conflict, Rejected, Unavailable
from tests.support.replay_answers import COMPARISON, DAY, DIVERGENCE, OPEN, SIDE

ROWS = 30  # of each bucket


class Function:
    """The bucket route as far as a client sees it: where the run stands is kept here, the hash chains what was decided."""

    def __init__(self, buckets: int = 78) -> None:
        self.buckets = [OPEN + number * BUCKET_MS for number in range(buckets)]
        self.standing = 0  # rows decided so far
        self.hash = ""
        self.asked: list[Mapping[str, Any]] = []
        self.catches_up = False
        self.no_session: str | None = "today"  # None: today is a weekend
        self.is_today_empty = False
        self.last_status = "done"  # of a run that was walked by the job
        self.before: Callable[[Mapping[str, Any]], None] = lambda _asked: None

    def get(self, path: str, **_parameters: str) -> Mapping[str, Any]:
        if path.endswith("/divergences"):
            return {"divergences": [DIVERGENCE]}
        done = min(self.standing + 20 * ROWS, len(self.buckets) * ROWS)
        self.standing = done
        status = self.last_status if done == len(self.buckets) * ROWS else "running"
        counts = {
            "rows": done,
            "tradesCreated": 1,
            "tradesPurged": 0,
            "bucketsDone": done // ROWS,
            "bucketsTotal": len(self.buckets),
        }
        return {"status": status, "resultHash": "abc", "bucket": self.buckets[done // ROWS - 1], **counts}

    def post(self, path: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        if path == COMPARE:
            return COMPARISON
        if path == RUNS:
            return {"runs": ["run-1"]}
        if path.startswith(f"{RUNS}/"):
            self.asked.append({"path": path, **document})
            return {"ok": True, "runId": "run-1", "pinned": path.endswith("/pin")}
        assert path == INGEST
        if document.get("dryRun") and document.get("date", self.no_session) is None:
            raise Rejected("no_session")
        if document.get("dryRun") and self.is_today_empty and "date" not in document:
            return {"buckets": [], "rows": 0, "gaps": {"grade": "gap", "days": []}, "purge": None}
        if document.get("dryRun") and self.catches_up:
            return {"buckets": [], "rows": 40, "confirm": "REPLAY 2026-02-02 INTO live", "planToken": "token"}
        if document.get("dryRun"):
            return {
                "buckets": [{"bucket": bucket, "rows": ROWS} for bucket in self.buckets],
                "rows": ROWS * len(self.buckets),
                "seconds": 3,
                "gaps": {"grade": "complete", "days": [DAY]},
                "purge": None,
                "confirm": "REPLAY 2026-02-02 INTO live",
                "planToken": "token",
            }
        self.before(document)
        self.asked.append(document)
        return {**self._page({"limit": ROWS}), "hasMore": False} if self.catches_up else self._page(document)

    def _page(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        if document.get("cleanSlate"):
            self.standing, self.hash = 0, ""
        bucket = document.get("bucket", self.buckets[self.standing // ROWS] if self.standing < len(self.buckets) * ROWS else None)
        number = self.buckets.index(bucket)
        end = (number + 1) * ROWS
        rows = max(0, min(document["limit"], end - self.standing))
        for row in range(self.standing, self.standing + rows):
            self.hash = hashlib.sha256(f"{self.hash}|{row}".encode()).hexdigest()
        self.standing += rows
        more = self.standing < end
        following = self.buckets[number + 1] if number + 1 < len(self.buckets) else None
        return {
            "rowsProcessed": rows,
            "tradesCreated": int(number == 3 and rows > 0),
            "tradesPurged": 5 if document.get("cleanSlate") else 0,
            "bucketProcessed": bucket,
            "nextBucket": following,
            "hasMoreInBucket": more,
            "after": f"{self.standing}",
            "bucketsDone": self.standing // ROWS,
            "bucketsTotal": len(self.buckets),
            "runId": "run-1",
            "resultHash": self.hash,
        }


class Screen:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    redraw = line


class Time:
    """A time that passes only by waiting; each call takes a hundredth of a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        self.now += 0.01
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def function() -> Function:
    return Function()


@pytest.fixture
def walk(function: Function) -> tuple[Client, Screen, Time]:
    screen, time = Screen(), Time()
    return Client(function, screen, time), screen, time


@pytest.fixture
def op(function: Function, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The verbs as a person calls them."""
    monkeypatch.setattr(verbs, "ReplayFunction", lambda _url, _key: function)
    monkeypatch.setattr(verbs.clock, "sleep", lambda _seconds: None)
    for name, value in {"FILLBOOK_ENV": "local", "REPLAY_WORKER_URL": "http://x", "FILLBOOK_DESK_KEY": "k"}.items():
        monkeypatch.setenv(name, value)
    return lambda *words: verbs.main(["run", "--date", "2026-02-02", *words])


def test_a_day_is_walked_bucket_by_bucket_with_a_line_for_each(function: Function, op: Callable[..., int], capsys: Any) -> None:
    assert op() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [asked["bucket"] for asked in function.asked] == function.buckets
    assert sum(line.startswith("[") for line in lines) == 78
    assert lines[-1].startswith("rows 2,340  trades created 1  purged 0")
    assert f"hash {function.hash}  run run-1" in lines[-1]


@pytest.mark.usefixtures("op")
def test_a_day_that_is_not_named_is_today_and_on_a_weekend_the_last_session(
    function: Function, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(verbs.clock, "SystemClock", lambda: FixedClock(datetime(2026, 11, 28, 15, tzinfo=UTC)))
    assert verbs.main(["run"]) == 0
    assert "date" not in function.asked[0]
    function.__init__()  # type: ignore[misc]
    function.no_session = None
    capsys.readouterr()
    assert verbs.main(["run"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "today is no session; the last one was 2026-11-27"
    assert {asked["date"] for asked in function.asked} == {"2026-11-27"}


@pytest.mark.usefixtures("op")
def test_a_day_that_is_not_named_is_the_last_session_while_nothing_of_today_is_stored(
    function: Function, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(verbs.clock, "SystemClock", lambda: FixedClock(datetime(2026, 11, 30, 12, tzinfo=UTC)))
    function.is_today_empty = True
    assert verbs.main(["run"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "nothing is stored of today; the last session was 2026-11-27"
    assert {asked["date"] for asked in function.asked} == {"2026-11-27"}


def test_a_bucket_that_does_not_fit_a_call_is_asked_on_by_its_cursor(function: Function, op: Callable[..., int]) -> None:
    assert op("--limit", "12") == 0
    assert [(asked["bucket"], asked["after"]) for asked in function.asked[:4]] == [
        (OPEN, ""),
        (OPEN, "12"),
        (OPEN, "24"),
        (OPEN + BUCKET_MS, ""),
    ]


# Scenario 31
def test_an_interrupted_run_says_how_to_go_on_and_ends_with_the_same_hash(
    function: Function, op: Callable[..., int], capsys: Any
) -> None:
    assert op() == 0
    undisturbed = function.hash
    function.__init__()  # type: ignore[misc]

    def interrupt(asked: Mapping[str, Any]) -> None:
        if asked["bucket"] == function.buckets[20]:
            raise KeyboardInterrupt

    function.before = interrupt
    assert op() == 130
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == "interrupted; go on with: python3 infra/dev.py op replay run --date 2026-02-02 --resume"
    function.before = lambda _asked: None
    assert op("--resume") == 0
    assert "bucket" not in function.asked[20]
    assert function.hash == undisturbed
    assert len(function.asked) == 78


# Scenario 31
def test_a_server_that_is_away_three_times_is_asked_again_and_the_bar_goes_on(
    function: Function, walk: tuple[Client, Screen, Time]
) -> None:
    client, screen, time = walk
    failures = iter(["service_unavailable", "connection_lost", "service_unavailable"])

    def away(_asked: Mapping[str, Any]) -> None:
        for reason in failures:
            raise Unavailable(reason)

    function.before = away
    wish = Wish(scope={})
    ended = client.walk(wish, client.plan(wish))
    assert time.waits == [1, 2, 4]
    assert ended.rows == 2340
    assert [line for line in screen.lines if "again in" in line] == [
        "service_unavailable, again in 1 s",
        "connection_lost, again in 2 s",
        "service_unavailable, again in 4 s",
    ]
    assert screen.lines[-1].startswith("[####################] 78/78 15:55 New York  rows 2,340  trades 1")


def test_a_server_that_stays_away_fails_after_the_last_try(function: Function, walk: tuple[Client, Screen, Time]) -> None:
    client, _, time = walk

    def away(_asked: Mapping[str, Any]) -> None:
        raise Unavailable("connection_lost")

    function.before = away
    with pytest.raises(Unavailable):
        client.walk(Wish(scope={}), client.plan(Wish(scope={})))
    assert time.waits == [1, 2, 4, 8, 16]


def test_a_busy_run_is_waited_for_as_long_as_it_says(function: Function, walk: tuple[Client, Screen, Time]) -> None:
    client, _, time = walk
    answers = iter([Busy(7)])

    def busy(_asked: Mapping[str, Any]) -> None:
        for answer in answers:
            raise answer

    function.before = busy
    client.walk(Wish(scope={}, delay_seconds=2), client.plan(Wish(scope={})))
    assert time.waits == [7, *[2] * 77]


# Scenario 32
def test_one_bucket_of_one_ticker_is_one_call(
    function: Function, op: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKET", str(OPEN))
    monkeypatch.setenv("TICKER", "ZZTA")
    assert op() == 0
    [asked] = function.asked
    assert (asked["bucket"], asked["ticker"], asked["date"]) == (OPEN, "ZZTA", "2026-02-02")


# Scenario 32
def test_a_clean_slate_is_asked_for_by_the_first_call_only(function: Function, op: Callable[..., int], capsys: Any) -> None:
    assert op("--clean-slate") == 0
    assert [asked.get("cleanSlate") for asked in function.asked] == [1, *[None] * 77]
    assert "purged 5" in capsys.readouterr().out


def test_a_job_is_started_and_looked_at_until_it_is_done(op: Callable[..., int], capsys: Any) -> None:
    assert op("--job") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("[") for line in lines) == 4
    assert "rows 2,340" in lines[-1]


def test_a_job_is_over_when_it_came_to_the_newest_row_of_a_day_that_goes_on(
    function: Function, op: Callable[..., int], capsys: Any
) -> None:
    function.last_status = "paused"
    assert op("--job") == 0
    assert "rows 2,340" in capsys.readouterr().out.splitlines()[-1]


def test_a_job_that_was_cancelled_is_a_failure(function: Function, op: Callable[..., int], capsys: Any) -> None:
    function.last_status = "cancelled"
    assert op("--job") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "cancelled: run run-1"


def test_a_dry_run_writes_nothing(function: Function, op: Callable[..., int], capsys: Any) -> None:
    assert op("--dry-run") == 0
    assert function.asked == []
    assert "2,340 rows in 78 buckets, about 3 s; nothing was written" in capsys.readouterr().out


def test_the_second_profile_is_run_too_and_the_first_difference_named(
    function: Function, op: Callable[..., int], capsys: Any
) -> None:
    function.buckets = function.buckets[:2]
    assert op("--compare", "tt-2026-02-12") == 3
    out = capsys.readouterr().out
    assert {asked.get("profile") for asked in function.asked} <= {None, "tt-2026-02-12"}
    assert "first difference: ZZTB 2026-02-02 09:31 New York" in out
    assert "cause config (the profiles differ), rule G12" in out
    assert "profile key entry.rr.base: A 1.2   B 1.5" in out


def test_live_is_only_written_by_a_person_on_a_terminal(function: Function, op: Callable[..., int], capsys: Any) -> None:
    assert op("--target", "live") == 2
    assert function.asked == []
    assert "on a terminal" in capsys.readouterr().err


def test_what_a_person_types_goes_to_live_with_the_plans_token(
    function: Function, op: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    function.catches_up = True
    typed = io.StringIO("REPLAY 2026-02-02 INTO live\n")
    monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(verbs.sys, "stdin", typed)
    assert op("--target", "live") == 0
    [asked] = function.asked
    assert asked == {"date": "2026-02-02", "target": "live", "confirm": "REPLAY 2026-02-02 INTO live", "plan": "token"}
    out = capsys.readouterr().out
    assert "type  REPLAY 2026-02-02 INTO live  to" in out
    assert "rows 630  trades created 1" in out


def test_comparing_ends_with_three_where_the_runs_part(function: Function, op: Callable[..., int], capsys: Any) -> None:
    assert op("--dry-run") == 0  # the environment stands
    assert verbs.main(["compare", "run-1", "live", "--json"]) == 3
    assert '"rule": "G12"' in capsys.readouterr().out


@pytest.mark.usefixtures("op")
def test_a_run_is_kept_by_its_name_until_it_is_let_go(function: Function, capsys: Any) -> None:
    assert verbs.main(["pin", "mine"]) == 0
    assert verbs.main(["unpin", "mine"]) == 0
    assert function.asked == [{"path": f"{RUNS}/mine/pin"}, {"path": f"{RUNS}/mine/unpin"}]
    assert capsys.readouterr().out.splitlines() == ["run run-1 is kept", "run run-1 goes with its age again"]


def test_a_refusal_ends_with_one_and_its_slug(function: Function, op: Callable[..., int], capsys: Any) -> None:
    def refuse(_asked: Mapping[str, Any]) -> None:
        raise Conflict("run_differs", "profile")

    function.before = refuse
    assert op() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "run_differs: profile"


def test_without_a_key_nothing_is_asked(op: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("FILLBOOK_DESK_KEY")
    assert op() == 2
    assert "FILLBOOK_DESK_KEY" in capsys.readouterr().err


def test_the_bar_reads_as_specified() -> None:
    standing = Standing(done=39, total=78, bucket=OPEN + 38 * BUCKET_MS, rows=30_810, trades=14, rate=5_120, left_seconds=6)
    assert bar(standing) == "[##########----------] 39/78 12:40 New York  rows 30,810  trades 14  5,120/s  left 0:06"


def test_the_gap_report_names_what_is_missing() -> None:
    assert list(gap_lines({"days": [DAY]})) == [
        "2026-02-02  thin: 1,100 of 1,170 ticker-minutes (94.0 %), buckets 78/78, tickers 2",
        "  not seen: ZZTC",
        "  ZZTA: nothing in 09:30-09:40",
        "  of live's receipts: 2 late, 1 quarantined",
    ]


def test_two_equal_sides_are_identical_and_nothing_else() -> None:
    same = {**COMPARISON, "identical": True, "totals": {"a": SIDE, "b": SIDE}, "divergent": 0}
    assert list(comparison_lines(same, []))[-1] == "identical"
    assert not any(line.endswith("*") for line in comparison_lines(same, []))
