"""What the bench of accounts counts and makes: statements in a server's log, histories of exactly as many deals."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from tests.bench.mt5_broker import DAYS, history
from tests.bench.mt5_costs import statements
from tests.bench.mt5_histories import operations

NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)
LOG = """@@LOG:  statement: begin; select mt5.load_account('{"a": "x; it''s ledger.y"}'::jsonb)
@@LOG:  statement: select ledger.load('{}'::jsonb); select ledger.mark('{}'::jsonb); commit
@@LOG:  execute <unnamed>: -- how many; of outbox.events
    select count(*)
      from mt5.trading_accounts where id = $1
@@DETAIL:  parameters: $1 = 'select mt5.none()'
@@LOG:  statement: set local fillbook.tenant_id = 'a'; rollback
@@LOG:  checkpoint starting: time
"""


def test_statements_are_counted_by_room_whatever_their_texts_hold() -> None:
    assert statements(LOG) == {"mt5": 2, "ledger": 2}


def test_a_long_history_has_exactly_as_many_deals_and_ends_now() -> None:
    made = operations(2_350, NOW)
    assert [len(made), made[0]["kind"], made[-1]["kind"]] == [2_350, "deposit", "open"]
    assert all(one["at"] < other["at"] for one, other in pairwise(made))
    assert 0 < (NOW - made[-1]["at"]).total_seconds() < 120


def test_an_accounts_past_is_the_same_for_the_same_number_and_nothing_of_it_is_recent() -> None:
    assert history(7, NOW) == history(7, NOW) != history(8, NOW)
    assert [one["kind"] for one in history(7, NOW)] == ["deposit", "open", "close", "open", "close", "open"]
    assert all(2 < (NOW - one["at"]).days <= DAYS for one in history(7, NOW))
