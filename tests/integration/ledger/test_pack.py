"""Evidence packs: proved offline by our code, by a stranger's, and every kind of tampering named (scenario 42)."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fillbook.ledger import audit, export, pack
from fillbook.ledger.__main__ import main
from fillbook.ledger.chain import encode
from fillbook.ledger.walk import Horizon
from fillbook.runtime.errors import Rejected
from tests.support import recheck
from tests.support.ledger import StoredWorld, at, make_fill

Document = dict[str, Any]
Tamper = Callable[[Document], None]


@pytest.fixture
def packed(stored: StoredWorld, tmp_path: Path) -> Path:
    """A pack of a book with corrections, a bust, a split, two currencies, an anchor."""
    stored.deliver(
        [
            make_fill("a", "BUY", 10, 100, 0, fees="1", meta={"order": "ü", "n": [1, None]}),
        ]
    )
    stored.deliver([make_fill("b", "BUY", 10, 110, 1, fees="1")], at(11))
    stored.deliver([make_fill("c", "SELL", 15, 120, 3, fees="0.5")], at(12))
    audit.anchor(stored.db, "live", at(13))
    stored.deliver([make_fill("b", "BUY", 10, 112, 1, fees="1", source_revision=2, cause="revision")], at(14))
    stored.split((4, 1), 4)
    stored.deliver([make_fill("d", "SELL", 8, 31, 5, fees="0")], at(15))
    stored.deliver([make_fill("e", "SELL", 3, "10.5", 2, instrument="SAP", currency="EUR", fx_rate="1.1", fees="0.1")], at(16))
    stored.deliver([make_fill("f", "BUY", 1, "10.25", 6, instrument="SAP", currency="EUR", fx_rate="1.1", fees="0.1")], at(17))
    stored.deliver([make_fill("g", "BUY", 1, 90, 7)], at(18))
    stored.deliver([make_fill("g", "BUY", 1, 90, 7, is_bust=True, cause="bust")], at(19))
    export.export(stored.db, "live", "pack", tmp_path)
    return tmp_path / "pack.json"


def rewritten(path: Path, *changes: Tamper) -> Path:
    document = json.loads(path.read_text("utf-8"))
    for change in changes:
        change(document)
    other = path.with_name("other.json")
    other.write_text(json.dumps(document), encoding="utf-8")
    return other


def column(table: str, name: str) -> int:
    return list(pack.COLUMNS[table]).index(name)


def trim(document: Document) -> Document:
    """The first closing action that is current."""
    row: Document = next(row for row in document["actions"] if row["closings"] and row["superseded_at"] is None)
    return row


def rehash(document: Document) -> None:
    """Recompute every hash to the end, as who made the pack could."""
    seq = {name: column(name, "seq") for name in ("fills", "adjustments", "execution_actions")}
    head = hashlib.sha256(b"fillbook:live").digest()
    for row in sorted(document["journal"] + document["actions"], key=lambda row: row["values"][seq[row["table"]]]):
        row["prev_hash"] = head.hex()
        hashed = [*row["values"], row["closings"]] if "closings" in row else row["values"]
        head = hashlib.sha256(head + encode(hashed).encode()).digest()
        row["row_hash"] = head.hex()
    document["chain_head"] = head.hex()


def test_a_pack_is_proved_without_a_database(packed: Path, stored: StoredWorld, capsys: pytest.CaptureFixture[str]) -> None:
    proof = pack.prove(packed)
    assert proof.findings == ()
    assert (proof.chain_head, proof.state_hash, proof.anchors) == (stored.chain_head, stored.state_hash, 1)
    assert main(["verify", "--pack", str(packed)]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "live: whole"
    assert stored.chain_head in said


def test_a_pack_reads_the_same_however_its_json_is_laid_out(packed: Path) -> None:
    assert pack.prove(rewritten(packed)).findings == ()


def test_a_stranger_checks_a_pack_with_nothing_but_the_document(packed: Path, stored: StoredWorld, query: Any) -> None:
    run = subprocess.run(
        [sys.executable, "-I", recheck.__file__, str(packed)], capture_output=True, text=True, check=True, env={"PATH": ""}
    )
    totals = query(
        "select currency, sum(realized_pnl) as realized from ledger.v_actions where realized_pnl is not null group by 1"
    )
    expected = {row["currency"]: row["realized"] for row in totals}
    assert set(expected) == {"EUR", "USD"}
    head, amounts = recheck.recheck(packed.read_text("utf-8"))
    assert (head, amounts) == (stored.chain_head, expected)
    assert run.stdout.split()[0] == stored.chain_head
    source = Path(recheck.__file__).read_text("utf-8")
    assert "fillbook." not in source.replace("fillbook:", "")
    assert "from tests" not in source


def test_scenario_42_an_altered_cent_of_an_action_names_row_and_columns(packed: Path) -> None:
    def cent(document: Document) -> None:
        values = trim(document)["values"]
        at_fees = column("execution_actions", "fees")
        values[at_fees] = str(Decimal(values[at_fees]) + Decimal("0.01"))

    (finding,) = pack.prove(rewritten(packed, cent)).findings
    row = trim(json.loads(packed.read_text("utf-8")))["values"]
    seq = row[column("execution_actions", "seq")]
    assert (finding.kind, finding.table, finding.row) == ("altered", "execution_actions", f"{row[1]} v{row[2]}")
    assert (finding.seq, finding.columns) == (seq, ("fees",))
    with pytest.raises(ValueError, match=f"altered seq {seq}"):
        recheck.recheck(rewritten(packed, cent).read_text("utf-8"))


def test_scenario_42_an_altered_closing_names_its_action(packed: Path) -> None:
    def cent(document: Document) -> None:
        trim(document)["closings"][0][column("closings", "realized_pnl")] = "1.23"

    (finding,) = pack.prove(rewritten(packed, cent)).findings
    assert (finding.kind, finding.table, finding.columns) == ("altered", "execution_actions", ("closings",))


def test_scenario_42_an_altered_fill_is_named(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def dearer(document: Document) -> None:
        document["journal"][0]["values"][column("fills", "price")] = "100.01"

    other = rewritten(packed, dearer)
    first, second, *rest = pack.prove(other).findings
    assert [(finding.kind, finding.table, finding.seq) for finding in (first, second)] == [
        ("altered", "fills", 1),
        ("content", "fills", 1),
    ]
    assert {finding.table for finding in rest} == {"execution_actions"}
    assert main(["verify", "--pack", str(other)]) == 1
    assert capsys.readouterr().out.startswith("live: altered seq 1: fills ")


def test_scenario_42_a_row_taken_out_is_a_missing_seq(packed: Path) -> None:
    finding = pack.prove(rewritten(packed, lambda document: document["journal"].pop(1))).findings[0]
    assert (finding.kind, finding.seq, str(finding)) == ("missing", 3, "missing seq 3: journal or history seq 3")


def test_scenario_42_hashes_rewritten_to_the_end_differ_from_the_anchor(packed: Path) -> None:
    def other_reason(document: Document) -> None:
        document["journal"][0]["values"][column("fills", "reason")] = "sl_breached"
        document["actions"][0]["values"][column("execution_actions", "reason")] = "sl_breached"

    findings = pack.prove(rewritten(packed, other_reason, rehash)).findings
    assert ("relinked", "chain_anchors") in [(finding.kind, finding.table) for finding in findings]
    with pytest.raises(ValueError, match="relinked: anchor of 2026-02-03"):
        recheck.recheck(rewritten(packed, other_reason, rehash).read_text("utf-8"))


def test_an_action_rewritten_with_its_whole_chain_and_anchors_is_not_what_the_journal_says(packed: Path) -> None:
    def better(document: Document) -> None:
        trim(document)["values"][column("execution_actions", "realized_pnl")] = "9999"

    findings = pack.prove(rewritten(packed, better, rehash, lambda document: document["anchors"].clear())).findings
    assert [(finding.kind, finding.columns) for finding in findings] == [("altered", ("realized_pnl",))]


def test_another_state_or_head_than_the_journal_gives_is_found(packed: Path) -> None:
    other = rewritten(packed, lambda document: document.update(state_hash="00" * 32))
    assert [(finding.kind, finding.columns) for finding in pack.prove(other).findings] == [("altered", ("state_hash",))]
    other = rewritten(packed, lambda document: document.update(chain_head="00" * 32))
    assert [(finding.kind, finding.table) for finding in pack.prove(other).findings] == [("relinked", "books")]
    other = rewritten(packed, lambda document: trim(document).update(superseded_at="2026-02-03T15:00:00.000000Z"))
    assert [(finding.kind, finding.columns) for finding in pack.prove(other).findings] == [("altered", ("superseded_at",))]


def test_a_pack_as_known_earlier_is_whole_too(packed: Path, stored: StoredWorld) -> None:
    for minute in (0, 9, 12, 14, 16):
        export.export(stored.db, "live", "pack", packed.parent, Horizon(known_as_of=at(minute)))
        assert pack.prove(packed).findings == ()
        recheck.recheck(packed.read_text("utf-8"))


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("journal"),
        lambda document: document.update(format="fillbook-evidence/0"),
        lambda document: document["columns"]["fills"].reverse(),
        lambda document: document["journal"][0]["values"].pop(),
        lambda document: document["journal"][0].update(row_hash="no hash"),
        lambda document: document["book"].update(lot_method="ANY"),
        lambda document: document["journal"][0].update(table="closings"),
        lambda document: document.update(anchors=None),
        lambda document: document["journal"][0]["values"].__setitem__(column("fills", "content_hash"), None),
        lambda document: document["journal"][0]["values"].__setitem__(column("fills", "seq"), "one"),
    ],
)
def test_what_is_no_pack_is_refused(packed: Path, change: Tamper, capsys: pytest.CaptureFixture[str]) -> None:
    other = rewritten(packed, change)
    with pytest.raises(Rejected, match="pack_invalid"):
        pack.prove(other)
    assert main(["verify", "--pack", str(other)]) == 2
    assert "refused: pack_invalid" in capsys.readouterr().err


def test_a_file_that_is_no_json_or_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"\xff\xfe{")
    (tmp_path / "deep").write_text("[" * 100_000)
    (tmp_path / "list").write_text("[]")
    for name in ("text", "deep", "list", "absent"):
        with pytest.raises(Rejected, match="pack_invalid"):
            pack.prove(tmp_path / name)


def test_a_journal_that_cannot_be_folded_is_said_to_be_so(packed: Path) -> None:
    def never(document: Document) -> None:
        document["journal"][0]["values"][column("fills", "quantity")] = "many"

    finding = pack.prove(rewritten(packed, never)).findings[-1]
    assert finding.columns == ("the journal cannot be folded",)
