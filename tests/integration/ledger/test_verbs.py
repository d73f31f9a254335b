"""The operator verbs as an operator meets them: what they print, what they exit with."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fillbook.ledger import service
from fillbook.ledger.__main__ import main
from fillbook.ledger.model import Mark
from tests.support.ledger import StoredWorld, at, make_book, make_fill

Query = Callable[..., list[dict[str, Any]]]


Verb = Callable[..., tuple[int, str]]
FILL = "fill --book live --by ann --instrument AMD --executed-at 2026-02-03T15:00:00Z"
SPLIT = "split --book live --instrument AMD --by ann --reason announced"


@pytest.fixture
def verb(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Run a verb as ``desk_operator`` (or another role), an hour into the day; return its exit code and what it said."""
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"desk_at": at(60).isoformat(), "real_at": 0, "speed": 1, "paused": True}))

    def run(text: str, *, role: str = "desk_operator") -> tuple[int, str]:
        monkeypatch.setenv("FILLBOOK_ENV", "local")
        monkeypatch.setenv("FILLBOOK_DATABASE_URL", f"{database_url}?role={role}")
        monkeypatch.setenv("FILLBOOK_DESK_CLOCK", str(clock))
        code = main(text.split())
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_audit_verify_and_rebuild_of_a_clean_book(stored: StoredWorld, verb: Verb) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    assert verb("audit") == (0, "live: clean at seq 2\n")
    code, text = verb("audit --book live --json")
    assert (code, json.loads(text)["exit"]) == (0, 0)
    assert verb("verify") == (0, "live: whole\n")
    code, text = verb("rebuild --check")
    assert code == 0
    assert text.startswith(f"live: equal, 2 rows, state {stored.state_hash}, chain {stored.chain_head}")
    assert verb("rebuild --write --book live", role="ledger_maintenance")[0] == 0


def test_a_violation_is_the_exit_code_and_is_named(stored: StoredWorld, verb: Verb, query: Query) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    query("update ledger.positions set cost_basis = cost_basis + 0.01")
    code, text = verb("audit --book live --store")
    assert code == 21
    assert "1 Σ open lots = position" in text
    assert [row["exit"] for row in query("select exit from ledger.v_audits")] == [21]
    code, text = verb("rebuild --check --book live")
    assert (code, "cost_basis" in text) == (1, True)
    query("update ledger.fills set reason = 'late'")
    code, text = verb("verify --book live")
    assert (code, "altered seq 1: fills" in text) == (1, True)


def test_an_operator_enters_corrects_and_busts_a_fact(stored: StoredWorld, verb: Verb) -> None:
    code, text = verb(f"{FILL} --ticket T1 --side buy --quantity 10 --price 100 --fees 1 --reason opening_balance")
    entered = json.loads(text)
    assert (code, entered["status"], entered["actions"][0]["action_type"]) == (0, "booked", "ENTRY")
    code, text = verb(f"{FILL} --ticket T1 --revision 2 --side BUY --quantity 12 --price 100")
    assert json.loads(text)["actions"][0]["version"] == 2
    assert stored.positions[0].quantity_open == 12
    code, text = verb(f"bust --book live --fill {entered['fill_id']} --by ann --reason operator_correction")
    assert json.loads(text)["actions"][0]["state"] == "VOID"
    assert stored.positions == []


def test_a_split_is_entered_and_undone(stored: StoredWorld, verb: Verb) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    split = f"{SPLIT} --ratio 4:1 --effective 2026-02-03T16:00Z"
    assert verb(split) == (0, "entered\n")
    assert verb(split) == (0, "nothing to change\n")
    assert stored.positions[0].quantity_open == 40
    assert verb(f"{split} --void") == (0, "undone\n")
    assert stored.positions[0].quantity_open == 10


def test_methods_stand_side_by_side(stored: StoredWorld, verb: Verb) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100, fees="1"), make_fill("b", "BUY", 10, 110, 1, fees="1")])
    stored.deliver([make_fill("c", "BUY", 10, 120, 2, fees="1"), make_fill("d", "SELL", 24, 130, 3, fees="2.40")])
    seen = Mark(instrument="AMD", price=Decimal(130), marked_at=at(4), source="signal")
    service.run(stored.db, lambda tx: service.mark(tx, "live", [seen], at(4)))
    code, text = verb("methods --book live")
    assert code == 0
    assert text.splitlines() == [
        "FIFO      realized 535.20000000 USD; unrealized 59.40000000 USD; lots 6 AMD @ 120",
        "LIFO      realized 415.20000000 USD; unrealized 179.40000000 USD; lots 6 AMD @ 100",
        "HIFO      realized 415.20000000 USD; unrealized 179.40000000 USD; lots 6 AMD @ 100",
        "AVERAGE   realized 475.20000000 USD; unrealized 119.40000000 USD; lots 2 AMD @ 100, 2 AMD @ 110, 2 AMD @ 120",
        "SPECIFIC  n/a (no picks)",
    ]
    assert verb("methods --book live --instrument NVDA")[1].startswith("FIFO      realized 0; unrealized 0; lots none")


def test_an_anchor_is_stored_once_a_day(stored: StoredWorld, verb: Verb) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    assert verb("anchor --book live") == (0, "live: anchored\n")
    assert verb("anchor") == (0, "live: has the anchor of today\n")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("audit --book nowhere:1", "book_unknown"),
        ("audit --book ibkr:none", "book_unknown"),
        ("bust --book live --fill 00000000-0000-0000-0000-000000000000 --by a --reason x", "fill_unknown"),
        (f"{FILL} --ticket T --side hold --quantity 1 --price 1", "side_invalid"),
        (f"{FILL} --ticket T --side buy --quantity many --price 1", "number_invalid"),
        (f"{FILL} --ticket T --side buy --quantity 1 --price 1 --session-date soon", "session_date_invalid"),
        (f"{SPLIT} --ratio 4 --effective 2026-02-03T16:00Z", "ratio_invalid"),
        (f"{SPLIT} --ratio 4:1 --effective 2026-02-03T16:00", "instant_invalid"),
        (f"{SPLIT} --ratio 4:1 --effective 2026-02-03T16:00Z --void", "adjustment_unknown"),
    ],
)
def test_what_is_wrong_is_refused_with_its_reason(stored: StoredWorld, verb: Verb, asked: str, said: str) -> None:
    code, text = verb(asked)
    assert (code, said in text) == (2, True), text


def test_wrong_usage_and_an_absent_database_have_their_own_exits(
    verb: Verb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        verb("rebuild")
    assert stop.value.code == 2
    monkeypatch.setenv("FILLBOOK_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert main(["audit"]) == 3
    monkeypatch.delenv("FILLBOOK_DATABASE_URL")
    assert main(["audit"]) == 2
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines() if ": " in line][-2:] == [
        "away",
        "not configured",
    ]


def test_a_fact_of_a_hedging_book_needs_its_direction(verb: Verb, db: Any) -> None:
    StoredWorld(db, make_book("mt5:s:1", "SPECIFIC", "hedge"))
    given = FILL.replace("live", "mt5:s:1") + " --ticket T1 --side buy --quantity 1 --price 2"
    assert verb(given)[0] == 2
    code, text = verb(f"{given} --direction LONG --lot-ref 7 --multiplier 100 --cash-style margin")
    assert (code, json.loads(text)["status"]) == (0, "booked")


def test_show_prints_a_book_at_a_moment_and_as_json(stored: StoredWorld, verb: Verb) -> None:
    desk: dict[str, Any] = {"source": "operator", "account_key": "ann"}
    stored.deliver([make_fill("a", "BUY", 10, 100, fees="1", **desk), make_fill("b", "SELL", 4, 120, 10, **desk)], at(11))
    stored.deliver([make_fill("a", "BUY", 10, 101, fees="1", source_revision=2, cause="revision", **desk)], at(30))
    service.run(
        stored.db,
        lambda tx: service.mark(
            tx, "live", [Mark(instrument="AMD", price=Decimal(121), marked_at=at(10), source="signal")], at(10)
        ),
    )
    code, text = verb("show --book live --as-of 2026-02-03T15:12Z --known-as-of 2026-02-03T15:29:59Z")
    lines = text.splitlines()
    assert code == 0
    assert lines[0] == "live as of 2026-02-03T15:12:00.000000Z, known as of 2026-02-03T15:29:59.000000Z, seq 4"
    assert lines[1] == (
        "AMD      LONG  OPEN   6 of 10 @ 100  basis 600.6  realized 79.6  "
        "unrealized 125.4 at 121 (fresh, signal, 2026-02-03T15:10:00+00:00)"
    )
    assert lines[2].endswith("  2026-02-03T15:00:00+00:00  6 @ 100  basis 600.6")
    assert lines[3:] == [
        "USD  cash -521  realized_pnl 79.6  fees 1  market_value 726  unrealized_pnl 125.4  equity 205",
    ]
    code, text = verb("show --book live --instrument AMD --json")
    found = json.loads(text)
    assert (code, found["seq"], found["as_of"], found["known_as_of"]) == (0, 7, *["2026-02-03T16:00:00.000000+00:00"] * 2)
    (position,) = found["positions"]
    assert (position["quantity_open"], position["vwap"], position["cost_basis"], position["mark_state"]) == (
        "6", "101", "606.6", "stale",
    )  # fmt: skip
    assert [(lot["quantity"], lot["quantity_open"], lot["cost_basis"]) for lot in position["lots"]] == [("10", "6", "1011")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--as-of 2026-02-03T15:00", "instant_invalid"),
        ("--known-as-of yesterday", "instant_invalid"),
        ("--as-of 2026-02-03T16:00:01Z", "instant_in_future"),
        ("--known-as-of 2026-02-03T16:00:01Z", "instant_in_future"),
    ],
)
@pytest.mark.usefixtures("stored")
def test_show_refuses_an_instant_without_a_zone_of_nonsense_or_of_the_future(verb: Verb, arguments: str, said: str) -> None:
    code, text = verb(f"show --book live {arguments}")
    assert (code, said in text) == (2, True)


def test_show_of_an_unknown_book_is_refused(verb: Verb) -> None:
    assert verb("show --book live") == (2, "refused: book_unknown (book_id)\n")


def test_a_book_is_exported_in_every_form_and_its_pack_verified(stored: StoredWorld, verb: Verb, tmp_path: Path) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100), make_fill("b", "BUY", 5, 10, 1, instrument="NVDA", fees=None)])
    code, text = verb(f"export --book live --format csv --out {tmp_path}/out")
    assert (code, len(text.splitlines())) == (0, 5)
    code, text = verb(f"export --book live --format beancount --out {tmp_path}/out --as-of 2026-02-03T15:30Z")
    assert (code, "of NVDA: fees unknown" in text) == (0, True)
    code, text = verb(f"export --book live --format pack --out {tmp_path}/out --known-as-of 2026-02-03T15:30Z")
    assert (code, text.startswith(f"{tmp_path}/out/pack.json: ")) == (0, True)
    assert verb(f"verify --pack {tmp_path}/out/pack.json")[0] == 0
    assert verb(f"export --book live --format pack --out {tmp_path}/out --as-of 2026-02-03T15:30Z")[0] == 2
    assert "instant_invalid" in verb(f"export --book live --format csv --out {tmp_path}/out --as-of 2026-02-03T15:30")[1]
    (tmp_path / "file").write_text("")
    assert verb(f"export --book live --format csv --out {tmp_path}/file") == (2, "refused: cannot write: File exists\n")
