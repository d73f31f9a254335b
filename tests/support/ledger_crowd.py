"""Large books by one statement each, for plans and timings: positions, lots, fills and actions that fit each other."""

from __future__ import annotations

from datetime import timedelta

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement

# every position: ENTRY 10, TRIM 4, EXIT 6, each begun some time after the one before; some stay open; every hundredth TRIM was
# corrected once. All is bought at 100; each position is sold at a price of its own, up to ``swing`` away from that.
_FACTS = """
create temporary table crowd on commit drop as
select n, step, version, book_id, timestamptz '2026-01-02 15:00Z' + n * :apart::interval + step * interval '10 seconds' as at,
       md5(book_id || ' ' || n || ' ' || step)::uuid as fill_id, md5(book_id || ' ' || n || ' p')::uuid as position_id,
       'T' || (n % 500) as name, row_number() over (order by n, step, version) as seq,
       case step when 0 then 10 when 1 then 4 else 6 end as quantity,
       case step when 0 then 10 when 1 then 6 else 0 end as left_over,
       case step when 0 then 0 else n % (2 * :swing::integer + 1) - :swing::integer end as gain,
       case step when 0 then 0 when 1 then 4 else 10 end as sold
  from (select :book_id::text as book_id) b, generate_series(1, :positions::integer) n, generate_series(0, 2) step,
       generate_series(1, 2) version
 where (step < 2 or case when :spread::boolean then n % (:positions::integer / :open::integer) > 0
                        else n <= :positions::integer - :open::integer end) and (version = 1 or (step = 1 and n % 100 = 0))
"""
_ROWS = (
    """
insert into ledger.fills (book_id, fill_id, version, source, account_key, source_id, source_revision, is_bust, instrument, ticker,
    contract_name, side, quantity, price, multiplier, currency, fees, position_effect, cash_style, executed_at, venue_order,
    session_date, meta, origin, cause, received_at, recorded_at, content_hash, seq, booking_seq, prev_hash, row_hash)
select book_id, fill_id, version, 'ibkr', 'U1', n || ' ' || step, version, false, name, name, name,
       (case step when 0 then 'BUY' else 'SELL' end)::ledger.side, quantity, 100 + gain, 1, 'USD', 0, 'auto', 'full', at, '',
       at::date, '{}', 'live', case version when 1 then 'first' else 'revision' end, at, at + version * interval '1 second', '',
       seq, seq, '', ''
  from crowd
""",
    """
insert into ledger.positions (book_id, position_id, instrument, ticker, contract_name, direction, status, currency, multiplier,
    is_net, cash_style, quantity_open, quantity_opened, quantity_closed, value_open, cost_basis, vwap, entry_vwap,
    entry_notional, exit_notional, value_opened, value_initial, fees_total, realized_pnl, realized_pnl_gross, realized_pnl_base,
    split_factor, opened_at, last_opened_at, last_action_at, closed_at, first_action_id, action_count, open_lot_count,
    updated_seq)
select distinct on (position_id) book_id, position_id, name || ' ' || n, name, name, 'LONG',
       (case left_over when 0 then 'CLOSED' else 'OPEN' end)::ledger.position_status, 'USD', 1, true, 'full', left_over, 10,
       10 - left_over, left_over * 100, left_over * 100, case when left_over > 0 then 100 end, 100, 1000, 0, 1000, 1000,
       0, sold * gain, sold * gain, sold * gain, 1, opened, opened, at, case left_over when 0 then at end, position_id, 3, 1, seq
  from (select *, min(at) over (partition by position_id) as opened from crowd) c order by position_id, step desc, version desc
""",
    """
insert into ledger.execution_actions (book_id, action_id, version, state, fill_id, fill_seq, leg, cause, cause_seq, position_id,
    lot_id, action_type, instrument, ticker, direction, side, executed_at, venue_order, session_date, quantity, price, multiplier,
    currency, value, fees, cash_effect, realized_pnl, realized_pnl_gross, realized_pnl_base, position_quantity_after,
    position_quantity_opened_after, position_vwap_after, position_cost_basis_after, position_realized_pnl_after, is_flat_after,
    reason, meta, recorded_at, superseded_at, seq, booking_seq, prev_hash, row_hash)
select book_id, fill_id, version, 'BOOKED', fill_id, seq, 1, 'first', seq, position_id, position_id,
       (case step when 0 then 'ENTRY' when 1 then 'TRIM' else 'EXIT' end)::ledger.action_type, name, name, 'LONG',
       (case step when 0 then 'BUY' else 'SELL' end)::ledger.side, at, '', at::date, quantity, 100 + gain, 1, 'USD',
       quantity * (100 + gain), 0, case step when 0 then -1000 else quantity * (100 + gain) end,
       case when step > 0 then quantity * gain end, case when step > 0 then quantity * gain end,
       case when step > 0 then quantity * gain end, left_over, 10, case when left_over > 0 then 100 end, left_over * 100,
       sold * gain, left_over = 0,
       case when :swing::integer > 0 and step > 0 then case when gain > 0 then 'tp_hit' else 'stop_hit' end end,
       '{}', at + version * interval '1 second',
       case when version = 1 and step = 1 and n % 100 = 0 then at + interval '2 seconds' end,
       1000000 + seq, seq, '', ''
  from crowd
""",
)


def crowd(
    db: Database,
    book_id: str,
    positions: int,
    *,
    left_open: int = 200,
    spread: bool = False,
    apart: timedelta = timedelta(minutes=1),
    swing: int = 0,
) -> None:
    """Fill an opened book with positions of three actions each, of which the last ``left_open`` are open, and analyze.

    ``spread``: not the last ones are, but as many from all the time. ``apart``: how long after the one before each is opened.
    ``swing``: how far from their entry they are sold, at most; then each sale has a reason, else none has and nothing is won.
    """
    given: dict[str, object] = {"book_id": book_id, "positions": positions, "open": left_open, "apart": apart, "swing": swing}
    given["spread"] = spread
    with db.transaction() as tx:
        tx.execute(statement("set local session_replication_role = replica"))
        tx.execute(statement(_FACTS), **given)
        for text in _ROWS:
            asked = statement(text)
            tx.execute(asked, **{name: given[name] for name in asked.parameters})
        for table in ("fills", "execution_actions", "positions"):
            tx.execute(statement(f"analyze ledger.{table}"))
