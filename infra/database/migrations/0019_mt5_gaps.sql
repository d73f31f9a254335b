-- What room mt5 lacked: an account whose work broke beyond its own edge, slots that are handed to the job, days that a venue is
-- closed by its server's clock, and what a reader is told of runs, trades and of whether anything changed.
--
-- A slot of the job is one row of sync_runs, whose shards are the tasks of an execution: each task has a run of its own (so that a
-- task that comes again takes its own over), and ends both in one transaction. Sources: mt5.md 2, 4, 7, 11; tracker.md 2, 5.

-- ---- an account whose work broke ----

-- Note that our own code broke on an account, with nothing read but its fence: {account_id, lease_token, run_id, now, next_due_at,
-- outcome} -> {failures} in a row by now; null: another worker holds it.
create function mt5.note_crash(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    the_account constant uuid := (document->>'account_id')::uuid;
    the_run     constant uuid := (document->>'run_id')::uuid;
    desk_now    constant timestamptz := (document->>'now')::timestamptz;
    counted     integer;
begin
    perform from mt5.trading_accounts a where a.id = the_account for no key update;
    perform from mt5.account_sync_state s
     where s.account_id = the_account and s.lease_token = (document->>'lease_token')::bigint and s.lease_run_id is not null
       for update;
    if not found then
        return null;
    end if;
    update mt5.trading_accounts a
       set last_sync_at = desk_now, sync_failure_count = a.sync_failure_count + 1,
           last_error_code = document->'outcome'->>'error_code', last_connection_error = document->'outcome'->>'error_message',
           connection_status = 'error', updated_at = desk_now
     where a.id = the_account
    returning a.sync_failure_count into counted;
    update mt5.account_sync_state s
       set next_due_at = (document->>'next_due_at')::timestamptz, state_digest = null, last_run_id = the_run, lease_run_id = null,
           lease_until = null
     where s.account_id = the_account;
    perform mt5.log_outcomes(the_run, desk_now, jsonb_build_array(document->'outcome'), array[the_account]);
    return jsonb_build_object('failures', counted);
end
$$;

-- ---- a target that changes what counts as missing ----

-- An account follows what an operator changed of it, by function or by hand: inactive ones are not scheduled, active ones are due
-- at once; another target takes the reading of the past up again, and the next answer is taken in whatever it says.
create or replace function mt5.follow_account() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    was_tenant constant text := coalesce(current_setting('fillbook.tenant_id', true), '');
    is_moved   constant boolean := new.backfill_target is distinct from old.backfill_target;
begin
    perform set_config('fillbook.tenant_id', new.tenant_id, true);
    update mt5.account_sync_state s
       set next_due_at = case when new.is_active = old.is_active then s.next_due_at
                              when new.is_active then '-infinity' else 'infinity' end,
           backfill_state = case when is_moved then 'pending' else s.backfill_state end,
           state_digest = case when is_moved then null else s.state_digest end
     where s.account_id = new.id;
    perform set_config('fillbook.tenant_id', was_tenant, true);
    return null;
end
$$;

-- ---- slots of the job ----

create index sync_runs_alive_ix on mt5.sync_runs (heartbeat_at) where status = 'running';

-- A slot was handed to so many tasks of the job: {run_id, tasks, now} -> null. Tasks may have ended before this is known. Slots of
-- the job that nobody ended, and no task was at for longer than a task and its repetition may last, are over too.
create function mt5.hand_to_job(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    desk_now constant timestamptz := (document->>'now')::timestamptz;
begin
    update mt5.sync_runs r
       set mode = 'job', shards_total = (document->>'tasks')::integer, heartbeat_at = clock_timestamp()
     where r.run_id = (document->>'run_id')::uuid;
    update mt5.sync_runs r
       set status = 'finished', finished_at = desk_now, duration_ms = extract(epoch from desk_now - r.started_at) * 1000
     where r.run_id = (document->>'run_id')::uuid and r.status = 'running' and r.shards_done >= r.shards_total;
    update mt5.sync_runs r
       set status = 'failed', error_code = 'task_lost', finished_at = desk_now,
           duration_ms = greatest(extract(epoch from desk_now - r.started_at), 0) * 1000
     where r.status = 'running' and r.mode = 'job' and r.heartbeat_at < clock_timestamp() - interval '7500 seconds';
    return null;
end
$$;

-- End a task of the job, and with the last one the slot it is of (null: started by hand): {run_id, slot_run_id, status, totals,
-- now} -> whether it was this call that ended it.
create function mt5.end_task(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_slot constant uuid := (document->>'slot_run_id')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
begin
    if mt5.close_run(document) is null then
        return to_jsonb(false);
    end if;
    perform from mt5.sync_runs r where r.run_id = the_slot for update;
    perform mt5.add_totals(the_slot, document->'totals');
    update mt5.sync_runs r set shards_done = r.shards_done + 1 where r.run_id = the_slot;
    update mt5.sync_runs r
       set status = 'finished', finished_at = desk_now, duration_ms = extract(epoch from desk_now - r.started_at) * 1000
     where r.run_id = the_slot and r.status = 'running' and r.shards_total > 0 and r.shards_done >= r.shards_total;
    return to_jsonb(true);
end
$$;

-- ---- days without a session ----

-- Whether no session of the FX week (Sunday to Friday 17:00 New York) reaches into a day of a server's clock. Definer: whoever
-- reads covered days may not read the servers of others.
create function mt5.is_closed_day(the_server text, the_day date) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select w.begins >= date_trunc('week', w.begins) + interval '4 days 17 hours'
           and w.ends <= date_trunc('week', w.begins) + interval '6 days 17 hours'
      from (select ((the_day::timestamp - make_interval(mins => s.shift_minutes)) at time zone s.zone_name)
                       at time zone 'America/New_York' as begins,
                   (((the_day + 1)::timestamp - make_interval(mins => s.shift_minutes)) at time zone s.zone_name)
                       at time zone 'America/New_York' as ends
              from mt5.servers s where s.server = the_server) w
$$;

create or replace view mt5.coverage_days with (security_invoker = true) as
    with span as (
        select a.id as account_id, a.tenant_id, s.history_floor_msc as floor_msc, s.history_until_msc as until_msc, s.cash_state,
               s.opening_proven,
               least((to_timestamp(s.history_floor_msc / 1000.0) at time zone 'UTC')::date,
                     case when s.backfill_state = 'done' and s.history_floor_msc is not null then null
                          else greatest(coalesce(a.backfill_target, (a.created_at at time zone 'UTC')::date - 30),
                                        '2015-01-01') end) as first_day,
               coalesce((to_timestamp(s.history_until_msc / 1000.0 + greatest(0, extract(
                            epoch from mt5.desk_now() - coalesce(a.last_successful_sync_at, mt5.desk_now()))))
                            at time zone 'UTC')::date,
                        (mt5.desk_now() at time zone 'UTC')::date) as last_day,
               a.server
          from mt5.trading_accounts a join mt5.account_sync_state s on s.account_id = a.id),
    days as (
        select n.*, g.day::date as day, (extract(epoch from g.day) * 1000)::bigint as from_msc,
               (extract(epoch from g.day) * 1000)::bigint + 86400000 as to_msc
          from span n
         cross join lateral generate_series(n.first_day::timestamp, n.last_day::timestamp, interval '1 day') as g(day)),
    judged as (
        select d.*, p.cause,
               case when p.cause is not null then 'gap'
                    when extract(isodow from d.day) >= 6 and mt5.is_closed_day(d.server, d.day)
                         and not exists (select from mt5.deals t where t.account_id = d.account_id
                                            and t.time_server_msc >= d.from_msc and t.time_server_msc < d.to_msc) then 'closed'
                    when d.floor_msc is null or d.until_msc <= d.from_msc
                         or not (d.floor_msc <= d.from_msc or (d.opening_proven and d.floor_msc < d.to_msc)) then 'unknown'
                    when d.to_msc > d.until_msc - 172800000 or d.cash_state <> 'ok' then 'provisional'
                    else 'proven' end as state
          from days d
          left join lateral (select g.cause from mt5.history_gaps g
                              where g.account_id = d.account_id and g.closed_at is null
                                and g.from_msc < d.to_msc and g.to_msc >= d.from_msc
                              order by g.opened_at limit 1) p on true)
    select j.account_id, j.tenant_id, j.day, j.state, j.cause,
           case when j.state in ('gap', 'provisional', 'proven') then c.run_id end as run_id,
           case when j.state in ('gap', 'provisional', 'proven') then c.checked_at end as checked_at
      from judged j
      left join lateral (select k.run_id, k.checked_at from mt5.cash_checks k
                          where k.account_id = j.account_id and (k.result = 'gap') = (j.state = 'gap')
                            and j.cause is distinct from 'pages' and j.cause is distinct from 'floor'
                          order by k.checked_at desc limit 1) c on true;
comment on view mt5.coverage_days is 'Per account and day of the server clock: proven, provisional (younger than 48 h or not checked), gap, unknown, closed (no session of the FX week, and no deals); and the last check that says so.';

-- ---- what readers are told ----

create or replace view mt5.v_account_runs with (security_invoker = true) as
    select l.account_id, l.tenant_id, l.id, l.run_id, l.sync_type, l.status, l.started_at, l.completed_at, l.trades_synced,
           l.attempts, l.error_code, l.error_message, l.duration_ms, l.steps
      from mt5.sync_logs l;

create or replace view mt5.v_account_states with (security_invoker = true) as
    select a.id as account_id, a.tenant_id, a.book_id, a.is_active, a.connection_status, a.sync_failure_count,
           a.last_successful_sync_at, case when isfinite(s.next_due_at) then s.next_due_at end as next_due_at, a.updated_at
      from mt5.trading_accounts a join mt5.account_sync_state s on s.account_id = a.id;

create view mt5.v_position_deals with (security_invoker = true) as
    select d.account_id, d.tenant_id, a.currency_digits, d.deal_ticket, d.revision, d.position_id, d.order_id, d.time_server_msc,
           d.deal_type, d.entry, d.reason, d.symbol, d.volume, d.price, d.profit, d.commission, d.swap, d.fee, d.magic, d.comment,
           d.external_id, d.withdrawn, d.recorded_at
      from mt5.deals d join mt5.trading_accounts a on a.id = d.account_id
     where d.position_id > 0
       and not exists (select from mt5.deals n where n.account_id = d.account_id and n.deal_ticket = d.deal_ticket
                                                 and n.revision > d.revision);
comment on view mt5.v_position_deals is 'Deals of positions as they stand: of each the highest revision.';

grant select on mt5.v_position_deals to mt5_reader, mt5_writer, desk_operator;
grant execute on function mt5.note_crash(jsonb), mt5.hand_to_job(jsonb), mt5.end_task(jsonb) to mt5_writer;
grant execute on function mt5.is_closed_day(text, date) to mt5_reader, mt5_writer, desk_operator;
