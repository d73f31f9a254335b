"""Exports of stored books: scenarios 44 and 45, both horizons, the same bytes twice, nothing left behind by a failure."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fillbook.ledger import columns, export
from fillbook.ledger.walk import Horizon
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from tests.conftest import OpenDatabase
from tests.support import beans, ledger_cases
from tests.support.ledger import StoredWorld, at, make_book, make_fill

Query = Callable[..., list[dict[str, Any]]]
HOSTILE = '=1+1,"quoted"\r\nsecond line'
WORKED = [name for name in ledger_cases.names() if re.match(r"E0[1-7]-", name)]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def digests(done: export.Export) -> list[str]:
    return [file.sha256 for file in done.files]


def busy(world: StoredWorld) -> None:
    """Corrections, a bust, a late fill, an enrichment and a split, a minute of recording apart."""
    told = [
        make_fill("a", "BUY", 10, 100, 0, fees="1"),
        make_fill("b", "BUY", 10, 110, 1, fees=None),
        make_fill("c", "SELL", 15, 120, 3, fees="0.5"),
        make_fill("b", "BUY", 10, 110, 1, fees="1"),
        make_fill("b", "BUY", 10, 112, 1, fees="1", source_revision=2, cause="revision"),
        make_fill("n", "SELL", "0.3333", "50.25", 4, fees="0", instrument="NVDA"),
        make_fill("d", "BUY", 2, 90, 2, fees="0"),
        make_fill("d", "BUY", 2, 90, 2, fees="0", is_bust=True, cause="bust"),
        make_fill("m", "BUY", "0.1", "51", 6, fees="0.01", instrument="NVDA"),
    ]
    for minute, fill in enumerate(told):
        world.deliver([fill], at(minute + 10))
    world.split((4, 1), 5)


def test_scenario_44_a_formula_in_a_text_is_inert_and_comes_back(stored: StoredWorld, tmp_path: Path, query: Query) -> None:
    texts = [HOSTILE, "+1", "-2", "@sum", "\tx", "\rx", "'=3", "''=3", "it's", "plain"]
    for number in range(len(texts)):
        stored.deliver([make_fill(f"f{number}", "BUY", 1, 100, number, lot_ref="=cmd" if number else None)])
    for number, text in enumerate(texts):  # the door takes slugs only, so what stands there is worse than what can
        query("update ledger.fills set reason = :reason where source_id = :id", reason=text, id=f"f{number}")
    export.export(stored.db, "live", "csv", tmp_path)
    found = rows(tmp_path / "fills.csv")
    for row, text in zip(found, texts, strict=True):
        assert row["reason"][:1] not in ("=", "+", "-", "@", "\t", "\r")
        assert re.sub(r"\A'(?='*[=+\-@\t\r])", "", row["reason"]) == text
        assert (row["quantity"], row["price"], row["fees"]) == ("1", "100", "0")
    assert {row["lot_ref"] for row in found} == {"", "'=cmd"}
    assert {row["lot_ref"] for row in rows(tmp_path / "lots.csv")} == {"", "'=cmd"}
    data = (tmp_path / "fills.csv").read_bytes()
    assert data.startswith(",".join(columns.FILLS.names).encode() + b"\r\n")
    assert b'"\'=1+1,""quoted""\r\nsecond line"' in data


def test_numbers_stay_numbers_also_below_zero(stored: StoredWorld, tmp_path: Path) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100, fees="-0.25"), make_fill("b", "SELL", 10, 99, 1)])
    export.export(stored.db, "live", "csv", tmp_path)
    assert rows(tmp_path / "fills.csv")[0]["fees"] == "-0.25"
    assert [row["realized_pnl"] for row in rows(tmp_path / "closings.csv")] == ["-9.75"]
    assert rows(tmp_path / "actions.csv")[0]["cash_effect"] == "-999.75"


def test_the_sheets_say_what_the_tables_say(stored: StoredWorld, tmp_path: Path, query: Query) -> None:
    busy(stored)
    done = export.export(stored.db, "live", "csv", tmp_path)
    assert sorted(file.path.name for file in done.files) == sorted(f"{name}.csv" for name in export.SHEETS)
    actions = "execution_actions where superseded_at is null and state = 'BOOKED'"
    for name, table, key in [
        ("actions", actions, "action_id"),
        ("lots", "lots where status <> 'VOID'", "lot_id"),
        ("positions", "positions where status <> 'VOID'", "position_id"),
    ]:
        found, stored_rows = rows(tmp_path / f"{name}.csv"), query(f"select * from ledger.{table}")
        assert sorted(row[key] for row in found) == sorted(str(row[key]) for row in stored_rows)
        by_id = {str(row[key]): row for row in stored_rows}
        for row in found:
            for column, text in row.items():
                value = by_id[row[key]][column]
                if isinstance(value, Decimal):
                    assert (column, Decimal(text)) == (column, value)
                elif value is None:
                    assert (column, text) == (column, "")
    assert len(rows(tmp_path / "closings.csv")) == len(
        query("select 1 from ledger.closings join ledger.execution_actions using (book_id, action_id, version) "
              "where superseded_at is null and state = 'BOOKED'")
    )  # fmt: skip
    assert [(row["source_id"], row["version"], row["is_bust"]) for row in rows(tmp_path / "fills.csv")] == [
        ("a", "1", "false"),
        ("c", "1", "false"),
        ("b", "3", "false"),
        ("n", "1", "false"),
        ("d", "2", "true"),
        ("m", "1", "false"),
    ]


@pytest.mark.parametrize("form", sorted(export.FORMS))
def test_the_same_book_gives_the_same_bytes(stored: StoredWorld, tmp_path: Path, form: str) -> None:
    busy(stored)
    first = export.export(stored.db, "live", form, tmp_path / "one")
    again = export.export(stored.db, "live", form, tmp_path / "two")
    assert digests(first) == digests(again)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(file.path.name for file in first.files)


@pytest.mark.parametrize("form", sorted(export.FORMS))
@pytest.mark.parametrize("known", [9, 10, 12, 13, 14, 17, 18])
def test_what_was_known_then_is_exported_now_as_it_was_exported_then(
    db: Database, open_database: OpenDatabase, tmp_path: Path, form: str, known: int
) -> None:
    """Law P12 and scenario 39: the export as known at K equals one made at K."""
    then, now = StoredWorld(db, make_book("ibkr:U1")), StoredWorld(db, make_book("ibkr:U2"))
    told = [
        make_fill("a", "BUY", 10, 100, 0, fees="1", source="ibkr"),
        make_fill("b", "BUY", 10, 110, 1, fees=None, source="ibkr"),
        make_fill("c", "SELL", 15, 120, 3, fees="0.5", source="ibkr"),
        make_fill("b", "BUY", 10, 110, 1, fees="1", source="ibkr"),
        make_fill("b", "BUY", 10, 112, 1, fees="1", source_revision=2, cause="revision", source="ibkr"),
        make_fill("x", "SELL", 99, 120, 4, position_effect="close", source="ibkr"),
        make_fill("d", "BUY", 2, 90, 2, fees="0", source="ibkr"),
        make_fill("d", "BUY", 2, 90, 2, fees="0", is_bust=True, cause="bust", source="ibkr"),
    ]
    for minute, fill in enumerate(told, 10):
        if minute <= known:
            then.deliver([fill], at(minute))
        now.deliver([fill], at(minute))
    horizon = Horizon(known_as_of=at(known))
    export.export(db, "ibkr:U1", form, tmp_path / "then", horizon)
    export.export(db, "ibkr:U2", form, tmp_path / "now", horizon)
    for path in sorted((tmp_path / "then").iterdir()):
        one, other = path.read_text("utf-8"), (tmp_path / "now" / path.name).read_text("utf-8")
        hidden = re.compile(r"[0-9a-f]{64}")  # the chain starts with the book's name, so its hashes differ
        assert hidden.sub("#", one.replace("U1", "U2")) == hidden.sub("#", other), path.name


def test_as_of_an_instant_only_what_was_executed_by_then(stored: StoredWorld, tmp_path: Path) -> None:
    busy(stored)
    export.export(stored.db, "live", "csv", tmp_path, Horizon(as_of=at(2)))
    assert [row["source_id"] for row in rows(tmp_path / "fills.csv")] == ["a", "b", "d"]
    (position,) = rows(tmp_path / "positions.csv")
    assert (position["status"], position["quantity_open"], position["vwap"]) == ("OPEN", "20", "106")
    export.export(stored.db, "live", "csv", tmp_path, Horizon(as_of=at(2), known_as_of=at(11)))
    (position,) = rows(tmp_path / "positions.csv")
    assert (position["quantity_open"], position["vwap"], position["cost_basis"]) == ("20", "105", "")


def test_a_pack_as_of_an_instant_is_refused(stored: StoredWorld, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="as_of_unsupported"):
        export.export(stored.db, "live", "pack", tmp_path, Horizon(as_of=at(2)))
    with pytest.raises(Rejected, match="book_unknown"):
        export.export(stored.db, "nowhere", "csv", tmp_path / "none")
    assert list(tmp_path.glob("**/*.*")) == []


@pytest.mark.parametrize("name", WORKED)
def test_scenario_45_bean_check_accepts_a_worked_example_with_equal_totals(name: str, db: Database, tmp_path: Path) -> None:
    case = ledger_cases.load(name)
    world = StoredWorld(db, ledger_cases.book_of(case))
    ledger_cases.play(case, world)
    done = export.export(db, "live", "beancount", tmp_path)
    assert done.left_out == ()
    check = [str(Path(sys.executable).parent / "bean-check"), str(tmp_path / "book.beancount")]
    run = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout + run.stderr) == (0, "")
    entries = beans.check(tmp_path / "book.beancount")
    cash = sum((version.action.cash_effect or 0 for version in world.actions), Decimal(0))
    realized = sum((version.action.realized_pnl or 0 for version in world.actions), Decimal(0))
    assert beans.amounts(entries, "Assets:Live:Cash").get("USD", 0) == cash
    assert -beans.amounts(entries, "Income:Live:Realized").get("USD", Decimal(0)) == realized
    held = beans.lots(entries, "Assets:Live:Positions")
    assert sum((units for units, _ in held.values()), Decimal(0)) == sum(
        (p.quantity_open if p.direction == "LONG" else -p.quantity_open for p in world.positions), Decimal(0)
    )
    assert sum((abs(cost) for _, cost in held.values()), Decimal(0)) == sum(
        (p.cost_basis or 0 for p in world.positions), Decimal(0)
    )


def test_beancount_leaves_out_what_is_unknown_and_says_so(stored: StoredWorld, tmp_path: Path) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100, fees=None), make_fill("b", "BUY", 5, 10, 1, instrument='N"V\\D', fees="1")])
    done = export.export(stored.db, "live", "beancount", tmp_path)
    ((position_id, instrument, reason),) = done.left_out
    assert (instrument, reason) == ("AMD", "fees unknown")
    assert f"; left out: position {position_id} of AMD: fees unknown\n" in (tmp_path / "book.beancount").read_text("utf-8")
    entries = beans.check(tmp_path / "book.beancount")
    assert beans.amounts(entries, "Assets:Live:Cash") == {"USD": Decimal(-51)}


def test_beancount_names_are_its_own_and_never_those_of_a_currency(db: Database, tmp_path: Path) -> None:
    world = StoredWorld(db, make_book("mt5:srv:1", start_cash=Decimal(1000)))
    names = ["ibkr:1", "ibkr:2", "F", "USD", "TRUE", "6E", "BRK B", "Ä€"]
    tickers = ["AMD", "AMD", "F", "USD", "TRUE", "6E", "BRK B", "Ä€"]
    for number, (name, ticker) in enumerate(zip(names, tickers, strict=True)):
        world.deliver([make_fill(f"f{number}", "SELL", 1, 100, number, instrument=name, ticker=ticker, source="mt5")])
    export.export(db, "mt5:srv:1", "beancount", tmp_path)
    entries = beans.check(tmp_path / "book.beancount")
    held = beans.balances(entries)["Assets:Mt5-srv-1:Positions"]
    assert len({position.units.currency for position in held}) == len(names)
    assert beans.amounts(entries, "Assets:Mt5-srv-1:Cash") == {"USD": Decimal(1800)}


def test_a_file_appears_only_when_it_is_whole(stored: StoredWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    export.export(stored.db, "live", "csv", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    stored.deliver([make_fill("b", "BUY", 10, 100, 1)])

    def broken(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(export, "last_forms", broken)
    with pytest.raises(OSError, match="no space"):
        export.export(stored.db, "live", "csv", tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_closed_book_exports_what_was_booked_before_it_closed(db: Database, tmp_path: Path, query: Query) -> None:
    world = StoredWorld(db, make_book("ibkr:U1"))
    world.deliver([make_fill("a", "BUY", 10, 100, source="ibkr")])
    query("update ledger.books set closed_at = :at, closed_seq = seq where book_id = 'ibkr:U1'", at=at(1))
    world.deliver([make_fill("b", "BUY", 10, 100, 1, source="ibkr")], at(2))
    export.export(db, "ibkr:U1", "csv", tmp_path)
    assert [row["quantity_open"] for row in rows(tmp_path / "positions.csv")] == ["10"]
    assert len(rows(tmp_path / "fills.csv")) == 2


def test_many_pages_come_out_whole(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fillbook.ledger import bookstore, walk

    world = StoredWorld(db, make_book("ibkr:U1"))
    fills = [
        make_fill(f"f{n:03}", "BUY" if n % 3 else "SELL", 1 + n % 4, 100 + n % 7, n // 4, source="ibkr", venue_order=f"{n:03}")
        for n in range(60)
    ]
    world.deliver(fills)
    whole = digests(export.export(db, "ibkr:U1", "csv", tmp_path)), digests(export.export(db, "ibkr:U1", "pack", tmp_path))
    for module in (export, walk, bookstore):
        monkeypatch.setattr(module, "PAGE_ROWS", 7)
    assert whole == (
        digests(export.export(db, "ibkr:U1", "csv", tmp_path)),
        digests(export.export(db, "ibkr:U1", "pack", tmp_path)),
    )
