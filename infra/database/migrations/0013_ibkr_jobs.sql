-- Jobs of room ibkr: enqueued once per effective payload, claimed under a lease; and who decided about a refused row, and why.
--
-- An alarm about a job may have no run (a locked token is noticed before anything is asked), so an anomaly may have none
-- either. Sources: ibkr.md 11, 12.

alter table ibkr.anomalies alter column run_id drop not null;
comment on column ibkr.anomalies.run_id is 'The run that opened it; null: a job that failed before a run, or a message.';

alter table ibkr.quarantine add column decision text;
comment on column ibkr.quarantine.decision is 'Why a person accepted the row.';
alter table ibkr.quarantine drop constraint quarantine_decided_check;
alter table ibkr.quarantine add constraint quarantine_decided_check
    check ((decided_by is null) = (decided_at is null) and (decision is null or decided_by is not null));

create or replace view ibkr.v_quarantine as
    select id as quarantine_id, source, account_code, reason, detail, raw, state, seen_count, first_seen_at, last_seen_at, run_id,
           decided_by, decided_at, decision
      from ibkr.quarantine;

create view ibkr.v_jobs as
    select id as job_id, job_type, state, attempts, deferrals, not_before, last_error, requested_by, created_at, updated_at
      from ibkr.jobs;
comment on view ibkr.v_jobs is 'The queue and what became of it; without payloads.';
grant select on ibkr.v_jobs to ibkr_reader, ibkr_writer, desk_operator;

create index sync_runs_job_idx on ibkr.sync_runs (job_id) where job_id is not null;
create index jobs_lease_idx on ibkr.jobs (lease_expires_at) where state = 'running';

-- Enqueue a job, or find the one that waits already: {id, job_type, dedupe_key, payload, not_before, requested_by, now} ->
-- {id, is_new, state, not_before}. A waiting job may be claimed between the two statements; then the insert finds room.
create function ibkr.enqueue_job(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    found jsonb;
begin
    loop
        insert into ibkr.jobs (id, job_type, dedupe_key, payload, state, not_before, requested_by, created_at, updated_at)
        values ((document->>'id')::uuid, document->>'job_type', document->>'dedupe_key', document->'payload', 'queued',
                (document->>'not_before')::timestamptz, document->>'requested_by', (document->>'now')::timestamptz,
                (document->>'now')::timestamptz)
        on conflict (job_type, dedupe_key) where state = 'queued' do nothing
        returning jsonb_build_object('id', id, 'is_new', true, 'state', state, 'not_before', not_before) into found;
        if found is null then
            select jsonb_build_object('id', j.id, 'is_new', false, 'state', j.state, 'not_before', j.not_before) into found
              from ibkr.jobs j
             where j.job_type = document->>'job_type' and j.dedupe_key = document->>'dedupe_key' and j.state = 'queued';
        end if;
        exit when found is not null;
    end loop;
    return found;
end
$$;

-- Claim the job that is due longest, or the one named: {id, token, now, lease_seconds} -> {id, job_type, payload, attempts,
-- deferrals, requested_by, lease_token, created_at} or null. A job waits while one of its key runs; nobody waits for a lock.
-- A lease is real time, whatever the desk clock says.
create function ibkr.claim_job(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    claimed  jsonb;
begin
    update ibkr.jobs j
       set state = 'running', attempts = j.attempts + 1, lease_token = (document->>'token')::uuid,
           lease_expires_at = clock_timestamp() + make_interval(secs => (document->>'lease_seconds')::integer),
           updated_at = desk_now
     where j.id = (select q.id from ibkr.jobs q
                    where q.state = 'queued' and q.not_before <= desk_now
                      and (document->>'id' is null or q.id = (document->>'id')::uuid)
                      and not exists (select from ibkr.jobs r
                                       where r.job_type = q.job_type and r.dedupe_key = q.dedupe_key and r.state = 'running')
                    order by q.not_before, q.id
                    limit 1
                      for update skip locked)
    returning jsonb_build_object('id', j.id, 'job_type', j.job_type, 'payload', j.payload, 'attempts', j.attempts,
                                 'deferrals', j.deferrals, 'requested_by', j.requested_by, 'lease_token', j.lease_token,
                                 'created_at', j.created_at)
      into claimed;
    return claimed;
end
$$;

-- Leave a running job whose lease is still ours: {id, token, state, error, not_before, is_deferral, now} -> {held, merged_into}.
-- state 'queued' puts it back in line; when another of its key waits there already, that one carries its attempts on.
create function ibkr.leave_job(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    job      ibkr.jobs;
    heir     uuid;
begin
    select * into job from ibkr.jobs
     where id = (document->>'id')::uuid and state = 'running' and lease_token = (document->>'token')::uuid
       for update;
    if not found then
        return jsonb_build_object('held', false, 'merged_into', null);
    end if;
    if document->>'state' = 'queued' then
        update ibkr.jobs j
           set attempts = greatest(j.attempts, job.attempts), not_before = greatest(j.not_before, (document->>'not_before')::timestamptz),
               last_error = document->>'error', updated_at = desk_now
         where j.job_type = job.job_type and j.dedupe_key = job.dedupe_key and j.state = 'queued'
        returning j.id into heir;
    end if;
    update ibkr.jobs
       set state = case when heir is null then document->>'state' else 'failed' end,
           attempts = attempts - (document->>'is_deferral')::boolean::integer,
           deferrals = deferrals + (document->>'is_deferral')::boolean::integer,
           not_before = coalesce((document->>'not_before')::timestamptz, not_before),
           last_error = case when heir is null then document->>'error' else 'replaced' end,
           lease_token = null, lease_expires_at = null, updated_at = desk_now
     where id = job.id;
    return jsonb_build_object('held', true, 'merged_into', heir);
end
$$;

-- Call off the runs that a job left behind: {job_id, now} -> null.
create function ibkr.abandon_runs(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    update ibkr.sync_runs
       set state = 'abandoned', finished_at = (document->>'now')::timestamptz, error_class = 'lease_expired'
     where job_id = (document->>'job_id')::uuid and state = 'running';
    return null;
end
$$;

-- Store what the broker holds of one account: {account_id, run_id, as_of, rows: [{conid, symbol, sec_type, currency, quantity,
-- average_cost, raw}]} -> null.
create function ibkr.store_positions(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    insert into ibkr.broker_positions (account_id, run_id, conid, symbol, sec_type, currency, quantity, average_cost, as_of, raw)
    select (document->>'account_id')::bigint, (document->>'run_id')::uuid, r.conid, r.symbol, r.sec_type, r.currency, r.quantity,
           r.average_cost, (document->>'as_of')::timestamptz, r.raw
      from jsonb_to_recordset(document->'rows') as r(
               conid bigint, symbol text, sec_type text, currency text, quantity numeric, average_cost numeric, raw jsonb)
     order by r.conid
    on conflict on constraint broker_positions_pkey do nothing;
    return null;
end
$$;

-- Store how large orders are, told at a moment: {account_id, now, received_at, rows: [{ib_perm_id, order_quantity}]} ->
-- [ib_perm_id] of those that changed. An older message never overwrites a newer one.
create function ibkr.store_order_sizes(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    changed jsonb;
begin
    with written as (
        insert into ibkr.order_sizes as o (account_id, ib_perm_id, order_quantity, received_at)
        select (document->>'account_id')::bigint, r.ib_perm_id, r.order_quantity, (document->>'received_at')::timestamptz
          from jsonb_to_recordset(document->'rows') as r(ib_perm_id bigint, order_quantity numeric)
         order by r.ib_perm_id
        on conflict on constraint order_sizes_pkey do update
           set order_quantity = excluded.order_quantity, received_at = excluded.received_at
         where o.received_at < excluded.received_at
        returning o.ib_perm_id)
    select coalesce(jsonb_agg(ib_perm_id order by ib_perm_id), '[]') into changed from written;
    return changed;
end
$$;

revoke all on function ibkr.enqueue_job(jsonb), ibkr.claim_job(jsonb), ibkr.leave_job(jsonb), ibkr.abandon_runs(jsonb),
                       ibkr.store_positions(jsonb), ibkr.store_order_sizes(jsonb) from public;
grant execute on function ibkr.enqueue_job(jsonb), ibkr.claim_job(jsonb), ibkr.leave_job(jsonb), ibkr.abandon_runs(jsonb),
                          ibkr.store_positions(jsonb), ibkr.store_order_sizes(jsonb) to ibkr_writer;
