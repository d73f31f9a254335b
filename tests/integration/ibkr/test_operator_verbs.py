"""The operator's verbs over HTTP: what reads asks the served read API, what changes asks ``execution_sync`` by its contract."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from fillbook.ibkr import __main__ as verbs
from fillbook.ibkr import calls
from fillbook.ledger import reconcile
from fillbook.ledger import service as ledger
from fillbook.ledger.statement import StatedPosition, Statement
from tests.support.bridge import served
from tests.support.ibkr import exec_id, tws
from tests.support.ibkr_world import NOW, World
from tests.support.scripted import scripted
from tests.support.signer import Signer
from tests.support.tracker_desk import BROKER_KEY, KEYS

QUARANTINED = "8a4b6f60-4a7e-5a7d-9f5e-111111111111"
JOB = "8a4b6f60-4a7e-4a7d-9f5e-222222222222"


@pytest.fixture
def desk(
    database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The served read API, and an environment that points at it with the broker's key."""
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"desk_at": NOW.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    client = function_app(
        "trade_tracker",
        {
            "FILLBOOK_DATABASE_URL": f"{database_url}?role=tracker_reader",
            "FILLBOOK_DESK_CLOCK": str(clock),
            "DESK_KEYS": KEYS,
        },
    )
    with served(client) as url:
        monkeypatch.setenv("FILLBOOK_ENV", "local")
        monkeypatch.setenv("TRADE_TRACKER_URL", url)
        monkeypatch.setenv("FILLBOOK_DESK_KEY", BROKER_KEY)
        yield url


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, object, str | None]]]:
    """The local cloud's token endpoint; yields what it was asked for."""
    token = Signer().sign(audience="any", issued=datetime(2100, 1, 1, tzinfo=UTC).timestamp())
    with scripted((200, json.dumps({"token": token}))) as (url, asked):
        monkeypatch.setenv("FILLBOOK_ENV", "local")
        monkeypatch.setenv("FILLBOOK_LOCAL_URL", url)
        yield asked


def test_trades_are_listed_as_a_table_or_as_objects(world: World, desk: str, capsys: pytest.CaptureFixture[str]) -> None:
    world.socket(*[tws(exec_id(n), "BOT", "60", permId=str(n)) for n in range(1, 4)])
    assert desk
    assert verbs.main(["list_trades"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["executed", "account", "symbol", "side"]
    assert [line.split()[1:6] for line in lines] == [["U1234567", "AAPL", "BUY", "60", "10.5"]] * 3
    assert verbs.main(["list_trades", "--json", "--limit", "2", "--symbol", "AAPL", "--account", "1"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["total_quantity"] for row in rows] == ["60", "60"]


def test_a_long_list_is_fetched_page_by_page(
    world: World, desk: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.socket(*[tws(exec_id(n), permId=str(n)) for n in range(1, 8)])
    monkeypatch.setattr(verbs, "PAGE", 3)
    assert desk
    assert verbs.main(["list_trades", "--json", "--limit", "7"]) == 0
    assert len({json.loads(line)["trade_id"] for line in capsys.readouterr().out.splitlines()}) == 7


def test_open_breaks_are_listed_with_cause_and_age(world: World, desk: str, capsys: pytest.CaptureFixture[str]) -> None:
    world.socket(tws(exec_id(1)))
    statement = Statement(
        book_id="ibkr:U1234567",
        as_of=NOW,
        source="ibkr",
        complete=True,
        positions=(StatedPosition(instrument="ibkr:265598", quantity=Decimal(90), currency="USD"),),
    )
    ledger.run(world.db, lambda tx: reconcile.reconcile(tx, statement, NOW))
    assert desk
    assert verbs.main(["list_breaks"]) == 0
    (line,) = capsys.readouterr().out.splitlines()[1:]
    assert "ibkr:U1234567" in line
    assert "position_quantity" in line
    assert verbs.main(["list_breaks", "--json", "--book", "ibkr:U1234567"]) == 0
    (row,) = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert {row["expected"], row["actual"]} == {"90", "100"}
    assert verbs.main(["list_breaks", "--book", "ibkr:nobody"]) == 1
    assert "book_unknown" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "key", "code", "words"),
    [
        (["list_trades", "--status", "open"], BROKER_KEY, 1, "parameter_invalid"),
        (["list_trades"], "wrong", 1, "unauthorized"),
        (["list_trades"], "", 3, "desk_key_missing"),
        (["list_trades", "--limit", "0"], BROKER_KEY, 2, "--limit"),
    ],
)
def test_a_refusal_is_told_in_the_desks_own_words(
    desk: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    key: str,
    code: int,
    words: str,
) -> None:
    assert desk
    monkeypatch.setenv("FILLBOOK_DESK_KEY", key)
    assert verbs.main(arguments) == code
    assert words in capsys.readouterr().err


def test_a_job_is_shown_and_only_asked_for_with_yes(
    identity: list[tuple[str, object, str | None]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = json.dumps({"job_id": JOB, "is_new": True, "state": "queued"})
    with scripted((202, answer)) as (url, seen):
        monkeypatch.setenv("EXECUTION_SYNC_URL", url)
        monkeypatch.setenv("EXECUTION_SYNC_AUDIENCE", "https://execution-sync.invalid")
        wanted = ["enqueue_trades_sync_job", "--lookback-days", "3", "--client-id", "12"]
        assert verbs.main(wanted) == 0
        shown = capsys.readouterr()
        assert (seen, shown.out) == ([], "")
        assert '{"job_type":"trades.sync","payload":{"client_id":12,"lookback_days":3}}' in shown.err
        assert verbs.main([*wanted, "--yes"]) == 0
        ((path, body, authorization),) = seen
    assert (path, body) == ("/api/v1/jobs", {"job_type": "trades.sync", "payload": {"client_id": 12, "lookback_days": 3}})
    assert authorization is not None
    assert authorization.startswith("Bearer ")
    assert [asked[1]["audience"] for asked in identity] == ["https://execution-sync.invalid"]  # type: ignore[index]
    assert f"job {JOB}: queued" in capsys.readouterr().out


def test_the_quarantine_is_listed_without_obeying_its_text_and_a_row_is_accepted_by_name(
    identity: list[tuple[str, object, str | None]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "id": QUARANTINED,
        "source": "tws",
        "account_code": "U1",
        "reason": "bad_frame",
        "detail": "short",
        "raw": "\x1b[2J" + "x" * 900,
    }
    with scripted((200, json.dumps({"items": [row]})), (200, json.dumps({"id": QUARANTINED, "state": "accepted"}))) as (
        url,
        seen,
    ):
        monkeypatch.setenv("EXECUTION_SYNC_URL", url)
        assert verbs.main(["list_quarantine"]) == 0
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert "?[2Jxxx" in shown
        assert len(shown.splitlines()[1]) < 300
        accept = ["accept_quarantined", QUARANTINED, "--reason", "a test row of the broker"]
        assert verbs.main(accept) == 0
        assert len(seen) == 1
        assert verbs.main([*accept, "--yes"]) == 0
    assert [(path, body) for path, body, _ in seen] == [
        ("/api/v1/quarantine", None),
        (f"/api/v1/quarantine/{QUARANTINED}/accept", {"reason": "a test row of the broker"}),
    ]
    assert identity


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (400, {"ok": False, "reason": "invalid_payload", "field": "port"}, 1),
        (403, {"ok": False, "reason": "forbidden"}, 1),
        (503, {"ok": False, "reason": "database_away"}, 3),
        (200, "no json", 3),
    ],
)
def test_what_the_sync_refuses_is_told(
    identity: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    answer: object,
    code: int,
) -> None:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    with scripted((status, text)) as (url, _):
        monkeypatch.setenv("EXECUTION_SYNC_URL", url)
        assert verbs.main(["enqueue_trades_sync_job", "--port", "1", "--yes"]) == code
    told = capsys.readouterr().err
    assert ("invalid_payload (port)" in told) == (status == 400)
    assert identity


def test_without_an_address_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FILLBOOK_ENV", "local")
    monkeypatch.delenv("EXECUTION_SYNC_URL", raising=False)
    assert verbs.main(["list_quarantine"]) == 3
    assert "EXECUTION_SYNC_URL is not set" in capsys.readouterr().err


def test_no_verb_knows_the_database_the_socket_or_an_order() -> None:
    imported = set()
    for module in (verbs, calls):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
    assert not {name for name in imported if name and name.rpartition(".")[2] in ("db", "store", "tws", "flex", "runs")}
    paths = {
        node.value
        for module in (verbs, calls)
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/")
    }
    assert {path for path in paths if path.startswith(("/api", "/timed"))} == {
        "/api/v1/trades",
        "/api/v1/jobs",
        "/api/v1/quarantine",
        "/api/v1/quarantine/",
        "/timed/audit",
    }
