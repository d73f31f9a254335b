"""Check 30: canary values for every secret, a desk that is disturbed in every way, and then a search of all it left behind."""

from __future__ import annotations

import json
import os
import re
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from fillbook.runtime.sql import statement
from infra.local import leases, mt5_desk, plan, walking
from infra.local.desk import LocalCloud
from infra.local.fakes import FLEX, MT5_SPEAKERS
from infra.local.home import write_private
from infra.manifest import Schedule
from tests.e2e.conftest import WAIT_SECONDS, NewDesk, inbox
from tests.e2e.test_one_signal import CLOSE
from tests.support import broker_days
from tests.support.local_desk import descendants
from tests.support.receipts import body, encoded, text_of
from tests.support.snapshot_api import PATH, day_document, signature

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

CANARY = b"canary-"
INGEST, INGEST_NEXT, DESK_KEY = "canary-ingest-b2V4", "canary-of-tomorrow-eT7z", "canary-desk-key-Qm9v"
FLEX_TOKEN = "canary-flex-token-Zk4w"
MT5_KEY, MT5_OTHER_KEY, MT5_WORDS = "canary-mt5-key-Rt5y", "canary-other-mt5-key-Pa2k", "canary-words-of-a-service"
FLEX_TROUBLES: tuple[tuple[str, dict[str, object]], ...] = (
    ("html", {"step": "send"}),
    ("foreign_url", {"step": "send", "url": "https://statements.example/x"}),
    ("redirect", {"step": "any", "url": "https://elsewhere.example/"}),
    ("code", {"step": "send", "code": 1012}),
    ("reset", {"step": "any"}),
)
GATEWAY_TROUBLES: tuple[dict[str, object], ...] = ({"has_end": False}, {"drop_after": 1, "has_end": True}, {"is_silent": True})
INTERNAL, SIGNING, METRICS = "canary-internal-token-Hc6n", "canary-signing-secret-Wd8s", "canary-metrics-key-Lf3g"
MT5_SAID = {"detail": f"{MT5_WORDS}: {MT5_KEY} is no key, {MT5_OTHER_KEY} neither"}
MT5_TROUBLES: tuple[dict[str, object], ...] = (
    {"code": 200, "body": f"<p>{MT5_WORDS} {MT5_KEY}</p>"},
    {"code": 503, "body": MT5_SAID},
    {"code": 401, "body": MT5_SAID},
)
FAULTS = ("server_error.500", "server_error.502", "network.reset_after_accept", "body.invalid_json", "rate_limit.normal")
# may hold secrets, readable by their owner only; the fake's own file is Discord's side of them
PRIVATE = {"run.json", "secrets.json", "wiring.json"}
DISCORDS_OWN = re.compile(r"discord\.sqlite(-wal|-shm|-journal)?$")
EVERY_TABLE = """
select format('select whole_row::text as row from %I.%I whole_row', schemaname, tablename) as question from pg_tables
where schemaname not in ('pg_catalog', 'information_schema')
union all
select 'select query as row from pg_stat_activity where query is not null'
union all
select 'select rolname || coalesce(rolpassword, '''') as row from pg_authid'
"""


class Heard:
    """Everything the desk said to callers."""

    def __init__(self) -> None:
        self.text = ""

    def call(self, url: str, data: bytes | None = None, **headers: str) -> int:
        """One request; its answer, headers included, is kept, whatever it is."""
        named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url, data, named)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, told, shown = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            status, told, shown = error.code, error.read(), error.headers
        except (OSError, TimeoutError):
            return 0
        self.text += f"{shown}\n{told.decode('utf-8', 'replace')}\n"
        return status


@pytest.fixture
def desk(new_desk: NewDesk, tmp_path: Path) -> LocalCloud:
    (tmp_path / "desk").mkdir()
    known = {"ingest_token": INGEST, "desk_key": DESK_KEY, "flex_token": FLEX_TOKEN, "mt5_key": MT5_KEY}
    known |= {"internal_token": INTERNAL, "signing_secret": SIGNING, "metrics_key": METRICS}
    write_private(tmp_path / "desk" / "secrets.json", known)
    tokens = {"signal_ingest": {"INGEST_TOKENS": f"{INGEST},{INGEST_NEXT}"}} | broker_days.DEADLINE
    tokens |= {name: {"MT5_SERVICE_API_KEYS": json.dumps({"elsewhere": MT5_OTHER_KEY})} for name in MT5_SPEAKERS}
    cloud = new_desk(functions=None, function_overrides=tokens, process_environment={"PYTHONDEVMODE": "1"})
    cloud.clock.set(CLOSE)
    return cloud


def canaries(desk: LocalCloud) -> dict[str, str]:
    """Every secret of the desk by name, as it would be found: whole, or as the part that opens something."""
    found = {"ingest token": INGEST, "next ingest token": INGEST_NEXT, "desk key": DESK_KEY, "flex token": FLEX_TOKEN}
    found |= {"internal token": INTERNAL, "signing secret": SIGNING, "metrics key": METRICS}
    found |= {"mt5 key": MT5_KEY, "other mt5 key": MT5_OTHER_KEY, "words of the MT5 service": MT5_WORDS}
    found |= {f"webhook {name}": url.rpartition("/")[2] for name, url in desk.place.discord_webhooks.items()}
    found["read token"] = desk.place.discord_read_token
    assert all(len(value) >= 12 for value in found.values())
    return found


ANSWERING = {"/api/v1/jobs", "/timed/admin/replay-parity"}


def post_in_every_way(desk: LocalCloud, heard: Heard) -> None:
    ingest, bearer = f"{desk.url('signal_ingest')}/timed/ingest", f"Bearer {INGEST}"
    receipt = text_of("R").encode()
    shown = encoded(body("Q", token=INGEST_NEXT))
    assert heard.call(ingest, receipt, Authorization=bearer) == 202
    assert heard.call(ingest, receipt, X_Timed_Key=INGEST_NEXT) == 202
    assert heard.call(f"{ingest}/{INGEST}", receipt) == 202
    assert heard.call(f"{ingest}?key={INGEST_NEXT}", receipt) == 202
    assert heard.call(ingest, shown) == 202
    for wrong in (receipt[:700], shown[:900], b"[]", b"\xff" + shown, shown.replace(b"48.75", b"0"), b"", b"{" * 300):
        assert heard.call(f"{ingest}/{INGEST}?key={INGEST_NEXT}", wrong, Authorization=bearer) in (400, 401)
    for wrong in (f"/{INGEST}/more", f"/../{INGEST}", f"?key={INGEST}x"):
        heard.call(f"{ingest}{wrong}", receipt)
    heard.call(f"{ingest}/{INGEST}")  # GET


def ask_in_every_way(desk: LocalCloud, heard: Heard) -> None:
    tracker, key = desk.url("trade_tracker"), f"Bearer {DESK_KEY}"
    for path in ("/timed/trades", "/timed/ledger/trades", "/timed/lanes", "/timed/health", "/", "/app/board"):
        heard.call(f"{tracker}{path}", Authorization=key)
        heard.call(f"{tracker}{path}?key={DESK_KEY}&books={DESK_KEY}", Authorization=key)
        heard.call(f"{tracker}{path}/{DESK_KEY}", Authorization=f"Basic {DESK_KEY}")
    for name in desk.functions:
        for header in (f"Bearer {DESK_KEY}", f"Bearer {INGEST}", INGEST, DESK_KEY):
            heard.call(f"{desk.url(name)}/", b"{}", Authorization=header)


def publish_in_every_way(desk: LocalCloud, heard: Heard) -> None:
    """Days come in signed and unsigned, whole and broken, and are asked for with keys in every place."""
    url, raw = desk.url("snapshot_api"), json.dumps(day_document("2026-02-03")).encode()
    for data in (raw, raw[:200], b"[]", b"{}"):
        for token in (INTERNAL, f"{INTERNAL}x", METRICS):
            for signed in (signature(data, SIGNING), SIGNING):
                heard.call(url + PATH, data, X_Internal_Token=token, X_Signature=signed)
    for path in (
        "/v1/trades/latest",
        "/v1/metrics/kpis/fills?kpi=Daily%20PnL",
        f"/v1/metrics/daily?key={METRICS}",
        f"/v1/{INTERNAL}",
    ):
        for header in (f"Bearer {METRICS}", METRICS, f"Bearer {INTERNAL}"):
            heard.call(url + path, Authorization=header, Origin=f"https://{METRICS}.example")
    heard.call(f"{url}{PATH}?date={INTERNAL}", X_Internal_Token=INTERNAL)


def disturb(desk: LocalCloud, heard: Heard) -> None:
    """Discord fails in every way it can, everything is killed once, the database is away for a while."""
    faults = f"{desk.place.discord_url}/_control/faults"
    for knob in FAULTS:
        heard.call(faults, json.dumps({"fault": knob, "route": "create", "count": 1}).encode())
    post_in_every_way(desk, heard)
    publish_in_every_way(desk, heard)
    for victim in ("signal_worker", "discord_notifier", "pubsub", "signal_ingest"):
        desk.kill(victim)
    desk.wait_until_up("signal_worker", "discord_notifier", "pubsub", "signal_ingest")
    desk.kill("postgres", stay_down=True)
    ask_in_every_way(desk, heard)
    post_in_every_way(desk, heard)
    publish_in_every_way(desk, heard)
    answers = {job.name: called_by_the_scheduler(desk, heard, job) for job in desk.manifest.schedules}
    # a tick says 500 whatever failed; what answers people too says why, and when to come again
    assert answers == {job.name: 503 if job.path in ANSWERING else 500 for job in desk.manifest.schedules}
    desk.revive("postgres")
    desk.clock.step(60)


def called_by_the_scheduler(desk: LocalCloud, heard: Heard, job: Schedule) -> int:
    """A schedule's call as the Scheduler makes it, its headers included."""
    email = plan.email(desk.manifest, desk.manifest.schedule_identity)
    token = desk.control.token(email, plan.audience(desk.manifest.functions[job.function]))
    headers = {"X_CloudScheduler": "true", "X_CloudScheduler_JobName": job.name}
    headers["X_CloudScheduler_ScheduleTime"] = desk.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    asked = json.dumps(dict(job.body)).encode()
    return heard.call(f"{desk.url(job.function)}{job.path}", asked, Authorization=f"Bearer {token}", **headers)


def disturb_the_broker(desk: LocalCloud, heard: Heard) -> None:
    """Statements and the gateway fail in every way, the function that asks them is killed, a wrong token shuts the service."""
    day = desk.clock.now()
    for number, (name, rule) in enumerate(FLEX_TROUBLES):
        walking.flex_fault(desk, name, **rule)
        walking.gateway(desk, **GATEWAY_TROUBLES[number % len(GATEWAY_TROUBLES)])
        for job in (one for one in desk.manifest.schedules if one.function == "execution_sync"):
            assert called_by_the_scheduler(desk, heard, job) in (200, 202)
        walking.walk_to(desk, day + timedelta(minutes=5 * number))
    walking.ask(desk, FLEX, "token", {"token": "another-token-of-the-service"})
    for minute in range(30, 34):
        heard.call(f"{desk.url('execution_sync')}/api/v1/jobs", b"{}", Authorization=f"Bearer {FLEX_TOKEN}")
        heard.call(f"{desk.url('execution_sync')}/api/v1/jobs/{FLEX_TOKEN}?t={FLEX_TOKEN}", Authorization=FLEX_TOKEN)
        walking.walk_to(desk, day + timedelta(minutes=minute))
    desk.kill("execution_sync")
    leases.end_of(desk.database, "execution_sync")
    desk.wait_until_up("execution_sync")
    told = "select count(*) as n from ibkr.flex_requests where error_code is not null or error_body is not null"
    assert walking.number(desk, told) >= 2, "nothing of the service's words was kept: nothing could have been leaked"


def disturb_the_fleet(desk: LocalCloud, heard: Heard) -> None:
    """The MT5 service repeats the key in whatever it says and refuses it; the function that asks is killed."""
    now, environment = desk.clock.now(), desk.operator_environment
    assert mt5_desk.link_fleet(environment, now=now, since=now.date()) == mt5_desk.sync_all(environment).synced
    (job,) = [one for one in desk.manifest.schedules if one.name == "mt5-sync"]
    for trouble in MT5_TROUBLES:
        knob = json.dumps({"fault": "status", "endpoint": ["snapshot", "deals"], "count": 25, **trouble}).encode()
        assert Heard().call(f"{desk.place.mt5_url}/_fake/faults", knob) == 200  # what the fake echoes is the test's own word
        desk.clock.step(600)
        status = called_by_the_scheduler(desk, heard, job)
        assert status == 200, (trouble, status, desk.logs("account_sync")[-2000:])
    for wrong in (MT5_KEY, json.dumps({"account_id": MT5_KEY})):
        heard.call(f"{desk.url('account_sync')}/mt5/sync?key={MT5_KEY}", wrong.encode(), Authorization=f"Bearer {MT5_KEY}")
    desk.kill("account_sync")
    desk.wait_until_up("account_sync")
    told = "select count(*) as n from mt5.sync_logs where error_message is not null"
    assert walking.number(desk, told) >= 15, "nothing of the service's errors was kept: nothing could have been leaked"


def settle(desk: LocalCloud) -> None:
    """Let the desk tell what there is to tell, its clock going on."""
    end = time.monotonic() + WAIT_SECONDS
    while not (desk.control.wait_idle() and inbox(desk)):
        assert time.monotonic() < end, desk.logs("discord_notifier")[-3000:]
        desk.clock.step(30)


def left_behind(desk: LocalCloud, bundles: Path) -> Iterator[tuple[str, bytes]]:
    """Everything to be searched: (where, bytes)."""
    for folder in (desk.home.path, bundles):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in PRIVATE and not DISCORDS_OWN.search(path.name):
                yield str(path), path.read_bytes()
    with desk.database.transaction(read_only=True) as tx:
        questions = [row["question"] for row in tx.query(statement(EVERY_TABLE))]
        for question in questions:
            yield question, "\n".join(row["row"] or "" for row in tx.query(statement(question))).encode()
    for what in ("messages", "requests", "pings"):
        with urllib.request.urlopen(f"{desk.place.discord_url}/_control/{what}", timeout=20) as answer:
            yield f"Discord's {what}", answer.read()
    for pid in descendants(os.getpid()):
        yield f"arguments of process {pid}", Path(f"/proc/{pid}/cmdline").read_bytes()


def leaks_of(secrets: Mapping[str, str], text: bytes) -> list[str]:
    """The names of secrets that stand in a text, as they are or quoted for an address.

    Most begin with the same word, quoted or not: a text without it needs no further look for them.
    """
    is_suspect = CANARY in text
    return [
        name
        for name, secret in secrets.items()
        if (is_suspect or not secret.startswith(CANARY.decode()))
        and any(form.encode() in text for form in {secret, urllib.parse.quote(secret, safe="")})
    ]


def test_no_secret_stands_anywhere_but_in_the_private_files(desk: LocalCloud, bundles: Path) -> None:
    heard, secrets = Heard(), canaries(desk)
    post_in_every_way(desk, heard)
    ask_in_every_way(desk, heard)
    disturb_the_broker(desk, heard)
    disturb_the_fleet(desk, heard)
    disturb(desk, heard)
    settle(desk)
    assert inbox(desk), "nothing was told: nothing could have been leaked"
    searched: dict[str, int] = {}
    leaks = []
    for where, text in (("what callers were told", heard.text.encode()), *left_behind(desk, bundles)):
        searched[where] = len(text)
        leaks += [f"{name} in {where}" for name in leaks_of(secrets, text)]
    assert leaks == []
    assert any("pgdata" in where for where in searched)
    assert any(where.endswith("signal_ingest.log") and size for where, size in searched.items())
    assert leaks_of(secrets, "".join(secrets.values()).encode()) == list(secrets), "the search would find them"
    for name in PRIVATE:
        assert stat.S_IMODE((desk.home.path / name).stat().st_mode) == 0o600, name
    assert DESK_KEY in (desk.home.path / "secrets.json").read_text(), "the search would not find what is not there"
