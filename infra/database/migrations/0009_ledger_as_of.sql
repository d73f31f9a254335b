-- Room ledger: as of T, known as of K. What was booked at any instant, as it was known at any later one.
--
-- Nothing is stored for it: history keeps every version with when it began and ceased to be known. What is added is a way
-- to it for readers (views of versions, one function), and two indexes over the few rows that a correction replaced. The
-- rows that count are in the indexes of 0003 already, so a booking writes nothing more.

create index execution_actions_replaced_by_position
    on ledger.execution_actions (book_id, position_id, executed_at, venue_order, fill_id, leg)
    where superseded_at is not null and state = 'BOOKED';
create index execution_actions_replaced_by_time on ledger.execution_actions (book_id, executed_at desc, action_id)
    where superseded_at is not null and state = 'BOOKED';

-- An action always has its book and its fill (foreign keys), so outer joins say the same as inner ones; but a reader that
-- asks for no column of theirs does not pay for them.
create or replace view ledger.v_actions as
    select a.book_id, b.tenant_id, a.action_id, a.version, a.fill_id, a.leg, a.position_id, a.lot_id, a.instrument as instrument_id,
           a.ticker, a.direction, a.action_type, a.side, a.executed_at, a.venue_order, a.session_date, a.recorded_at, a.quantity,
           a.price, a.value, a.fees, a.cash_effect, a.multiplier, a.currency, a.realized_pnl, a.realized_pnl_gross,
           a.realized_pnl_base, a.position_quantity_after, a.position_quantity_opened_after, a.position_vwap_after,
           a.position_cost_basis_after, a.position_realized_pnl_after, a.unrealized_pnl_after, a.is_flat_after, a.reason,
           f.origin, a.cause, a.meta, a.seq
      from ledger.execution_actions a
      left join ledger.books b on b.book_id = a.book_id
      left join ledger.fills f on f.book_id = a.book_id and f.seq = a.fill_seq
     where a.superseded_at is null and a.state = 'BOOKED';

create or replace view ledger.v_action_history as
    select a.book_id, b.tenant_id, a.action_id, a.version, a.state, a.recorded_at as known_from, a.superseded_at as known_to,
           a.cause, a.cause_seq, a.fill_id, a.leg, a.position_id, a.lot_id, a.instrument as instrument_id, a.ticker, a.direction,
           a.action_type, a.side, a.executed_at, a.venue_order, a.session_date, a.quantity, a.price, a.value, a.fees,
           a.cash_effect, a.multiplier, a.currency, a.realized_pnl, a.realized_pnl_gross, a.realized_pnl_base,
           a.position_quantity_after, a.position_quantity_opened_after, a.position_vwap_after, a.position_cost_basis_after,
           a.position_realized_pnl_after, a.unrealized_pnl_after, a.is_flat_after, a.reason, f.origin, a.meta, a.seq, a.fill_seq
      from ledger.execution_actions a
      left join ledger.books b on b.book_id = a.book_id
      left join ledger.fills f on f.book_id = a.book_id and f.seq = a.fill_seq;
comment on view ledger.v_action_history is 'Every version of every action, with when it was known: from known_from on, until known_to.';

create view ledger.v_closing_history as
    select c.*, b.tenant_id from ledger.closings c join ledger.books b on b.book_id = c.book_id;
comment on view ledger.v_closing_history is 'The closings of every version of an action, as executed: in the units of their own time.';

create view ledger.v_fill_history as
    select f.book_id, b.tenant_id, f.fill_id, f.version, f.source, f.account_key, f.source_id, f.source_revision, f.is_bust,
           f.instrument, f.ticker, f.contract_name, f.side, f.quantity, f.price, f.multiplier, f.currency, f.fx_rate, f.fees,
           f.fees_currency, f.fees_rate, f.position_effect, f.direction, f.lot_ref, f.lot_picks, f.cash_style, f.executed_at,
           f.venue_order, f.session_date, f.reason, f.meta, f.origin, f.cause, f.replaces_fill_id, f.received_at, f.recorded_at,
           f.content_hash, f.seq, f.booking_seq
      from ledger.fills f left join ledger.books b on b.book_id = f.book_id;
comment on view ledger.v_fill_history is 'The journal of fills, every version, by the names of its table.';

create view ledger.v_split_history as
    select j.book_id, b.tenant_id, j.adjustment_id, j.version, j.kind, j.instrument, j.ratio_num, j.ratio_den, j.effective_at,
           j.is_void, j.entered_by, j.reason, j.recorded_at, j.seq, j.booking_seq,
           lead(j.recorded_at) over (partition by j.book_id, j.adjustment_id order by j.version) as known_to
      from ledger.adjustments j left join ledger.books b on b.book_id = j.book_id;
comment on view ledger.v_split_history is 'The journal of splits, every version, by the names of its table; known from recorded_at on, until known_to.';

create view ledger.v_mark_history as
    select m.book_id, b.tenant_id, m.instrument as instrument_id, m.bucket_at, m.marked_at, m.recorded_at, m.price, m.bid, m.ask,
           m.source
      from ledger.marks m left join ledger.books b on b.book_id = m.book_id;
comment on view ledger.v_mark_history is 'Marks as they were seen: in the units of their own time, not in today''s as v_marks.';

-- What was booked at T as known at K: executed at or before T, recorded at or before K and not superseded by then.
-- Two halves, because a row that was never superseded and one that was are in different indexes. A plain SQL function:
-- it is unfolded into the statement that calls it, whose conditions and order reach both indexes.
create function ledger.actions_as_of(book text, as_of timestamptz, known_as_of timestamptz)
returns setof ledger.v_action_history language sql stable as $$
    select * from ledger.v_action_history
     where book_id = book and state = 'BOOKED' and known_to is null and known_from <= known_as_of and executed_at <= as_of
    union all
    select * from ledger.v_action_history
     where book_id = book and state = 'BOOKED' and known_to > known_as_of and known_from <= known_as_of and executed_at <= as_of
$$;

-- The same for the ENTRY of every position, newest first: each half comes in the order of its index, so that whoever wants the
-- newest positions reads these alone.
create function ledger.entries_as_of(book text, as_of timestamptz, known_as_of timestamptz)
returns setof ledger.v_action_history language sql stable as $$
    (select * from ledger.v_action_history
      where book_id = book and state = 'BOOKED' and known_to is null and known_from <= known_as_of and executed_at <= as_of
        and action_type = 'ENTRY'
      order by executed_at desc, position_id desc)
    union all
    (select * from ledger.v_action_history
      where book_id = book and state = 'BOOKED' and known_to > known_as_of and known_from <= known_as_of and executed_at <= as_of
        and action_type = 'ENTRY'
      order by executed_at desc, position_id desc)
$$;

-- The splits in force at T as known at K.
create function ledger.splits_as_of(book text, as_of timestamptz, known_as_of timestamptz)
returns setof ledger.v_split_history language sql stable as $$
    select * from ledger.v_split_history
     where book_id = book and not is_void and effective_at <= as_of and recorded_at <= known_as_of
       and (known_to is null or known_to > known_as_of)
$$;

-- The fact itself stands under the same name as everywhere else in the journal.
create or replace view ledger.v_parked_fills as
    select k.book_id, b.tenant_id, k.fill_id, k.reason, k.parked_at, k.instrument as instrument_id, f.ticker, f.side, f.quantity,
           f.price, f.currency, f.executed_at, f.position_effect, f.direction, k.instrument
      from ledger.parked_fills k
      join ledger.books b using (book_id)
      join lateral (select * from ledger.fills f where f.book_id = k.book_id and f.fill_id = k.fill_id
                     order by f.source_revision desc, f.is_bust desc, f.version desc limit 1) as f on true;

-- Fractions are written with 10 decimals, so that whoever computes one elsewhere writes the same digits.
create or replace view ledger.v_trades as
    select p.position_id as trade_id, p.book_id, b.tenant_id, p.ticker, p.direction,
           (extract(epoch from p.opened_at) * 1000)::bigint as entry_ts,
           (extract(epoch from p.closed_at) * 1000)::bigint as exit_ts,
           (extract(epoch from trim.executed_at) * 1000)::bigint as trim_ts,
           (extract(epoch from first.created_at) * 1000)::bigint as created_at,
           (extract(epoch from latest.updated_at) * 1000)::bigint as updated_at,
           case when p.status = 'OPEN' then p.vwap else p.entry_vwap end as entry_price,
           p.quantity_open as total_qty,
           p.cost_basis,
           case when p.status = 'OPEN' then case when trim.executed_at is null then 'OPEN' else 'TP_HIT_TRIM' end
                when p.realized_pnl > 0 then 'WIN' when p.realized_pnl < 0 then 'LOSS' when p.realized_pnl = 0 then 'FLAT'
                else 'CLOSED' end as status,
           leaving.price as exit_price, leaving.reason as exit_reason, trim.price as trim_price,
           round(p.quantity_closed / p.quantity_opened, 10) as trimmed_pct,
           p.realized_pnl as pnl,
           round(100 * p.realized_pnl / nullif(opening.basis, 0), 10) as pnl_pct,
           first.meta->>'rank' as rank, first.meta->>'rr' as rr, first.meta->>'script_version' as script_version
      from ledger.positions p
      join ledger.books b using (book_id)
      left join lateral (
          select a.executed_at, a.price from ledger.execution_actions a
           where a.book_id = p.book_id and a.position_id = p.position_id and a.superseded_at is null and a.state = 'BOOKED'
             and a.action_type = 'TRIM'
           order by a.executed_at desc, a.venue_order desc, a.fill_id desc limit 1) as trim on true
      left join lateral (
          select a.price, a.reason from ledger.execution_actions a
           where a.book_id = p.book_id and a.position_id = p.position_id and a.superseded_at is null and a.state = 'BOOKED'
             and a.action_type = 'EXIT'
           order by a.executed_at desc, a.venue_order desc, a.fill_id desc limit 1) as leaving on true
      left join lateral (
          select max(a.recorded_at) as updated_at from ledger.execution_actions a
           where a.book_id = p.book_id and a.position_id = p.position_id and a.superseded_at is null
             and a.state = 'BOOKED') as latest on true
      left join lateral (
          select case when bool_and(l.basis is not null) then sum(l.basis) end as basis from ledger.lots l
           where l.book_id = p.book_id and l.position_id = p.position_id and l.status <> 'VOID') as opening on true
      left join lateral (
          select min(a.recorded_at) as created_at,
                 (array_agg(a.meta) filter (where a.superseded_at is null))[1] as meta
            from ledger.execution_actions a
           where a.book_id = p.book_id and a.action_id = p.first_action_id) as first on true
     where p.status <> 'VOID';

create or replace view ledger.v_trade_events as
    select a.action_id as event_id, a.position_id as trade_id, a.book_id, b.tenant_id,
           (extract(epoch from a.executed_at) * 1000)::bigint as ts, a.action_type as type, a.price, a.quantity as qty, a.value,
           a.realized_pnl as pnl_realized, a.reason, a.meta as meta_json, a.lot_id,
           case when a.action_type in ('TRIM', 'EXIT') then (
                    select jsonb_agg(jsonb_build_object('lot_id', c.lot_id, 'qty', trim_scale(c.quantity)::text,
                                                        'price', trim_scale(c.lot_price)::text,
                                                        'pnl_realized', trim_scale(c.realized_pnl)::text) order by c.ordinal)
                      from ledger.closings c
                     where c.book_id = a.book_id and c.action_id = a.action_id and c.version = a.version)
                else jsonb_build_array(jsonb_build_object('lot_id', a.lot_id, 'qty', trim_scale(a.quantity)::text,
                                                          'price', trim_scale(a.price)::text, 'pnl_realized', null)) end as lots,
           case when a.action_type in ('TRIM', 'EXIT')
                then round(a.quantity / a.position_quantity_opened_after, 10) end as qty_pct_delta,
           case when a.action_type in ('TRIM', 'EXIT')
                then round(1 - a.position_quantity_after / a.position_quantity_opened_after, 10) end as qty_pct_total
      from ledger.execution_actions a join ledger.books b using (book_id)
     where a.superseded_at is null and a.state = 'BOOKED';

do $$
declare
    reader text;
begin
    foreach reader in array array['ledger_reader', 'ledger_writer', 'replay_writer', 'tracker_reader', 'snapshot_reader',
                                  'notify_reader', 'replay_reader'] loop
        execute format('grant select on ledger.v_closing_history, ledger.v_fill_history, ledger.v_split_history, '
                       'ledger.v_mark_history to %I', reader);
        execute format('grant execute on function ledger.actions_as_of(text, timestamptz, timestamptz), '
                       'ledger.entries_as_of(text, timestamptz, timestamptz), ledger.splits_as_of(text, timestamptz, timestamptz) to %I', reader);
    end loop;
end $$;
