-- The ground every room stands on: its schema, its two group roles, and who may do nothing.
--
-- Group roles are cluster-wide and never log in; each function's login role joins the groups that the manifest names.
-- Nothing is open by default: no room's migration needs to take anything away from PUBLIC, each has to give
-- (also EXECUTE on its functions).

revoke all on schema public from public;
alter default privileges revoke execute on routines from public;
alter default privileges revoke usage on types from public;

-- Several databases of one cluster may be migrated at once (tests), so a role that appears meanwhile is no error.
do $$
declare
    wanted text;
begin
    foreach wanted in array array[
        'outbox_reader', 'outbox_writer',
        'ledger_reader', 'ledger_writer',
        'signal_reader', 'signal_writer',
        'ibkr_reader', 'ibkr_writer',
        'mt5_reader', 'mt5_writer',
        'snapshot_reader', 'snapshot_writer',
        'replay_reader', 'replay_writer',
        'notify_reader', 'notify_writer',
        'tracker_reader', 'tracker_writer',
        'replay_catch_up',
        'ledger_maintenance',
        'desk_operator'
    ] loop
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
                execute format('create role %I nologin', wanted);
            end if;
        exception when duplicate_object or unique_violation then
            null;
        end;
    end loop;
end
$$;

create schema if not exists ops;
create schema outbox;
create schema ledger;
create schema signal;
create schema notify;
create schema tracker;

comment on schema ops is 'What no room owns: migration version, schedule slots.';
comment on schema outbox is 'Events written with the data that caused them; inbox and quarantine of consumers.';
comment on schema ledger is 'Books, positions, lots, execution actions, closings: the only place of realized P&L.';
comment on schema signal is 'Receipts, ticker state, lanes, plans: from webhook to intent.';
comment on schema notify is 'Discord: messages, deliveries, reconciliation.';
comment on schema tracker is 'Notes and tags of users; everything else on the page is read through views.';

grant usage on schema outbox to outbox_reader, outbox_writer;
grant usage on schema ledger to ledger_reader, ledger_writer;
grant usage on schema signal to signal_reader, signal_writer;
grant usage on schema notify to notify_reader, notify_writer;
grant usage on schema tracker to tracker_reader, tracker_writer;

-- Schedule slots: at-least-once schedulers become once. Whoever claims (job, slot) first runs it; a finished slot is a
-- duplicate for everybody after, a slot whose runner died can be claimed again when its lease is over. Leases run on real
-- time, because desk time may run hundreds of times faster.
create table ops.slots (
    job text not null,
    slot timestamptz not null,
    lease_until timestamptz not null,
    finished_at timestamptz,
    constraint slots_pkey primary key (job, slot),
    constraint slots_job_check check (job ~ '^[a-z][a-z0-9_-]{0,63}$')
);
comment on table ops.slots is 'One row per run of a schedule that has no run table of its own; kept 40 days.';
comment on column ops.slots.slot is 'The instant the schedule was due, in desk time; taken from the scheduler''s header.';
comment on column ops.slots.lease_until is 'Real time until which an unfinished run counts as under way.';
comment on column ops.slots.finished_at is 'When the run ended well, in real time; null while it runs or after it failed.';

create function ops.claim_slot(document jsonb) returns jsonb
language plpgsql as $$
declare
    wanted_job text := document->>'job';
    wanted_slot timestamptz := (document->>'slot')::timestamptz;
    lease interval := make_interval(secs => coalesce((document->>'lease_seconds')::numeric, 900)::double precision);
    done_at timestamptz;
begin
    delete from ops.slots where job = wanted_job and slot < wanted_slot - interval '40 days';
    insert into ops.slots as kept (job, slot, lease_until)
    values (wanted_job, wanted_slot, clock_timestamp() + lease)
    on conflict on constraint slots_pkey do update set lease_until = excluded.lease_until
    where kept.finished_at is null and kept.lease_until <= clock_timestamp();
    if found then
        return jsonb_build_object('state', 'claimed');
    end if;
    select finished_at into done_at from ops.slots where job = wanted_job and slot = wanted_slot;
    return jsonb_build_object('state', case when done_at is null then 'busy' else 'finished' end);
end
$$;
comment on function ops.claim_slot(jsonb) is
    '{job, slot, lease_seconds?} -> {state: claimed | busy | finished}; slots of the job older than 40 days go.';

create function ops.finish_slot(document jsonb) returns jsonb
language plpgsql as $$
begin
    update ops.slots
    set finished_at = case when (document->>'is_done')::boolean then clock_timestamp() end, lease_until = clock_timestamp()
    where job = document->>'job' and slot = (document->>'slot')::timestamptz;
    return jsonb_build_object('is_found', found);
end
$$;
comment on function ops.finish_slot(jsonb) is
    '{job, slot, is_done} -> {is_found}: ends a run; not done means that it may be claimed again at once.';

do $$
declare
    writer text;
begin
    foreach writer in array array[
        'outbox_writer', 'ledger_writer', 'signal_writer', 'ibkr_writer', 'mt5_writer', 'snapshot_writer', 'replay_writer',
        'notify_writer', 'tracker_writer'
    ] loop
        execute format('grant usage on schema ops to %I', writer);
        execute format('grant select, insert, update, delete on ops.slots to %I', writer);
        execute format('grant execute on function ops.claim_slot(jsonb), ops.finish_slot(jsonb) to %I', writer);
    end loop;
end
$$;
