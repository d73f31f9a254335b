"""Recorded points come in by the operator's own verb, through the webhook, and are replayed day by day under both profiles.

The points are read in place and never copied; nothing of them appears here. By default two days of a few tickers; with
FILLBOOK_FULL=1 every day and every ticker of the file.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from fillbook.replay import __main__ as replay
from fillbook.replay.function_calls import ReplayClientConfig, ReplayFunction
from fillbook.runtime.sql import statement
from fillbook.signal.profile import load
from infra.local import demo
from infra.local.desk import LocalCloud
from infra.local.receipts import Document, labelled, read_points
from tests.e2e.conftest import NewDesk
from tests.support.campaigns import IS_FULL, tell
from tests.support.signal_desk import Desk
from tests.support.signal_live import arrived
from tests.support.untouched import fingerprints

TRAIL = Path(__file__).resolve().parents[3] / "shared" / "data" / "signals" / "trail_tv_1min_2026-01-14_2026-02-03.csv.gz"
FEW_DAYS, FEW_TICKERS = 2, 4
STILL_TRIES = 30
FUNCTIONS = ["signal_ingest", "signal_worker", "outbox_relay", "discord_notifier", "replay_worker"]
FIRST, SECOND = "tt-2026-02", "tt-2026-02-12"
EVENING_BEFORE = datetime(2026, 1, 13, 22, 0, tzinfo=UTC)
ENDED = re.compile(r"  hash ([0-9a-f]{64})  run (\S+)")

pytestmark = [
    pytest.mark.bundles,
    pytest.mark.local_data,
    pytest.mark.slow,
    pytest.mark.skipif(not TRAIL.is_file(), reason="the recorded points are not on this machine (../shared/data/signals)"),
]


@pytest.fixture(scope="module")
def days() -> dict[date, list[Document]]:
    """The receipts of each trading day; by default of the first days, of the tickers with the most points on them.

    A ticker's receipts come of its own points alone, in the order of the file.
    """
    points: dict[date, list[Document]] = {}
    for point in read_points(TRAIL):
        points.setdefault(demo.trading_day_of(point), []).append(point)
    chosen = sorted(points) if IS_FULL else sorted(points)[:FEW_DAYS]
    counted = Counter(point["ticker"] for day in chosen for point in points[day])
    most = {ticker for ticker, _ in counted.most_common(None if IS_FULL else FEW_TICKERS)}
    found: dict[date, list[Document]] = {day: [] for day in chosen}
    for document in labelled(point for day in chosen for point in points[day] if point["ticker"] in most):
        found[demo.trading_day_of(document)].append(document)
    return found


def still(cloud: LocalCloud) -> dict[str, str]:
    """What stands outside the books of replays, once what was at work when the jobs were paused has ended."""
    for _ in range(STILL_TRIES):
        found = fingerprints(lambda text, **params: rows(cloud, text, **params))
        time.sleep(1)
        if fingerprints(lambda text, **params: rows(cloud, text, **params)) == found:
            return found
    pytest.fail("something is written although all jobs are paused")


def test_recorded_days_are_imported_and_each_is_replayed_as_it_was_decided_and_under_both_profiles(
    days: dict[date, list[Document]], new_desk: NewDesk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = new_desk("points", functions=FUNCTIONS, desk_start=EVENING_BEFORE)
    for name, value in {**cloud.operator_environment, "FILLBOOK_HOME": str(cloud.home.path)}.items():
        monkeypatch.setenv(name, value)
    imported(days, capsys)
    cloud.control.pause_jobs()
    live = still(cloud)
    differences: Counter[str] = Counter()
    for number, (day, documents) in enumerate(days.items()):
        said = [f"{len(documents):6} receipts of {day}"]
        runs = replayed(day, capsys)
        for (_, run), profile in zip(runs, (FIRST, SECOND), strict=True):
            entries = decided_as_by_the_plain_desk(cloud, run, documents, profile)
            said.append(f"{profile}: {entries} entries")
        differences.update(explained(runs, capsys))
        if number == 0 or IS_FULL:
            assert replay.main(["run", "--date", f"{day}", "--session", "all", "--run", f"job-{day}", "--job"]) == 0
            assert ENDED.findall(capsys.readouterr().out)[0][0] == runs[0][0], "the job's hash is the client's"
        said.append(f"{checked_against_live(day, len(documents))} as live decided them")
        with capsys.disabled():
            tell(", ".join(said))
    assert differences
    with capsys.disabled():
        tell("\n".join(f"{count:6} {words}" for words, count in differences.most_common()))
    assert still(cloud) == live


def rows(cloud: LocalCloud, text: str, **params: Any) -> list[dict[str, Any]]:
    with cloud.database.transaction(read_only=True) as tx:
        return tx.query(statement(text), **params)


def imported(days: dict[date, list[Document]], capsys: pytest.CaptureFixture[str]) -> None:
    """Every receipt is accepted at the webhook, stored and decided, every execution told once, the audit clean: or not 0."""
    tickers = sorted({document["ticker"] for documents in days.values() for document in documents})
    chosen = [] if IS_FULL else ["--from", f"{min(days)}", "--to", f"{max(days)}", "--tickers", ",".join(tickers)]
    status = demo.import_receipts([str(TRAIL), *chosen])
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    with capsys.disabled():
        tell(f"imported: {summary}")
    assert status == 0, summary
    assert summary["receipts"] == {"decided": sum(map(len, days.values()))}


def replayed(day: date, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """Hash and id of the day's runs under both profiles, as the client prints them."""
    status = replay.main(["run", "--date", f"{day}", "--session", "all", "--compare", SECOND])
    out = capsys.readouterr().out
    runs = ENDED.findall(out)
    assert (status, len(runs)) == (3 if "first difference: " in out else 0, 2), out
    return runs


def explained(runs: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]) -> Counter[str]:
    """What the comparison names: for each ticker bucket, rule and key behind its first difference."""
    (_, a), (_, b) = runs
    status = replay.main(["compare", a, b, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert status == (0 if found["identical"] else 3)
    assert found["totals"]["a"]["decided"] == found["totals"]["b"]["decided"]
    for one in found["divergences"]:
        assert one["cause"] in ("config", "facts"), one
        assert one["bucket"] <= one["ts"] < one["bucket"] + 300_000
        assert one["rule"] is not None or one["cause"] == "facts" or one["field"] == "quantity", one
        assert one["detail"].get("key") or one["cause"] == "facts", one
    return Counter(f"{one['cause']} {one['rule']} {one['detail'].get('key')}" for one in found["divergences"])


def checked_against_live(day: date, receipts: int) -> str:
    """Parity of the day: every receipt that live decided comes out the same, under the same action ids."""
    config = ReplayClientConfig.from_environment()
    assert config.replay_worker_url is not None
    assert config.fillbook_desk_key is not None
    function = ReplayFunction(config.replay_worker_url, config.fillbook_desk_key)
    [told] = function.post("/timed/admin/replay-parity", {"date": f"{day}"})["days"]
    assert told["identical"], told
    assert told["totals"]["a"] == told["totals"]["b"]
    assert told["totals"]["a"]["decided"] == receipts
    return f"{told['totals']['a']['decided']} receipts and {told['positions']['equal']} positions"


def decided_as_by_the_plain_desk(cloud: LocalCloud, run: str, documents: list[Document], profile: str) -> int:
    """A run is what the plain desk in memory decides of the day, receipt by receipt and fill by fill; how often it entered."""
    plain = Desk(load(profile))
    for document in documents:
        plain.take(arrived(document).receipt)
    decided = rows(
        cloud,
        "select ticker, lane::text as lane, computed_lane::text as computed_lane, reason from signal.decisions"
        " where book_id = :book order by ts, ticker",
        book=f"replay:{run}",
    )
    assert [tuple(row.values()) for row in decided] == [
        (one.ticker, one.lane, one.computed_lane, one.reason)
        for one in sorted(plain.decisions, key=lambda one: (one.ts, one.ticker))
    ]
    booked = rows(
        cloud,
        "select ticker, action_type::text as action_type, quantity, price from ledger.v_actions where book_id = :book"
        " order by executed_at, ticker, venue_order",
        book=f"replay:{run}",
    )
    assert [tuple(row.values()) for row in booked] == [
        (fill.ticker, fill.action_type, fill.quantity, fill.price)
        for fill in sorted(plain.fills, key=lambda fill: (fill.ts, fill.ticker))
    ]
    return sum(row["action_type"] == "ENTRY" for row in booked)
