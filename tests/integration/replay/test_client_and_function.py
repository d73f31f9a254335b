"""The operator's client against the function itself: bar, hash, comparison of both profiles, parity; interrupted and resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.replay import __main__ as verbs
from fillbook.replay import runs
from fillbook.replay.buckets import BUCKET_MS
from fillbook.runtime.db import Database
from fillbook.signal.profile import Profile, load
from tests.support.replay_desk import DAY, LATER, OPENS, ReplayDesk, minute, walk
from tests.support.replay_in_process import InProcess
from tests.support.signal_keys import FIRST, changed

KEY = "desk-key-of-a-replay"
TICKERS = ["ZZTA", "ZZTB", "ZZTC"]
BUCKETS = 24


def with_one_number(name: str) -> Profile:
    """The profiles as shipped, and the first one with a single number of the second."""
    return changed(FIRST, "entry.max_trigger_age_min", 15) if name == "one-number" else load(name)


@pytest.fixture
def function(
    database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> InProcess:
    made = runs.desk_for
    monkeypatch.setattr(runs, "desk_for", lambda config, db: replace(made(config, db), profiles=with_one_number))
    return _served(database_url, function_app, tmp_path)


def _served(database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path) -> InProcess:
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"desk_at": LATER.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    key = {
        "id": "desk",
        "sha256": hashlib.sha256(KEY.encode()).hexdigest(),
        "scopes": ["admin"],
        "tenant_id": "desk",
        "books": ["*"],
    }
    settings = {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_PROJECT": "fillbook-local",
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=replay_worker",
        "FILLBOOK_DESK_CLOCK": str(clock),
        "DESK_KEYS": json.dumps([key]),
    }
    return InProcess(function_app("replay_worker", settings), {"Authorization": f"Bearer {KEY}"})


@pytest.fixture
def buckets() -> int:
    """How many of the day hold receipts."""
    return BUCKETS


@pytest.fixture
def op(function: InProcess, monkeypatch: pytest.MonkeyPatch, desk: ReplayDesk, buckets: int) -> Callable[..., int]:
    """The verbs as a person calls them, and a stored day to call them on."""
    desk.keep(walk(11, TICKERS, range(5 * buckets)))
    # sixteen minutes after its trigger: fresh under one profile, too old under the other
    desk.keep([minute("ZZTZ", OPENS + 7 * 60_000, "100.40", trigger_ts=OPENS - 9 * 60_000)])
    monkeypatch.setattr(verbs, "ReplayFunction", lambda _url, _key: function)
    monkeypatch.setattr(verbs.clock, "sleep", lambda _seconds: None)
    for name, value in {"FILLBOOK_ENV": "local", "REPLAY_WORKER_URL": "http://x", "FILLBOOK_DESK_KEY": KEY}.items():
        monkeypatch.setenv(name, value)
    return lambda *words: verbs.main(["run", "--date", DAY.isoformat(), *words])


def hash_in(out: str) -> str:
    [line] = [line for line in out.splitlines() if line.startswith("rows ")]
    return line.partition("  hash ")[2].split()[0]


# Scenarios 31 and 32, acceptance 6
def test_a_person_sees_bar_hash_and_where_both_profiles_part_and_an_interruption_changes_nothing(
    op: Callable[..., int], function: InProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert op("--compare", "tt-2026-02-12") == 3
    out = capsys.readouterr().out
    assert "gap: 361 of 1,560 ticker-minutes" in out
    assert "[####################] 78/78" in out
    assert "first difference: " in out
    assert "cause config (the profiles differ), rule " in out
    assert "profile key " in out
    undisturbed = hash_in(out.partition("again under")[0])

    def interrupt(document: Mapping[str, Any]) -> None:
        if document.get("bucket") == OPENS + 20 * BUCKET_MS:
            raise KeyboardInterrupt

    function.before = interrupt
    assert op("--run", "again") == 130
    assert "--run again --resume" in capsys.readouterr().out
    function.before = lambda _document: None
    assert op("--run", "again", "--resume") == 0
    out = capsys.readouterr().out
    assert hash_in(out) == undisturbed
    assert "rows 13  " not in out  # a resumed run says what it did, not what was done before
    assert op("--run", "again", "--clean-slate") == 0
    assert hash_in(capsys.readouterr().out) == undisturbed


@pytest.mark.parametrize("buckets", [4])
def test_a_strategy_that_differs_in_one_number_is_explained_to_bucket_rule_and_key(
    op: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert op("--run", "before") == 0
    assert op("--run", "after", "--profile", "one-number") == 0
    capsys.readouterr()
    assert verbs.main(["compare", "before", "after"]) == 3
    out = capsys.readouterr().out
    [first] = [line for line in out.splitlines() if line.startswith("first difference: ")]
    bucket = int(first.partition(", bucket ")[2].partition(",")[0])
    assert OPENS <= bucket < OPENS + 4 * BUCKET_MS
    assert bucket % BUCKET_MS == 0
    assert "cause config (the profiles differ), rule G06" in out
    assert "profile key entry.max_trigger_age_min: A 390   B 15" in out
    assert verbs.main(["compare", "before", "after", "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert {one["cause"] for one in found["divergences"]} <= {"config", "facts"}
    assert {key for one in found["divergences"] for key in one["detail"].get("keys", {})} == {"entry.max_trigger_age_min"}


def test_one_bucket_of_one_ticker_is_run_alone(op: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert op("--ticker", "ZZTB", "--bucket", str(OPENS + BUCKET_MS)) == 0
    assert "rows 5  trades created" in capsys.readouterr().out


def test_the_schedules_call_says_what_parity_found(op: Callable[..., int], function: InProcess, db: Database) -> None:
    assert op("--dry-run") == 0
    told = function.post("/timed/admin/replay-parity", {"date": DAY.isoformat()})
    assert told["ok"] is True
    [day] = told["days"]
    assert day["identical"] is True  # live decided nothing of these receipts, so there is nothing to differ
    assert day["totals"]["b"]["decided"] == 0
