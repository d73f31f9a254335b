"""The nightly parity as the manifest has it: at 17:30 in New York the schedule's own call finds what is broken, and says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fillbook.replay import __main__ as verbs
from fillbook.runtime.db import Database
from infra.local.plan import wiring
from infra.local.scheduler import next_slot
from infra.local.wiring import Job
from tests.support.every_function import MANIFEST, SIGNER, Desk, doors, known, right_headers, usual_body
from tests.support.functions import FunctionApps
from tests.support.replay_desk import DAY, OPENS, walk
from tests.support.replay_in_process import InProcess
from tests.support.signal_live import LiveDesk
from tests.support.topics import topics

Query = Callable[..., list[dict[str, Any]]]
WORKER = "replay_worker"


def nightly() -> Job:
    """The schedule, wired as the local cloud wires it."""
    wired = wiring(MANIFEST, {WORKER: "http://replay.test"}, retry_floor_seconds=1, chosen=[WORKER])
    [job] = wired.jobs
    return job


@pytest.mark.parametrize(
    ("after", "slot"),
    [
        ("2026-02-02T12:00", "2026-02-02T22:30"),
        ("2026-02-06T23:00", "2026-02-09T22:30"),  # no weekend
        ("2026-03-06T23:00", "2026-03-09T21:30"),  # the clock changed
        ("2026-10-30T22:00", "2026-11-02T22:30"),
    ],
)
def test_the_schedule_is_due_on_weekdays_at_half_past_five_in_new_york(after: str, slot: str) -> None:
    found = next_slot(nightly(), datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(slot).replace(tzinfo=UTC)


# Scenario 26, and what the issue asks of the night
def test_what_the_schedule_calls_holds_until_a_live_quantity_is_altered_and_then_logs_an_error_and_is_found_by_a_person(
    function_app: FunctionApps,
    database_url: str,
    db: Database,
    query: Query,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    live = LiveDesk(db, query)
    for document in walk(6, ["ZZTA", "ZZTB"], range(12)):
        live.take(document)
    job = nightly()
    slot = next_slot(job, datetime.combine(DAY, datetime.min.time(), UTC))
    [door] = [door for door in doors("admin") if job.url.endswith(door.route.path)]
    assert job.body == (usual_body(door) or b"").decode()
    with topics() as certificates:
        certificates.certificates = SIGNER.certificates()
        every = Desk(function_app, known(database_url, certificates, tmp_path))
        (tmp_path / "clock.json").write_text(json.dumps({"desk_at": slot.isoformat(), "real_at": 0, "speed": 1, "paused": True}))

        def called() -> tuple[Any, dict[str, Any]]:
            capsys.readouterr()
            answer = every.call(door, headers=right_headers(door), data=job.body.encode())
            assert answer.status_code == 200, answer.get_json()
            [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"parity_' in line]
            return answer.get_json()["days"], line

        [held], told = called()
        assert (held["identical"], held["totals"]["a"]["decided"]) == (True, 24)
        assert held["totals"]["a"]["entries"] > 0
        assert (told["message"], told["severity"], told["date"]) == ("parity_held", "INFO", DAY.isoformat())
        [altered] = query(
            "update ledger.execution_actions set quantity = quantity / 2, value = value / 2 where (book_id, action_id) ="
            " (select book_id, action_id from ledger.execution_actions where book_id = 'live' and action_type = 'ENTRY'"
            " order by executed_at, action_id limit 1) returning ticker"
        )
        [broken], told = called()
        assert (broken["identical"], broken["divergent"]) == (False, 1)
        assert (told["message"], told["severity"], told["date"]) == ("parity_broken", "ERROR", DAY.isoformat())
        assert (told["divergent"], told["first_ticker"], told["first_field"]) == (1, altered["ticker"], "quantity")
        assert OPENS <= told["first_ts"] < OPENS + 12 * 60_000

        function = InProcess(every.client(door.function), right_headers(door))
        monkeypatch.setattr(verbs, "ReplayFunction", lambda _url, _key: function)
        for name, value in {"FILLBOOK_ENV": "local", "REPLAY_WORKER_URL": "http://x", "FILLBOOK_DESK_KEY": "k"}.items():
            monkeypatch.setenv(name, value)
        assert verbs.main(["compare", told["run_id"], "live"]) == 3
        out = capsys.readouterr().out
        assert f"first difference: {altered['ticker']} {DAY} 09:" in out
        assert "  quantity: A " in out
