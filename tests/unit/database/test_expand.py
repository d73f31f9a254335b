"""The rule of expanding first: what is refused in a migration, what passes, and what a second step has to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.database import expand, migrate
from infra.database.script import OUTSIDE, is_outside_transaction, statements

REFUSED = {
    "alter table ledger.books drop column note;": "old code still counts on it",
    "drop table signal.plans;": "old code still asks for it",
    "drop view signal.v_board;": "old code still asks for it",
    "drop function signal.load(jsonb);": "old code still asks for it",
    "alter table ledger.books rename column note to remark;": "old name",
    "alter table ledger.books rename to ledgers;": "old name",
    "alter table ledger.books alter column note set not null;": "old code may leave it out",
    "alter table ledger.books alter column note type varchar(10);": "old type",
    "alter table ledger.books alter note set data type text, alter column a set data type text;": "old type",
    "alter table ledger.books add constraint one unique (note);": "concurrently first",
    "alter table ledger.books add primary key (note);": "concurrently first",
    "alter table ledger.books add constraint c check (note <> '');": "not valid",
    "alter table ledger.fills add constraint f foreign key (a) references ledger.books;": "not valid",
    "alter table ledger.books add column a int not null;": "does not fill it",
    "alter table ledger.books add column a int default 0, add column b int not null;": "does not fill it",
    "alter table ledger.books add column a uuid default gen_random_uuid();": "rewrites every row",
    "alter table ledger.books add column a int generated always as (b + 1) stored;": "rewrites every row",
    "alter table ledger.books add column a text unique;": "concurrently first",
    "create index notes on ledger.books (note);": "nobody can write",
    "create unique index notes on ledger.books (note);": "nobody can write",
    "create index concurrently notes on ledger.books (note);": "inside a transaction",
    "revoke select on ledger.books from ledger_reader;": "still uses the right",
    "update ledger.books set note = '';": "in pages",
    "delete from ledger.books;": "in pages",
    "truncate ledger.books;": "in pages",
    "lock table ledger.books;": "stops everybody",
    "refresh materialized view utils_statistics.trades_kpi_series_mv;": "nobody can read it",
    "create trigger t before insert on ledger.books for each row execute function f();": "something else",
    "alter table ledger.books enable row level security;": "see or write",
    "alter type ledger.side rename value 'BUY' to 'B';": "old name",
    "alter table signal.receipts detach partition signal.receipts_2026_01;": "still reads",
    "do $$ begin execute format('alter table ledger.%I drop column note', 'books'); end $$;": "old code still counts on it",
}
PASSES = [
    "create table ledger.notes (id int primary key, text text not null, constraint c check (text <> ''));",
    "create table ledger.notes (id int); create index n on ledger.notes (id); alter table ledger.notes force row level security;",
    "alter table ledger.books add column note text;",
    "alter table ledger.books add column a int not null default 0, add column b numeric(12, 2) not null default 0;",
    "alter table ledger.books add constraint c check (note <> '') not valid;",
    "alter table ledger.books validate constraint c;",
    "alter table ledger.books add constraint one unique using index notes;",
    "alter table ledger.books alter column note drop not null;",
    "alter type ledger.side add value 'HOLD';",
    "create or replace view signal.v_board as select 1 as a;",
    "create or replace function f() returns trigger language plpgsql as $$ begin delete from a; drop table b; end $$;",
    "create policy p on ledger.books for select using (true);",
    "grant select on ledger.books to ledger_reader; revoke all on function f() from public;",
    "insert into metrics.kpi_catalog values ('drop table x; rename it');",
    "comment on table ledger.books is 'drop column';  -- drop table y;",
    f"{OUTSIDE}\ndrop index concurrently if exists ledger.notes; create index concurrently notes on ledger.books (note);",
]


@pytest.mark.parametrize("text", REFUSED)
def test_a_step_that_old_code_or_traffic_would_not_survive_is_refused_by_name(text: str) -> None:
    found = list(expand.contracting(text))
    assert any(REFUSED[text] in problem for problem in found), found


@pytest.mark.parametrize("text", PASSES)
def test_what_only_adds_passes(text: str) -> None:
    assert list(expand.contracting(text)) == []


def test_a_second_step_says_of_which_migration_and_why() -> None:
    step = "alter table ledger.books drop column note;"
    reason = "nothing has read it since trade_tracker was deployed on 2026-12-03"
    known = ["0001", "0002", "0040"]
    assert list(expand.contracting(f"-- second step of 0002: {reason}\n{step}", number="0040", known=known)) == []
    assert (
        list(
            expand.contracting(f"-- It goes.\n-- second step of 0002: nothing reads it,\n-- says the log\n{step}", number="0040")
        )
        == []
    )
    for mark in (f"second step of 0040: {reason}", f"second step of 0039: {reason}"):
        (problem,) = expand.contracting(f"-- {mark}\n{step}", number="0040", known=known)
        assert "there is no earlier migration" in problem
    for mark in ("second step of 0002: done", "second step: nobody reads it any more at all", "it is no longer needed"):
        assert len(list(expand.contracting(f"-- {mark}\n{step}", number="0040", known=known))) == 1
    both = f"-- second step of 0002: {reason}\n{step}\n{step}"
    assert [problem.split(":")[0] for problem in expand.contracting(both, number="0040", known=known)] == ["3"]


def test_a_column_is_demanded_only_after_a_check_of_an_earlier_migration_was_validated() -> None:
    step = "alter table ledger.books alter column note set not null;"
    added = "alter table ledger.books add constraint given check (note is not null) not valid;"
    validated = "alter table ledger.books validate constraint given;"
    assert list(expand.contracting(step, before=added + validated)) == []
    assert len(list(expand.contracting(step, before=added))) == 1
    assert len(list(expand.contracting(step, before=added.replace("note", "other") + validated))) == 1


def test_a_file_outside_a_transaction_makes_indexes_alone_and_can_be_run_again() -> None:
    head = "-- outside a transaction\n"
    (problem,) = expand.contracting(f"{head}create index concurrently notes on ledger.books (note);")
    assert "a broken attempt" in problem
    (problem,) = expand.contracting(f"{head}alter table ledger.books add column note text;")
    assert "only indexes" in problem
    assert is_outside_transaction(head)
    assert not is_outside_transaction("-- An index.\n" + head)


def test_every_migration_of_the_project_expands_first() -> None:
    assert expand.problems(migrate.MIGRATIONS) == []


def test_what_is_excused_for_being_older_is_older_and_needs_it() -> None:
    before, needless = "", []
    for path in sorted(migrate.MIGRATIONS.glob("*.sql")):
        text = path.read_text("utf-8")
        if path.name[:4] in expand.GRANDFATHERED and not list(expand.contracting(text, before=before)):
            needless.append(path.name)
        before += text.lower()
    assert needless == []
    assert max(expand.GRANDFATHERED) < "0037"
    assert all(len(reason) > 20 for reason in expand.GRANDFATHERED.values())


def test_a_file_is_cut_where_postgres_cuts_it() -> None:
    text = """-- first
create table a (b text default ';');  -- not; here
do $do$ begin perform 'x;'; end $do$;

-- why
-- it is so
select 'it''s; $$', "odd;name", $$ ; -- $$ , 1 - 2
"""
    found = list(statements(text))
    assert [(one.line, one.remarks) for one in found] == [(2, "first"), (3, "not; here"), (7, "why it is so")]
    assert found[0].words == "create table a (b text default '')"
    assert found[2].text.endswith("1 - 2")
    with pytest.raises(ValueError, match="is not read here"):
        list(statements("select 1; /* no */"))
    with pytest.raises(ValueError, match="is not read here"):
        list(statements("select 'never closed"))


def test_the_verb_names_file_line_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "0099_loss.sql").write_text("-- Tidy.\n\ndrop table ledger.fills;\n")
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path)
    assert migrate.run(["--check"]) == 1
    assert capsys.readouterr().out == "0099_loss.sql:3: drop table ledger.fills: old code still asks for it\n"
