"""The fake D1: answers in D1's shape, keeps D1's limits, one batch is one transaction, and fails when it is told to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.d1 import ACCOUNT_ID, BASE, DATABASE_ID, D1Fake
from infra.local.d1_store import PARAMETERS_MAX, STATEMENT_BYTES_MAX, VALUE_BYTES_MAX
from infra.local.snapshot_faults import KNOBS, STORING

ARCHIVE = "insert into metrics_daily values (?1, ?2, 'h', 's', '[]', '{}')"
DAY = {"sql": ARCHIVE, "params": ["2026-02-11", "2026-02-11T21:00:00.000Z"]}
ASSET = "insert into metrics_portfolio_assets (date, trade_id, contract_name) values (?1, ?2, 'C')"
READ = {"sql": "select * from metrics_daily where date = ?1", "params": ["2026-02-11"]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[D1Fake]:
    with D1Fake(tmp_path_factory.mktemp("d1") / "d1.sqlite") as d1:
        yield d1


@pytest.fixture
def d1(served: D1Fake) -> D1Fake:
    served.store.clear()
    served.faults.rules.clear()
    served.forget_calls()
    served.store.seconds_max = 30
    return served


def ask(d1: D1Fake, body: object, *, path: str = "", **headers: str) -> requests.Response:
    url = f"{d1.api_base}{path or f'/accounts/{d1.account_id}/d1/database/{d1.database_id}/query'}"
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return requests.post(url, data=data, headers={"Authorization": f"Bearer {d1.token}", **headers}, timeout=20)


def code(answer: requests.Response) -> tuple[int, int]:
    document = answer.json()
    assert (document["success"], document["result"]) == (False, [])
    return answer.status_code, document["errors"][0]["code"]


def test_an_answer_has_the_shape_of_the_real_one(d1: D1Fake) -> None:
    assets = [{"sql": ASSET, "params": ["2026-02-11", str(number)]} for number in (1, 2)]
    answer = ask(d1, {"batch": [DAY, *assets, {"sql": "delete from metrics_portfolio_assets where trade_id = 2"}, READ]})
    document = answer.json()
    assert answer.status_code == 200
    assert (document["success"], document["errors"], document["messages"]) == (True, [], [])
    assert [one["meta"]["changes"] for one in document["result"]] == [1, 1, 1, 1, 0]
    assert all(one["success"] and one["meta"]["size_after"] > 0 for one in document["result"])
    [row] = document["result"][-1]["results"]
    assert (row["date"], row["rows_json"]) == ("2026-02-11", "[]")
    assert ask(d1, READ).json()["result"][0]["results"] == [row], "a query alone is a batch of one"


def test_parameters_are_texts_and_columns_make_numbers_of_them(d1: D1Fake) -> None:
    asset = {"sql": ASSET, "params": ["2026-02-11", "7"]}
    assert ask(d1, {"batch": [DAY, asset]}).status_code == 200
    assert d1.store.rows("metrics_portfolio_assets")[0]["trade_id"] == 7
    for wrong in (7, None, 1.5, ["7"], True):
        assert code(ask(d1, {"sql": ASSET, "params": ["2026-02-11", wrong]})) == (400, 7400)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"batch":[]}', b'{"batch":[5]}', b'{"sql":1}', b'{"sql":"x","params":{}}'])
def test_a_body_that_is_no_query_is_refused(d1: D1Fake, body: bytes) -> None:
    assert code(ask(d1, body)) == (400, 7400)
    assert "bad_body" in d1.calls()[0]


def test_only_the_right_token_account_and_database_are_let_in(d1: D1Fake) -> None:
    assert code(ask(d1, READ, Authorization="Bearer other")) == (401, 10000)
    assert code(ask(d1, READ, path=f"/accounts/{'f' * 32}/d1/database/{d1.database_id}/query")) == (403, 7403)
    assert code(ask(d1, READ, path=f"/accounts/{d1.account_id}/d1/database/other/query")) == (404, 7404)
    assert code(ask(d1, READ, path="/accounts")) == (404, 7000)


def test_a_batch_stands_as_a_whole_or_not_at_all(d1: D1Fake) -> None:
    asset = {"sql": ASSET, "params": ["2026-02-11", "1"]}
    assert code(ask(d1, {"batch": [DAY, asset, asset]})) == (400, 7500)
    assert code(ask(d1, {"batch": [DAY, {"sql": ASSET, "params": ["2026-02-12", "1"]}]})) == (400, 7500), (
        "a day that is not there"
    )
    assert set(d1.store.counts().values()) == {0}
    assert ask(d1, {"batch": [DAY, asset, {"sql": "delete from metrics_daily", "params": []}]}).status_code == 200
    assert set(d1.store.counts().values()) == {0}, "rows go with their day"


def test_json_functions_are_there(d1: D1Fake) -> None:
    sql = "select json_extract(value, '$.a') as a, json_extract(value, '$.b') as b from json_each(?1)"
    rows = ask(d1, {"sql": sql, "params": ['[{"a":1.5,"b":"x"},{"a":null}]']}).json()["result"][0]["results"]
    assert rows == [{"a": 1.5, "b": "x"}, {"a": None, "b": None}]


def test_every_limit_is_kept_and_its_edge_is_allowed(d1: D1Fake) -> None:
    names = ", ".join(f"?{number}" for number in range(1, PARAMETERS_MAX + 1))
    assert ask(d1, {"sql": f"select {names}", "params": ["1"] * PARAMETERS_MAX}).status_code == 200
    assert code(ask(d1, {"sql": f"select {names}, ?101", "params": ["1"] * 101})) == (400, 7500)
    assert code(ask(d1, {"sql": "select ?1", "params": ["1", "2"]})) == (400, 7500), "as many as the statement names"
    room = STATEMENT_BYTES_MAX - len("select ''")
    assert ask(d1, {"sql": f"select '{'x' * room}'", "params": []}).status_code == 200
    assert code(ask(d1, {"sql": f"select '{'x' * (room + 1)}'", "params": []})) == (400, 7500)
    assert ask(d1, {"sql": "select length(?1)", "params": ["x" * VALUE_BYTES_MAX]}).status_code == 200
    assert code(ask(d1, {"sql": "select length(?1)", "params": ["x" * (VALUE_BYTES_MAX + 1)]})) == (400, 7500)
    day = "insert into metrics_daily values ('2026-02-11', '', '', '', ?1, ?2)"
    assert code(ask(d1, {"sql": day, "params": ["x" * 1_100_000] * 2})) == (400, 7500), "a row of two long texts"


@pytest.mark.parametrize(
    "sql",
    ["BEGIN", "begin immediate", "/* a */ Begin", "COMMIT", "rollback", "savepoint a", "attach 'x' as y", "pragma user_version"],
)
def test_transactions_and_settings_are_the_services_own(d1: D1Fake, sql: str) -> None:
    assert code(ask(d1, {"batch": [DAY, {"sql": sql, "params": []}]})) == (400, 7500)
    assert d1.store.counts()["metrics_daily"] == 0
    assert ask(d1, READ).status_code == 200


def test_two_statements_in_one_text_are_refused(d1: D1Fake) -> None:
    assert code(ask(d1, {"sql": "select 1; select 2", "params": []})) == (400, 7500)


def test_a_query_that_takes_too_long_is_ended_and_leaves_nothing(d1: D1Fake) -> None:
    d1.store.seconds_max = 0.05
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
    assert code(ask(d1, {"batch": [DAY, {"sql": endless, "params": []}]})) == (500, 7500)
    assert d1.store.counts()["metrics_daily"] == 0


@pytest.mark.parametrize(
    ("kind", "rule", "status", "stored"),
    [
        ("status", {"status": 429, "retry_after": 3}, 429, 0),
        ("status", {"status": 401}, 401, 0),
        ("status", {"status": 500}, 500, 0),
        ("status", {"status": 502}, 502, 0),
        ("status", {"status": 503, "retry_after": 1}, 503, 0),
        ("failure", {}, 200, 0),
        ("not_json", {}, 200, 0),
        ("slow", {"seconds": 0.01}, 200, 1),
        ("forget", {}, 200, 0),
        ("alter", {"table": "metrics_daily"}, 200, 1),
        ("stop", {"n": 2}, 500, 0),
        ("stop", {"n": 2, "rollback": False, "status": 502}, 502, 1),
        ("hang", {"seconds": 0.05}, None, 0),
        ("reset_before", {}, None, 0),
        ("reset_after", {}, None, 1),
    ],
)
def test_a_fault_befalls_one_call_of_its_side(
    d1: D1Fake, kind: str, rule: dict[str, Any], status: int | None, stored: int
) -> None:
    d1.fault(kind, on="write", **rule)
    assert ask(d1, READ).json()["success"] is True
    try:
        answer: requests.Response | None = ask(d1, {"batch": [DAY, READ]})
    except requests.ConnectionError:
        answer = None
    assert (None if answer is None else answer.status_code) == status
    if answer is not None:
        assert answer.headers.get("Retry-After") == (str(rule["retry_after"]) if "retry_after" in rule else None)
        assert answer.headers["Content-Type"] == ("text/html" if kind == "not_json" else "application/json")
    if kind == "failure":
        assert answer is not None
        assert answer.json()["success"] is False
    assert d1.store.counts()["metrics_daily"] == stored
    if kind == "alter":
        assert d1.store.rows("metrics_daily")[0]["overlay_json"] == "{} "
    assert d1.calls()[-1]["fault"] == kind
    assert ask(d1, {"batch": [{"sql": "delete from metrics_daily", "params": []}]}).status_code == 200


def test_every_knob_is_turned_above() -> None:
    marks = [mark for mark in test_a_fault_befalls_one_call_of_its_side.pytestmark if mark.name == "parametrize"]
    assert {row[0] for row in marks[0].args[1]} == set(KNOBS)
    assert set(KNOBS) >= STORING


def test_a_named_column_is_altered_into_another_text_of_its_length(d1: D1Fake) -> None:
    d1.fault("alter", table="metrics_portfolio_assets", column="contract_name")
    ask(d1, {"batch": [DAY, {"sql": ASSET.replace("'C'", "'AAPL 250321C185'"), "params": ["2026-02-11", "1"]}]})
    assert d1.store.rows("metrics_portfolio_assets")[0]["contract_name"] == "ALTEREDAAPL 250"


def test_calls_are_told_with_their_statements_and_sizes_and_without_the_token(d1: D1Fake) -> None:
    ask(d1, {"batch": [DAY, READ]})
    [told] = requests.get(f"{d1.base_url}/_calls", timeout=20).json()
    assert (told["method"], told["status"], told["path"].startswith(BASE)) == ("POST", 200, True)
    assert [(one["sql"], one["params"]) for one in told["statements"]] == [(ARCHIVE, [10, 24]), (READ["sql"], [10])]
    assert d1.token not in json.dumps(told)


def test_a_target_with_natural_keys_takes_the_same_rows(tmp_path: Path) -> None:
    with D1Fake(tmp_path / "natural.sqlite", natural_keys=True) as d1:
        asset = {"sql": ASSET, "params": ["2026-02-11", "1"]}
        assert ask(d1, {"batch": [DAY, asset]}).status_code == 200
        assert code(ask(d1, {"batch": [asset]})) == (400, 7500)
        assert "id" not in d1.store.rows("metrics_portfolio_assets")[0]


def test_it_runs_as_a_process_with_the_token_of_its_environment(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "infra.local.d1", "--state", str(tmp_path / "d1.sqlite")]
    environment = {"PYTHONPATH": f"{root}:{root / 'shared'}", "CLOUDFLARE_API_TOKEN": "t" * 24}
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split("D1: ")[1].strip()
        path = f"{url}{BASE}/accounts/{ACCOUNT_ID}/d1/database/{DATABASE_ID}/query"
        asked = {"json": {"batch": [DAY]}, "timeout": 20}
        assert requests.post(path, **asked).status_code == 401
        assert requests.post(path, headers={"Authorization": f"Bearer {'t' * 24}"}, **asked).status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
