-- Reading the broker's trades page by page, and the open ends of their taking in: rows that are read well at last, socket rows
-- of days already settled, executions older than the opening balance. Sources: ibkr.md 5.6, 10, 12, 13; tracker.md 2, 5.

-- ---- pages ----

-- A trade of which nothing counts any more has no last execution; it stands where it was last fetched, not above everything.
drop index ibkr.trades_page_idx, ibkr.trades_account_last_idx, ibkr.trades_symbol_idx;
create index trades_page_idx on ibkr.trades (coalesce(last_executed_at, fetched_at) desc, id desc);
create index trades_account_last_idx on ibkr.trades (account_id, coalesce(last_executed_at, fetched_at) desc, id desc);
create index trades_symbol_idx on ibkr.trades (account_id, symbol, coalesce(last_executed_at, fetched_at) desc, id desc);
create index trade_executions_underlying_idx
    on ibkr.trade_executions (account_id, underlying_symbol) where underlying_symbol is not null;

-- ---- what a statement settles, and where a book begins ----

alter table ibkr.sync_coverage
    add column settles_from date,
    add column settles_to   date,
    add constraint sync_coverage_settles_check check (settles_from <= settles_to);
comment on column ibkr.sync_coverage.settles_from is 'First trade day that a complete statement settles; null: not a statement, or not complete.';
create index sync_coverage_settles_idx on ibkr.sync_coverage (account_id, settles_to) where settles_to is not null;

alter table ibkr.accounts add column begins_at timestamptz;
comment on column ibkr.accounts.begins_at is 'As of when the opening balance was stated: an execution up to then that turns up later is in it already and is not booked.';

-- Lock one account and say which texts are new:
-- {account_id, payloads: [{ib_exec_id, payload_hash (hex), kind, source, transaction_id, observed_at}], events: [event_key]} ->
-- {payloads: [hex], returned: [hex], events: [event_key], unpaid: [ib_exec_id], is_opened, begins_at, has_quarantine}: unknown ones; known ones
-- that a newer text of the same source, kind and transaction had replaced and that are now seen again after it; rows that count
-- and whose commission is not known. Lock first, read in following statements.
create or replace function ibkr.known(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    the_account constant bigint := (document->>'account_id')::bigint;
    unknown     jsonb;
    returned    jsonb;
    events      jsonb;
    book        jsonb;
begin
    perform pg_advisory_xact_lock(hashtextextended('ibkr.account:' || the_account, 0));
    select jsonb_agg(r.payload_hash) filter (where p.payload_hash is null),
           jsonb_agg(r.payload_hash) filter (where p.observed_at < r.observed_at and exists (
               select from ibkr.execution_payloads newer
                where newer.account_id = the_account and newer.ib_exec_id = r.ib_exec_id and newer.source = r.source
                  and newer.kind = r.kind and newer.transaction_id is not distinct from r.transaction_id
                  and newer.observed_at > p.observed_at and newer.observed_at < r.observed_at))
      into unknown, returned
      from jsonb_to_recordset(document->'payloads') as r(
               ib_exec_id text, payload_hash text, kind text, source text, transaction_id bigint, observed_at timestamptz)
      left join ibkr.execution_payloads p
        on p.account_id = the_account and p.ib_exec_id = r.ib_exec_id and p.payload_hash = decode(r.payload_hash, 'hex');
    select jsonb_agg(k.key) into events
      from jsonb_array_elements_text(document->'events') as k(key)
     where not exists (select from ibkr.broker_events e where e.account_id = the_account and e.event_key = k.key);
    select jsonb_build_object('is_opened', a.opened_at is not null, 'begins_at', a.begins_at) into book
      from ibkr.accounts a where a.id = the_account;
    return book || jsonb_build_object(
        'has_quarantine', exists (select from ibkr.quarantine q where q.state = 'open'),
        'payloads', coalesce(unknown, '[]'), 'returned', coalesce(returned, '[]'), 'events', coalesce(events, '[]'),
        'unpaid', coalesce((
            select jsonb_agg(distinct e.ib_exec_id)
              from jsonb_to_recordset(document->'payloads') as r(ib_exec_id text)
              join ibkr.trade_executions e on e.account_id = the_account and e.ib_exec_id = r.ib_exec_id
             where e.is_canonical and e.commission is null), '[]'));
end
$$;

-- Rows in quarantine whose very text has been read well since: {ids: [quarantine id]} -> null.
create function ibkr.resolve_quarantine(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    update ibkr.quarantine q set state = 'resolved'
     where q.state = 'open' and q.id = any (array(select jsonb_array_elements_text(document->'ids')::uuid));
    return null;
end
$$;

-- End a run: {id, source, state, now, counts, error_class, error_detail, client_version, coverage: [{account_id, covered_from,
-- covered_to, earliest_seen_at, latest_seen_at, is_complete, settles_from, settles_to}], anomalies: rows of ibkr.open_anomalies}
-- -> {moved: [account_id]}. Only a complete part moves its cursor, never backwards.
create or replace function ibkr.end_run(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_run  constant uuid := (document->>'id')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    moved    jsonb;
begin
    update ibkr.sync_runs
       set state = document->>'state', finished_at = desk_now, counts = document->'counts',
           error_class = document->>'error_class', error_detail = document->>'error_detail',
           client_version = coalesce(document->>'client_version', '')
     where id = the_run and state = 'running';
    insert into ibkr.sync_coverage (account_id, run_id, covered_from, covered_to, earliest_seen_at, latest_seen_at, is_complete,
                                    settles_from, settles_to)
    select r.account_id, the_run, r.covered_from, r.covered_to, r.earliest_seen_at, r.latest_seen_at, r.is_complete,
           r.settles_from, r.settles_to
      from jsonb_to_recordset(document->'coverage') as r(
               account_id bigint, covered_from timestamptz, covered_to timestamptz, earliest_seen_at timestamptz,
               latest_seen_at timestamptz, is_complete boolean, settles_from date, settles_to date)
     order by r.account_id;
    with written as (
        insert into ibkr.sync_cursors as c (account_id, source, high_water_at, run_id)
        select r.account_id, document->>'source', r.covered_to, the_run
          from jsonb_to_recordset(document->'coverage') as r(account_id bigint, covered_to timestamptz, is_complete boolean)
         where r.is_complete and r.covered_to is not null
         order by r.account_id
        on conflict on constraint sync_cursors_pkey do update
           set high_water_at = excluded.high_water_at, run_id = excluded.run_id
         where c.high_water_at < excluded.high_water_at
        returning account_id)
    select coalesce(jsonb_agg(account_id order by account_id), '[]') into moved from written;
    perform ibkr.open_anomalies(jsonb_build_object('run_id', the_run, 'now', desk_now, 'rows', document->'anomalies'));
    return jsonb_build_object('moved', moved);
end
$$;

-- ---- what others may read ----

create or replace view ibkr.v_trade_executions as
    select e.id as execution_id, e.trade_id, e.account_id, a.code as account_code, a.book_id, e.ib_exec_id, e.id_kind,
           e.exec_id_base, e.exec_revision, e.settled_key, e.combo_key, e.correction_group, e.is_correctable, e.state,
           e.is_canonical, e.supersedes_execution_id, e.voided_by_event_id, e.transaction_id, e.broker_trade_id,
           e.flex_order_id, e.ib_perm_id, e.ib_order_id, e.client_id, e.brokerage_order_id, e.order_ref, e.transaction_type,
           e.exec_role, e.conid, e.symbol, e.sec_type, e.underlying_symbol, e.fx_rate_to_base, e.multiplier, e.expiry, e.strike,
           e.put_call, e.executed_at, e.executed_at_text, e.is_time_ambiguous, e.trade_day, e.report_date, e.side, e.quantity,
           e.signed_quantity, e.price, e.cum_quantity, e.exchange, e.liquidity, e.currency, e.commission,
           e.commission_currency, e.taxes, e.broker_realized_pnl, e.notes, e.open_close, e.sources, e.raw, e.fetched_at,
           e.created_at, e.updated_at, encode(e.payload_hash, 'hex') as payload_hash
      from ibkr.trade_executions e join ibkr.accounts a on a.id = e.account_id;

create view ibkr.v_account_runs as
    select c.account_id, a.book_id, r.id as run_id, r.source, r.kind, r.is_backfill, r.state, r.started_at, r.finished_at,
           r.requested_from, r.requested_to, c.covered_from, c.covered_to, c.earliest_seen_at, c.latest_seen_at, c.is_complete,
           r.counts, r.error_class
      from ibkr.sync_coverage c
      join ibkr.sync_runs r on r.id = c.run_id
      join ibkr.accounts a on a.id = c.account_id;
comment on view ibkr.v_account_runs is 'Finished runs, once for each account they asked for: the window asked, and what was really covered.';

create view ibkr.v_sync_cursors as
    select c.account_id, c.source, c.high_water_at, c.run_id from ibkr.sync_cursors c;
comment on view ibkr.v_sync_cursors is 'Up to where complete runs reach.';

revoke all on function ibkr.resolve_quarantine(jsonb) from public;
grant execute on function ibkr.resolve_quarantine(jsonb) to ibkr_writer;
grant select on ibkr.v_account_runs, ibkr.v_sync_cursors to ibkr_reader, ibkr_writer, desk_operator;
