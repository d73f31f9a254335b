"""The function and its job: who may call, what a call may say, what is answered to whom; and the whole way to our own API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.runtime.clock import real_epoch_seconds
from fillbook.snapshot import __main__ as operator
from fillbook.snapshot import publisher
from infra.local.snapshot_server import told
from tests.support import snapshot_api
from tests.support.functions import FunctionApps
from tests.support.signer import Signer
from tests.support.snapshot_publishing import EVENING
from tests.support.snapshot_receivers import OurApi
from tests.support.topics import topics

SIGNER = Signer()
SCHEDULER, OPERATOR = "cloud-scheduler@desk.example", "fb-operator@desk.example"
AUDIENCE = "https://snapshot-publisher.test"
STILL: dict[str, Any] = {"refresh": False}
SMALL_VIEWS = {f"MV_{name.upper()}_TABLE": f"reports.{name}" for name in ("kpi", "series", "extremes", "portfolio")} | {
    "SNAPSHOT_REFRESH": "off"
}


@pytest.fixture
def template(w1_template: str) -> str:
    return w1_template


@pytest.fixture
def api() -> Iterator[OurApi]:
    with OurApi() as served:
        yield served


class Publisher:
    """The function as it is served, before an API."""

    def __init__(self, app: FunctionApps, database_url: str, folder: Path, api_url: str, **changes: str) -> None:
        self.folder = folder
        self.set_clock(EVENING)
        self.environment = {
            "FILLBOOK_ENV": "local",
            "FILLBOOK_DATABASE_URL": f"{database_url}?role=snapshot_publisher",
            "FILLBOOK_DESK_CLOCK": str(folder / "clock.json"),
            "FILLBOOK_PROJECT": "fillbook-local",
            "FILLBOOK_OIDC_AUDIENCE": AUDIENCE,
            "FILLBOOK_OIDC_CALLERS": f"{SCHEDULER},{OPERATOR}",
            "SNAPSHOT_API_URL": api_url,
            "INTERNAL_TOKEN": snapshot_api.TOKEN,
            "SIGNING_SECRET": snapshot_api.SECRET,
            **SMALL_VIEWS,
            **changes,
        }
        self.apps = app
        self.client: FlaskClient = app(publisher.NAME, self.environment)

    def set_clock(self, now: datetime) -> None:
        snapshot_api.set_clock(self.folder, now)

    def call(
        self, body: Any = None, *, email: str | None = OPERATOR, due: datetime | None = None, path: str = "/"
    ) -> tuple[int, dict[str, Any]]:
        headers = {} if due is None else {publisher.SCHEDULED_HEADER: due.isoformat()}
        if email is not None:
            token = SIGNER.sign(audience=AUDIENCE, issued=real_epoch_seconds(), email=email)
            headers["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) else json.dumps(STILL if body is None else body).encode()
        answer = self.client.post(path, data=data, headers=headers)
        return answer.status_code, answer.get_json()


@pytest.fixture
def published(function_app: FunctionApps, database_url: str, tmp_path: Path, api: OurApi) -> Iterator[Publisher]:
    with topics() as kept:
        kept.certificates = SIGNER.certificates()
        yield Publisher(function_app, database_url, tmp_path, api.base_url, FILLBOOK_LOCAL_URL=kept.url)


def word(answer: tuple[int, dict[str, Any]]) -> tuple[int, str]:
    return answer[0], answer[1]["status"]


def test_a_person_and_the_schedule_publish_and_each_reads_its_own_column(published: Publisher, api: OurApi) -> None:
    api.script = [told(422, {"error": {"code": "bad_snapshot"}})] * 2
    assert word(published.call()) == (502, "refused_receiver")
    assert word(published.call({"slot": "midday", **STILL}, email=SCHEDULER, due=EVENING)) == (200, "refused_receiver")
    status, answer = published.call({"slot": "postmarket", **STILL}, email=SCHEDULER, due=EVENING)
    assert (status, answer["ok"], answer["results"][0]["status"], answer["results"][0]["version"]) == (200, True, "published", 1)
    assert word(published.call({"slot": "postmarket", **STILL}, email=SCHEDULER, due=EVENING)) == (200, "duplicate")
    assert word(published.call()) == (200, "unchanged")


def test_an_api_that_is_away_asks_the_schedule_to_come_again(
    function_app: FunctionApps, database_url: str, tmp_path: Path, api: OurApi
) -> None:
    with topics() as kept:
        kept.certificates = SIGNER.certificates()
        there = Publisher(function_app, database_url, tmp_path, api.base_url, FILLBOOK_LOCAL_URL=kept.url)
        api.script = [told(409, {"error": {"code": "older_snapshot"}})]
        assert word(there.call()) == (409, "conflict")
        api.fault("status", on="write", count=None, status=429, retry_after=0)
        assert word(there.call(email=SCHEDULER, due=EVENING)) == (500, "kept")


@pytest.mark.parametrize(
    ("body", "reason", "field"),
    [
        ({"day": "2026-02-11"}, "key_unknown", "day"),
        (b"[]", "json_invalid", ""),
        (b'{"date": "2026-02-11", "date": "2026-02-10"}', "json_invalid", ""),
        ({"force": ["sharp_fall"]}, "force_without_reason", "reason"),
        ({"date": "2026-02-12"}, "date_in_future", "date"),
    ],
)
def test_scenario_11_a_wrong_call_is_answered_400_and_nothing_is_done(
    published: Publisher, api: OurApi, body: Any, reason: str, field: str
) -> None:
    status, answer = published.call(body)
    assert (status, answer["status"], answer["results"]) == (400, "bad_request", [])
    assert [(one["path"], one["code"]) for one in answer["problems"]] == [(field, reason)]
    assert api.calls() == []


def test_scenario_11_the_schedule_forces_nothing_whatever_its_header_says(published: Publisher) -> None:
    forced = {"force": ["sharp_fall"], "reason": "because"}
    assert published.call(forced, email=SCHEDULER, due=EVENING)[1]["problems"][0]["code"] == "force_by_schedule"
    assert published.call(forced, email=SCHEDULER)[1]["problems"][0]["code"] == "force_by_schedule"
    assert published.call(forced, email=OPERATOR)[0] != 400


def test_nobody_else_publishes(published: Publisher, api: OurApi) -> None:
    assert published.call(email=None)[0] == 401
    assert published.call(email="stranger@desk.example")[0] == 403
    assert published.call(path="/elsewhere")[0] == 404
    assert api.calls() == []


def test_a_function_that_is_not_configured_tells_its_callers_which_settings_are_wrong(
    function_app: FunctionApps, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with topics() as kept:
        kept.certificates = SIGNER.certificates()
        changes = {"CF_ACCOUNT_ID": "canary-account", "INTERNAL_TOKEN": "", "FILLBOOK_LOCAL_URL": kept.url}
        there = Publisher(function_app, database_url, tmp_path, "http://127.0.0.1:1", **changes)
        assert there.call(email=None)[0] == 401
        status, answer = there.call()
    assert (status, answer["status"]) == (500, "configuration")
    assert [one["path"] for one in answer["problems"]] == ["CLOUDFLARE_API_TOKEN", "INTERNAL_TOKEN"]
    assert "canary" not in capsys.readouterr().out + json.dumps(answer)


def test_no_secret_is_in_an_answer_a_log_line_or_a_row(
    published: Publisher, api: OurApi, capsys: pytest.CaptureFixture[str], query: Any
) -> None:
    api.script = [told(403, {"error": {"code": "token_wrong", "message": snapshot_api.TOKEN}})]
    answers = [published.call(), published.call()]
    rows = query(
        "select to_jsonb(p)::text as text from metrics.publications p union all select payload::text from outbox.events"
        " where event_type like 'snapshot_%'"
    )
    said = json.dumps([answers, rows]) + capsys.readouterr().out
    assert snapshot_api.TOKEN not in said
    assert snapshot_api.SECRET not in said


# --- the job and the operator's verb ---------------------------------------------------------------------------------------


def test_the_job_ends_with_the_outcomes_exit_code(published: Publisher, api: OurApi, monkeypatch: pytest.MonkeyPatch) -> None:
    published.call(b"{", email=None)
    for name, value in published.environment.items():
        monkeypatch.setenv(name, value)
    main = published.apps.modules[publisher.NAME]

    def job(*arguments: str) -> int:
        return publisher.work_job(main.worker, arguments)

    assert job("--no-refresh") == 0
    assert job("--date", "2026-02-30") == 2
    api.fault("status", on="write", count=None, status=422)
    assert job("--no-refresh", "--date", "2026-02-11", "--verify") == 0
    monkeypatch.setattr("sys.argv", ["main.py", "--date", "2026-02-14"])
    with pytest.raises(SystemExit) as ended:
        main.work_off()
    assert ended.value.code == 0
    assert [call["method"] for call in api.calls()].count("POST") == 1


def test_options_say_what_a_body_says() -> None:
    words = "--from 2026-02-10 --to 2026-02-11 --force older --force sharp_fall --reason why-not --dry-run --no-refresh --verify"
    assert publisher.body_of(publisher.job_parser().parse_args(words.split())) == {
        "from": "2026-02-10",
        "to": "2026-02-11",
        "force": ["older", "sharp_fall"],
        "reason": "why-not",
        "dry_run": True,
        "verify": True,
        "refresh": False,
    }
    assert publisher.body_of(publisher.job_parser().parse_args([])) == {}


def test_the_verb_tells_a_person_what_became_of_each_day(
    published: Publisher, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def publish(_: Any, body: Any) -> tuple[int, dict[str, Any]]:
        asked.append(body)
        return published.call(body)

    monkeypatch.setattr(operator.PublisherFunction, "publish", publish)
    monkeypatch.setenv("FILLBOOK_ENV", "local")
    capsys.readouterr()
    assert operator.main(["publish", "--no-refresh"]) == 0
    said = capsys.readouterr().out.splitlines()[-2:]
    assert said[0].startswith("2026-02-11  published            final version 1 to api 163 rows ")
    assert said[1].startswith("published (run ")
    assert operator.main(["publish", "--date", "2026-02-30"]) == 2
    assert asked == [{"refresh": False}, {"date": "2026-02-30"}]


def test_the_events_of_a_publication_leave_with_its_answer(
    function_app: FunctionApps, database_url: str, tmp_path: Path, api: OurApi
) -> None:
    with topics() as kept:
        kept.certificates = SIGNER.certificates()
        there = Publisher(function_app, database_url, tmp_path, api.base_url, FILLBOOK_LOCAL_URL=kept.url)
        assert there.call()[0] == 200
        (told_one,) = [json.loads(data) for data in kept.data("events")]
    assert (told_one["event_type"], told_one["aggregate_key"]) == ("snapshot_published", "snapshot/2026-02-11")
