-- The whole truth: what a migrated database holds, room by room. Run it as the owner, `set role fillbook_owner`.
-- Written by `python -m infra.database.migrate --write-schema` from migrations/*.sql; edit those.

-- ==== 0001_foundation.sql ============================================================================================

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

-- ==== 0002_outbox.sql ================================================================================================

-- Room outbox: events written with the data that caused them, published afterwards, received once.
--
-- Why functions: a booking must stay at two round trips, and a relay's inline turn at two more, so reading and writing are
-- one document each. The functions hold no rules; what they enforce are the leases, because only the database can.
-- Two clocks meet here. Desk time (passed in as "now") decides what is due and how old something is; real time
-- (clock_timestamp()) decides leases only, since a simulated desk clock may run hundreds of times faster than a network call.

create table outbox.partitions (
    partition_no smallint constraint partitions_pk primary key,
    lease_token  uuid,
    lease_until  timestamptz not null default timestamptz '1970-01-01 00:00:00+00',
    constraint partitions_range check (partition_no between 0 and 63)
);
comment on table outbox.partitions is 'What a relay leases: a whole partition, so that the order per aggregate survives many relays.';
insert into outbox.partitions (partition_no) select generate_series(0, 63);

create table outbox.events (
    id                bigint generated always as identity constraint events_pk primary key,
    event_id          uuid        not null constraint events_event_id_key unique,
    event_type        text        not null,
    schema_version    integer     not null,
    book_id           text,
    aggregate_key     text        not null,
    aggregate_version bigint      not null,
    partition_no      smallint    not null constraint events_partition_fk references outbox.partitions,
    topic             text        not null,
    payload           text        not null,
    traceparent       text,
    occurred_at       timestamptz not null,
    recorded_at       timestamptz not null,
    available_at      timestamptz not null,
    attempts          integer     not null default 0,
    published_at      timestamptz,
    message_id        text,
    parked_at         timestamptz,
    last_error        text,
    constraint events_no_replay check (book_id is null or book_id not like 'replay:%'),
    constraint events_payload_size check (octet_length(payload) <= 65536),
    -- The writer computes the partition; a wrong one would silently break the order of its aggregate.
    constraint events_partition_of_key check (partition_no = get_byte(sha256(convert_to(aggregate_key, 'UTF8')), 0) % 64),
    constraint events_published_or_parked check (published_at is null or parked_at is null)
);
comment on table outbox.events is 'One row per event, committed with its cause; the payload is the envelope exactly as it goes out.';
create index events_due on outbox.events (partition_no, id) where published_at is null and parked_at is null;
create index events_waiting on outbox.events (partition_no, aggregate_key)
    where published_at is null and parked_at is null and attempts > 0;
create index events_parked on outbox.events (parked_at) where parked_at is not null;
create index events_published on outbox.events (published_at) where published_at is not null;

create table outbox.inbox (
    consumer    text        not null,
    event_id    uuid        not null,
    outcome     text        not null,
    received_at timestamptz not null,
    constraint inbox_pk primary key (consumer, event_id)
);
comment on table outbox.inbox is 'Which consumer has applied which event: one row written in the transaction of the effect.';
create index inbox_received on outbox.inbox (received_at);

create table outbox.quarantine (
    consumer      text        not null,
    body_hash     bytea       not null,
    reason        text        not null,
    body          bytea       not null,
    body_bytes    integer     not null,
    count         integer     not null default 1,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    resolved_at   timestamptz,
    constraint quarantine_pk primary key (consumer, body_hash),
    constraint quarantine_body_size check (octet_length(body) <= 65536),
    constraint quarantine_hash_form check (octet_length(body_hash) = 32)
);
comment on table outbox.quarantine is 'Messages refused by consumers that keep no table of their own; body is the first 64 KiB, body_bytes its full length.';

-- Replay books announce nothing; beside the check constraint and the missing grants this is the wall that a new role meets.
alter table outbox.events enable row level security;
alter table outbox.events force row level security;
create policy events_read on outbox.events for select using (true);
create policy events_insert on outbox.events for insert with check (book_id is null or book_id not like 'replay:%');
create policy events_update on outbox.events for update using (true)
    with check (book_id is null or book_id not like 'replay:%');
create policy events_delete on outbox.events for delete using (true);

-- Insert events in the order given. Security definer: a writer may add events and can neither read nor alter any.
create function outbox.enqueue(document jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    stored integer := 0;
begin
    if jsonb_typeof(document) = 'array' then
        insert into outbox.events (event_id, event_type, schema_version, book_id, aggregate_key, aggregate_version,
                                   partition_no, topic, payload, traceparent, occurred_at, recorded_at, available_at)
        select r.event_id, r.event_type, r.schema_version, r.book_id, r.aggregate_key, r.aggregate_version,
               r.partition_no, r.topic, r.payload, r.traceparent, r.occurred_at, r.recorded_at, r.recorded_at
          from rows from (jsonb_to_recordset(document) as (
                   event_id uuid, event_type text, schema_version integer, book_id text, aggregate_key text,
                   aggregate_version bigint, partition_no smallint, topic text, payload text, traceparent text,
                   occurred_at timestamptz, recorded_at timestamptz)) with ordinality as r
         order by r.ordinality;
        get diagnostics stored = row_count;
    end if;
    return to_jsonb(stored);
end $$;

-- Is there a row of this partition that may go out at desk_now? An aggregate with a row in backoff waits as a whole.
-- A backoff never exceeds 300 s: a later available_at was written before the desk clock stepped back, and counts as due.
create function outbox.has_due(partition smallint, desk_now timestamptz) returns boolean
language sql volatile as $$
    select exists (
        select 1 from outbox.events e
         where e.partition_no = partition and e.published_at is null and e.parked_at is null
           and not exists (
               select 1 from outbox.events b
                where b.partition_no = partition and b.published_at is null and b.parked_at is null and b.attempts > 0
                  and b.aggregate_key = e.aggregate_key and b.id <= e.id
                  and b.available_at > desk_now and b.available_at <= desk_now + interval '300 seconds'))
$$;

-- The due rows of every partition held by this token, at most rows_max each, in id order.
create function outbox.due_rows(token uuid, desk_now timestamptz, rows_max integer) returns jsonb
language sql volatile as $$
    select coalesce(jsonb_agg(jsonb_build_object(
               'id', d.id, 'event_id', d.event_id, 'event_type', d.event_type, 'schema_version', d.schema_version,
               'aggregate_key', d.aggregate_key, 'aggregate_version', d.aggregate_version::text,
               'partition_no', d.partition_no, 'topic', d.topic, 'payload', d.payload, 'traceparent', d.traceparent,
               'attempts', d.attempts) order by d.id), '[]'::jsonb)
      from outbox.partitions p
     cross join lateral (
        select e.* from outbox.events e
         where e.partition_no = p.partition_no and e.published_at is null and e.parked_at is null
           and not exists (
               select 1 from outbox.events b
                where b.partition_no = p.partition_no and b.published_at is null and b.parked_at is null and b.attempts > 0
                  and b.aggregate_key = e.aggregate_key and b.id <= e.id
                  and b.available_at > desk_now and b.available_at <= desk_now + interval '300 seconds')
         order by e.id limit rows_max) d
     where p.lease_token = token
$$;

-- Lease free partitions that have due rows and read them: {token, now, lease_seconds, partitions_max, rows_max, partitions?}.
-- Answers {rows, partitions, busy}; busy counts wanted partitions with due rows that another relay holds.
-- A lease longer than lease_seconds cannot have been given: it is left from before the server's clock stepped back, and is free.
create function outbox.claim(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    token    constant uuid := (document->>'token')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    lease    constant interval := make_interval(secs => (document->>'lease_seconds')::double precision);
    wanted   smallint[];
    leased   smallint[];
    busy     integer := 0;
begin
    if jsonb_typeof(document->'partitions') = 'array' then
        wanted := array(select jsonb_array_elements_text(document->'partitions')::smallint);
    end if;
    with free as (
        select p.partition_no from outbox.partitions p
         where (wanted is null or p.partition_no = any (wanted))
           and (p.lease_token is null or p.lease_until <= clock_timestamp() or p.lease_until > clock_timestamp() + lease)
           and outbox.has_due(p.partition_no, desk_now)
         order by p.lease_until, p.partition_no
         limit (document->>'partitions_max')::integer
           for update skip locked
    ), taken as (
        update outbox.partitions p set lease_token = token, lease_until = clock_timestamp() + lease
          from free where p.partition_no = free.partition_no
        returning p.partition_no
    )
    select coalesce(array_agg(partition_no), '{}') into leased from taken;
    if wanted is not null and cardinality(leased) < cardinality(wanted) then
        select count(*) into busy from unnest(wanted) w(partition_no)
         where w.partition_no <> all (leased) and outbox.has_due(w.partition_no, desk_now);
    end if;
    return jsonb_build_object(
        'partitions', to_jsonb(leased), 'busy', busy,
        'rows', case when cardinality(leased) = 0 then '[]'::jsonb
                     else outbox.due_rows(token, desk_now, (document->>'rows_max')::integer) end);
end $$;

-- Record what became of published rows, then go on: {token, now, lease_seconds, rows_max, published, failed, parked, step}.
-- step: extend (keep the lease) | read (release drained partitions, read the next rows of the others) | release.
-- Rows of a partition that this token no longer holds are left alone: its new holder will publish them again.
create function outbox.finish(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    token    constant uuid := (document->>'token')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    step     constant text := document->>'step';
    held     smallint[];
    recorded integer := 0;
    touched  integer;
begin
    perform 1 from outbox.partitions where lease_token = token order by partition_no for update;
    held := array(select partition_no from outbox.partitions where lease_token = token);

    update outbox.events e set published_at = desk_now, message_id = r.message_id
      from jsonb_to_recordset(document->'published') as r(id bigint, message_id text)
     where e.id = r.id and e.partition_no = any (held) and e.published_at is null and e.parked_at is null;
    get diagnostics recorded = row_count;
    update outbox.events e
       set attempts = e.attempts + 1, last_error = r.error,
           available_at = desk_now + make_interval(secs => least(power(2, least(e.attempts + 1, 9)), 300))
      from jsonb_to_recordset(document->'failed') as r(id bigint, error text)
     where e.id = r.id and e.partition_no = any (held) and e.published_at is null and e.parked_at is null;
    get diagnostics touched = row_count;
    recorded := recorded + touched;
    update outbox.events e set parked_at = desk_now, attempts = e.attempts + 1, last_error = r.error
      from jsonb_to_recordset(document->'parked') as r(id bigint, error text)
     where e.id = r.id and e.partition_no = any (held) and e.published_at is null and e.parked_at is null;
    get diagnostics touched = row_count;
    recorded := recorded + touched;

    update outbox.partitions p
       set lease_token = null, lease_until = clock_timestamp()
     where p.lease_token = token
       and (step = 'release' or (step = 'read' and not outbox.has_due(p.partition_no, desk_now)));
    update outbox.partitions p
       set lease_until = clock_timestamp() + make_interval(secs => (document->>'lease_seconds')::double precision)
     where p.lease_token = token;
    return jsonb_build_object(
        'recorded', recorded, 'held', cardinality(held),
        'rows', case when step = 'read' then outbox.due_rows(token, desk_now, (document->>'rows_max')::integer)
                     else '[]'::jsonb end);
end $$;

-- Inbox: {consumer, event_id, outcome, now} -> true when this event is new to the consumer.
create function outbox.receive(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    insert into outbox.inbox (consumer, event_id, outcome, received_at)
    values (document->>'consumer', (document->>'event_id')::uuid, document->>'outcome', (document->>'now')::timestamptz)
    on conflict on constraint inbox_pk do nothing;
    return to_jsonb(found);
end $$;

-- Quarantine: {consumer, reason, body (hex), body_bytes, body_hash (hex), now}; the same body again only counts.
create function outbox.put_aside(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    seen integer;
begin
    insert into outbox.quarantine as q (consumer, body_hash, reason, body, body_bytes, first_seen_at, last_seen_at)
    values (document->>'consumer', decode(document->>'body_hash', 'hex'), document->>'reason',
            decode(document->>'body', 'hex'), (document->>'body_bytes')::integer,
            (document->>'now')::timestamptz, (document->>'now')::timestamptz)
    on conflict on constraint quarantine_pk do update
       set count = q.count + 1, reason = excluded.reason, resolved_at = null,
           last_seen_at = greatest(q.last_seen_at, excluded.last_seen_at)
    returning count into seen;
    return to_jsonb(seen);
end $$;

-- Delete what nobody needs any more: {now, rows_max} -> {events, inbox}. Security definer: a relay may not delete freely.
create function outbox.purge(document jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    rows_max constant integer := (document->>'rows_max')::integer;
    events   integer;
    received integer;
begin
    delete from outbox.events where id in (
        select id from outbox.events where published_at < desk_now - interval '7 days' order by published_at limit rows_max);
    get diagnostics events = row_count;
    delete from outbox.inbox where (consumer, event_id) in (
        select consumer, event_id from outbox.inbox
         where received_at < desk_now - interval '45 days' order by received_at limit rows_max);
    get diagnostics received = row_count;
    return jsonb_build_object('events', events, 'inbox', received);
end $$;

-- What stands still, by topic. Ages are for the reader to compute with its own clock from oldest_unpublished_at:
-- SQL knows no desk time.
create view outbox.v_backlog as
    select topic,
           count(*) filter (where parked_at is null) as due,
           count(*) filter (where parked_at is not null) as parked,
           min(recorded_at) filter (where parked_at is null) as oldest_unpublished_at
      from outbox.events where published_at is null group by topic;
create view outbox.v_quarantined as
    select consumer, encode(body_hash, 'hex') as body_hash, reason, body_bytes,
           encode(substring(body from 1 for 500), 'escape') as body_excerpt, count, first_seen_at, last_seen_at, resolved_at
      from outbox.quarantine;
-- Whether an event was written and published, for the ledger's audit; no payload.
create view outbox.v_events as
    select event_id, event_type, book_id, aggregate_key, aggregate_version, topic, recorded_at, published_at, parked_at,
           attempts, last_error
      from outbox.events;

revoke all on all functions in schema outbox from public;
grant usage on schema outbox to outbox_reader, outbox_writer, ledger_reader, ledger_writer, ledger_maintenance, signal_writer,
    ibkr_writer, mt5_writer, snapshot_writer, notify_writer, desk_operator;
grant execute on function outbox.enqueue(jsonb)
    to outbox_writer, ledger_writer, signal_writer, ibkr_writer, mt5_writer, snapshot_writer, notify_writer;

-- outbox_writer: the relay, the inbox and the quarantine. It inserts events through enqueue and deletes through purge only.
grant select on outbox.events to outbox_writer;
grant update (published_at, message_id, attempts, available_at, parked_at, last_error) on outbox.events to outbox_writer;
grant select, update (lease_token, lease_until) on outbox.partitions to outbox_writer;
grant select, insert on outbox.inbox to outbox_writer;
grant select, insert, update on outbox.quarantine to outbox_writer;
grant execute on function outbox.has_due(smallint, timestamptz), outbox.due_rows(uuid, timestamptz, integer),
    outbox.claim(jsonb), outbox.finish(jsonb), outbox.receive(jsonb), outbox.put_aside(jsonb), outbox.purge(jsonb)
    to outbox_writer;
grant select on outbox.v_backlog, outbox.v_quarantined, outbox.v_events to outbox_reader, outbox_writer, desk_operator;
grant select on outbox.v_events to ledger_reader, ledger_writer, ledger_maintenance;
grant outbox_reader, outbox_writer to desk_operator;

-- ==== 0003_ledger.sql ================================================================================================

-- Room ledger: journal (what we were told), history (what was booked), projections (what follows from both).
--
-- Journal and history are append-only by grants: INSERT and SELECT, and UPDATE of the one column superseded_at, once.
-- Projections may always be rebuilt from the journal. Rules live in Python; the constraints here are the second wall, and
-- their names are what becomes a domain error. ledger.load locks first and reads in FOLLOWING statements (under READ
-- COMMITTED a lock and a read in one statement would read what was true before the lock); ledger.apply writes one document
-- and refuses it when the book moved on since it was computed.

create type ledger.direction as enum ('LONG', 'SHORT');
create type ledger.side as enum ('BUY', 'SELL');
create type ledger.action_type as enum ('ENTRY', 'ADD_ENTRY', 'TRIM', 'EXIT');
create type ledger.row_state as enum ('BOOKED', 'VOID');
create type ledger.position_status as enum ('OPEN', 'CLOSED', 'VOID');
create type ledger.lot_method as enum ('FIFO', 'LIFO', 'HIFO', 'AVERAGE', 'SPECIFIC');

create table ledger.books (
    book_id          text              not null,
    kind             text              not null,
    tenant_id        text              not null default 'desk',
    lot_method       ledger.lot_method not null default 'FIFO',
    netting          text              not null,
    base_currency    text              not null,
    start_cash       numeric(28,8)     not null default 0,
    calendar         text              not null default 'XNYS',
    seq              bigint            not null default 0,
    chain_head       bytea             not null,
    last_recorded_at timestamptz       not null,
    created_at       timestamptz       not null,
    closed_at        timestamptz,
    closed_seq       bigint,
    constraint books_pk primary key (book_id),
    constraint books_id_form check (
        book_id ~ '^(live|(replay|ibkr):[A-Za-z0-9._~-]{1,64}|mt5:[A-Za-z0-9._~-]{1,64}:[A-Za-z0-9._~-]{1,64})$'),
    constraint books_kind_matches check (kind = split_part(book_id, ':', 1)),
    constraint books_netting check (netting in ('net', 'hedge')),
    constraint books_currency_form check (base_currency ~ '^[A-Z]{3}$'),
    constraint books_chain_form check (seq >= 0 and octet_length(chain_head) = 32),
    constraint books_closed_form check ((closed_at is null) = (closed_seq is null))
);
comment on column ledger.books.closed_seq is 'The seq at which the book was closed: a rebuild closes it at the same place.';
-- room on the page, so that an update of the row rewrites no index
alter table ledger.books set (fillfactor = 50);
comment on table ledger.books is 'A ledger of its own; seq and chain_head are the end of its chain of journal and history rows.';

create table ledger.fills (
    book_id          text           not null,
    fill_id          uuid           not null,
    version          integer        not null,
    source           text           not null,
    account_key      text           not null,
    source_id        text           not null,
    source_revision  integer        not null,
    is_bust          boolean        not null,
    instrument       text           not null,
    ticker           text           not null,
    contract_name    text           not null,
    side             ledger.side    not null,
    quantity         numeric(28,10) not null,
    price            numeric(28,10) not null,
    multiplier       numeric(20,10),
    currency         text           not null,
    fx_rate          numeric(28,12),
    fees             numeric(28,8),
    fees_currency    text,
    fees_rate        numeric(28,12),
    position_effect  text           not null,
    direction        ledger.direction,
    lot_ref          text,
    lot_picks        jsonb,
    cash_style       text           not null,
    executed_at      timestamptz    not null,
    venue_order      text collate "C" not null,
    session_date     date           not null,
    reason           text,
    meta             jsonb          not null,
    origin           text           not null,
    cause            text           not null,
    replaces_fill_id uuid,
    received_at      timestamptz    not null,
    recorded_at      timestamptz    not null,
    content_hash     bytea          not null,
    seq              bigint         not null,
    booking_seq      bigint         not null,
    prev_hash        bytea          not null,
    row_hash         bytea          not null,
    constraint fills_pk primary key (book_id, fill_id, version),
    constraint fills_seq_key unique (book_id, seq),
    constraint fills_version_positive check (version >= 1 and source_revision >= 1),
    constraint fills_source check (source in ('signal', 'ibkr', 'mt5', 'operator')),
    constraint fills_quantity_positive check (quantity > 0 and quantity <> 'NaN'),
    constraint fills_price_finite check (price <> 'NaN'),
    constraint fills_price_positive check (price > 0 or book_id ~ '^(ibkr|mt5):'),
    constraint fills_multiplier_positive check (multiplier > 0 and multiplier <> 'NaN'),
    constraint fills_currency_form check (currency ~ '^[A-Z]{3}$' and fees_currency ~ '^[A-Z]{3}$'),
    constraint fills_rates_positive check (fx_rate > 0 and fees_rate > 0),
    constraint fills_position_effect check (position_effect in ('auto', 'open', 'close')),
    constraint fills_cash_style check (cash_style in ('full', 'margin')),
    constraint fills_origin check (origin in ('live', 'history')),
    constraint fills_cause check (cause in ('first', 'revision', 'rebook', 'restatement', 'commission', 'settled', 'bust')),
    constraint fills_meta_size check (octet_length(meta::text) <= 32768)
);
comment on table ledger.fills is 'Journal: the broker-neutral facts, every version; the current one has the greatest (source_revision, is_bust, version).';
comment on column ledger.fills.meta is 'What the room wants to keep beside the figures (receipt id, lane, rule, order ref); at most 16 KiB as given.';
comment on column ledger.fills.booking_seq is 'First seq of the call that wrote this row: a rebuild replays the journal call by call.';
create index fills_by_order on ledger.fills (book_id, instrument, executed_at, venue_order, fill_id);
create index fills_by_recorded on ledger.fills (book_id, recorded_at);

create table ledger.adjustments (
    book_id       text        not null,
    adjustment_id uuid        not null,
    version       integer     not null,
    kind          text        not null,
    instrument    text        not null,
    ratio_num     integer     not null,
    ratio_den     integer     not null,
    effective_at  timestamptz not null,
    is_void       boolean     not null,
    entered_by    text        not null,
    reason        text        not null,
    recorded_at   timestamptz not null,
    seq           bigint      not null,
    booking_seq   bigint      not null,
    prev_hash     bytea       not null,
    row_hash      bytea       not null,
    constraint adjustments_pk primary key (book_id, adjustment_id, version),
    constraint adjustments_seq_key unique (book_id, seq),
    constraint adjustments_kind check (kind = 'split'),
    constraint adjustments_ratio_form check (ratio_num > 0 and ratio_den > 0)
);
comment on table ledger.adjustments is 'Journal: splits entered by an operator, never inferred; current = greatest version.';
create index adjustments_by_instrument on ledger.adjustments (book_id, instrument, effective_at);

create table ledger.positions (
    book_id            text                   not null,
    position_id        uuid                   not null,
    instrument         text                   not null,
    ticker             text                   not null,
    contract_name      text                   not null,
    direction          ledger.direction       not null,
    status             ledger.position_status not null,
    currency           text                   not null,
    multiplier         numeric(20,10),
    is_net             boolean                not null,
    cash_style         text                   not null,
    quantity_open      numeric(28,10)         not null,
    quantity_opened    numeric(28,10)         not null,
    quantity_closed    numeric(28,10)         not null,
    value_open         numeric(28,8),
    cost_basis         numeric(28,8),
    vwap               numeric(28,10),
    entry_vwap         numeric(28,10)         not null,
    exit_vwap          numeric(28,10),
    entry_notional     numeric(60,20)         not null,
    exit_notional      numeric(60,20)         not null,
    value_opened       numeric(28,8),
    value_initial      numeric(28,8),
    fees_total         numeric(28,8),
    realized_pnl       numeric(28,8),
    realized_pnl_gross numeric(28,8),
    realized_pnl_base  numeric(28,8),
    split_factor       numeric(38,18)         not null,
    opened_at          timestamptz            not null,
    last_opened_at     timestamptz            not null,
    last_action_at     timestamptz            not null,
    closed_at          timestamptz,
    first_action_id    uuid                   not null,
    action_count       integer                not null,
    open_lot_count     integer                not null,
    updated_seq        bigint                 not null,
    constraint positions_pk primary key (book_id, position_id),
    constraint positions_quantity_sum check (quantity_opened = quantity_open + quantity_closed),
    constraint positions_quantity_range check (quantity_open >= 0 and quantity_closed >= 0),
    constraint positions_closed_is_empty check (
        (status <> 'OPEN') = (quantity_open = 0) and (closed_at is not null) = (status = 'CLOSED'))
);
alter table ledger.positions set (fillfactor = 80);
comment on table ledger.positions is 'Projection: one per book, instrument and direction while OPEN; amounts in currency, quantities and vwap split-adjusted.';
comment on column ledger.positions.entry_notional is 'Exact sum of quantity * price of all openings: entry_vwap needs no scan of closed lots.';
comment on column ledger.positions.value_opened is 'Sum of value of all openings, value_initial that of the ENTRY; what a strategy that adds compares with.';
create unique index positions_one_open on ledger.positions (book_id, instrument, direction) where status = 'OPEN';
create unique index positions_one_open_net on ledger.positions (book_id, instrument) where status = 'OPEN' and is_net;
create index positions_by_opened on ledger.positions (book_id, opened_at desc, position_id);

create table ledger.lots (
    book_id           text                   not null,
    lot_id            uuid                   not null,
    position_id       uuid                   not null,
    fill_id           uuid                   not null,
    action_id         uuid                   not null,
    lot_ref           text,
    opened_at         timestamptz            not null,
    venue_order       text collate "C"       not null,
    status            ledger.position_status not null,
    quantity          numeric(28,10)         not null,
    price             numeric(28,10)         not null,
    multiplier        numeric(20,10),
    value             numeric(28,8),
    fees              numeric(28,8),
    fees_base         numeric(28,8),
    basis             numeric(28,8),
    fx_rate           numeric(28,12),
    split_factor      numeric(38,18)         not null,
    price_adjusted    numeric(28,10)         not null,
    quantity_adjusted numeric(28,10)         not null,
    quantity_open     numeric(28,10)         not null,
    value_open        numeric(28,8),
    basis_open        numeric(28,8),
    fees_base_open    numeric(28,8),
    constraint lots_pk primary key (book_id, lot_id),
    constraint lots_position_fk foreign key (book_id, position_id) references ledger.positions,
    constraint lots_open_range check (quantity_open >= 0 and quantity_open <= quantity_adjusted),
    constraint lots_closed_is_empty check ((status = 'OPEN') = (quantity_open > 0))
);
comment on table ledger.lots is 'Projection: the quantity of one opening fill at its own price, as executed and as it stands today; never deleted.';
create index lots_open on ledger.lots (book_id, position_id) where quantity_open > 0;
create index lots_by_position on ledger.lots (book_id, position_id, opened_at, venue_order, fill_id);

create table ledger.execution_actions (
    book_id                        text               not null,
    action_id                      uuid               not null,
    version                        integer            not null,
    state                          ledger.row_state   not null,
    fill_id                        uuid               not null,
    fill_seq                       bigint             not null,
    leg                            smallint           not null,
    cause                          text               not null,
    cause_seq                      bigint             not null,
    position_id                    uuid               not null,
    lot_id                         uuid,
    action_type                    ledger.action_type not null,
    instrument                     text               not null,
    ticker                         text               not null,
    direction                      ledger.direction   not null,
    side                           ledger.side        not null,
    executed_at                    timestamptz        not null,
    venue_order                    text collate "C"   not null,
    session_date                   date               not null,
    quantity                       numeric(28,10)     not null,
    price                          numeric(28,10)     not null,
    multiplier                     numeric(20,10),
    currency                       text               not null,
    value                          numeric(28,8),
    fees                           numeric(28,8),
    cash_effect                    numeric(28,8),
    realized_pnl                   numeric(28,8),
    realized_pnl_gross             numeric(28,8),
    realized_pnl_base              numeric(28,8),
    position_quantity_after        numeric(28,10)     not null,
    position_quantity_opened_after numeric(28,10)     not null,
    position_vwap_after            numeric(28,10),
    position_cost_basis_after      numeric(28,8),
    position_realized_pnl_after    numeric(28,8),
    unrealized_pnl_after           numeric(28,8),
    is_flat_after                  boolean            not null,
    reason                         text,
    meta                           jsonb              not null,
    recorded_at                    timestamptz        not null,
    superseded_at                  timestamptz,
    seq                            bigint             not null,
    booking_seq                    bigint             not null,
    prev_hash                      bytea              not null,
    row_hash                       bytea              not null,
    constraint execution_actions_pk primary key (book_id, action_id, version),
    constraint execution_actions_fill_fk foreign key (book_id, fill_seq) references ledger.fills (book_id, seq),
    constraint execution_actions_position_fk foreign key (book_id, position_id) references ledger.positions,
    constraint execution_actions_leg check (leg in (1, 2)),
    constraint execution_actions_value check (
        (value is null) = (multiplier is null) and abs(value - quantity * price * multiplier) <= 0.00000001),
    constraint execution_actions_pnl_by_type check (
        case when action_type in ('ENTRY', 'ADD_ENTRY')
             then realized_pnl is null and realized_pnl_gross is null and realized_pnl_base is null
             else realized_pnl is null or realized_pnl_gross is not null end),
    constraint execution_actions_flat_after check (
        action_type <> 'EXIT' or (position_quantity_after = 0 and position_vwap_after is null and unrealized_pnl_after is null))
);
comment on table ledger.execution_actions is 'History: every version of what was booked, with the state of the position right after; VOID keeps the last values.';
comment on column ledger.execution_actions.cause_seq is 'The journal row that made this version: the own fill, or the one whose arrival changed it.';
comment on column ledger.execution_actions.unrealized_pnl_after is 'At this action''s own price, so that it depends on fills alone.';
create unique index execution_actions_one_current on ledger.execution_actions (book_id, action_id) where superseded_at is null;
create unique index execution_actions_seq_key on ledger.execution_actions (book_id, seq);
create index execution_actions_by_position on ledger.execution_actions (book_id, position_id, executed_at, venue_order, fill_id, leg)
    where superseded_at is null and state = 'BOOKED';
create index execution_actions_by_time on ledger.execution_actions (book_id, executed_at desc, action_id)
    where superseded_at is null and state = 'BOOKED';
create index execution_actions_by_instrument on ledger.execution_actions (book_id, instrument, executed_at, venue_order, fill_id, leg)
    where superseded_at is null and state = 'BOOKED';
create index execution_actions_by_fill on ledger.execution_actions (book_id, fill_id);
create index execution_actions_by_recorded on ledger.execution_actions (book_id, recorded_at);

create table ledger.closings (
    book_id            text           not null,
    action_id          uuid           not null,
    version            integer        not null,
    lot_id             uuid           not null,
    ordinal            integer        not null,
    quantity           numeric(28,10) not null,
    lot_price          numeric(28,10) not null,
    split_factor       numeric(38,18) not null,
    close_value        numeric(28,8),
    lot_value          numeric(28,8),
    proceeds           numeric(28,8),
    lot_basis          numeric(28,8),
    realized_pnl_gross numeric(28,8),
    realized_pnl       numeric(28,8),
    realized_pnl_base  numeric(28,8),
    executed_at        timestamptz    not null,
    recorded_at        timestamptz    not null,
    constraint closings_pk primary key (book_id, action_id, version, lot_id),
    constraint closings_action_fk foreign key (book_id, action_id, version) references ledger.execution_actions,
    constraint closings_lot_fk foreign key (book_id, lot_id) references ledger.lots,
    constraint closings_quantity_positive check (quantity > 0)
);
comment on table ledger.closings is 'History: the part of a lot matched to a closing action; the only place where realized P&L is born.';
create index closings_by_lot on ledger.closings (book_id, lot_id);

create table ledger.parked_fills (
    book_id    text        not null,
    fill_id    uuid        not null,
    reason     text        not null,
    parked_at  timestamptz not null,
    instrument text        not null,
    constraint parked_fills_pk primary key (book_id, fill_id)
);
comment on table ledger.parked_fills is 'Projection: facts we hold but cannot book yet; every later booking of the instrument tries them again.';
create index parked_fills_by_instrument on ledger.parked_fills (book_id, instrument);

create table ledger.marks (
    book_id     text           not null,
    instrument  text           not null,
    bucket_at   timestamptz    not null,
    price       numeric(28,10) not null,
    bid         numeric(28,10),
    ask         numeric(28,10),
    marked_at   timestamptz    not null,
    recorded_at timestamptz    not null,
    source      text           not null,
    constraint marks_pk primary key (book_id, instrument, bucket_at),
    constraint marks_price_finite check (price <> 'NaN' and bid <> 'NaN' and ask <> 'NaN'),
    constraint marks_bucket check (
        bucket_at <= marked_at and marked_at < bucket_at + interval '5 minutes'
        and extract(epoch from bucket_at)::bigint % 300 = 0)
);
comment on table ledger.marks is 'Input, not projection: the last price seen in each 5-minute bucket; kept 2 years.';

create table ledger.reconciliations (
    book_id      text        not null,
    as_of        timestamptz not null,
    source       text        not null,
    recorded_at  timestamptz not null,
    result       text        not null,
    statement    jsonb       not null,
    breaks_found integer     not null,
    breaks_open  integer     not null,
    book_seq     bigint      not null,
    constraint reconciliations_pk primary key (book_id, source, as_of),
    constraint reconciliations_result check (result in ('matched', 'breaks', 'inconclusive'))
);
comment on table ledger.reconciliations is 'Every broker statement compared with its book, and what came of it.';

create table ledger.breaks (
    book_id       text        not null,
    break_id      uuid        not null,
    kind          text        not null,
    instrument    text        not null,
    direction     ledger.direction,
    currency      text        not null,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    resolved_at   timestamptz,
    expected      numeric(28,10),
    actual        numeric(28,10),
    difference    numeric(28,10),
    cause         text        not null,
    note          text,
    constraint breaks_pk primary key (book_id, break_id),
    constraint breaks_kind check (kind in (
        'position_quantity', 'missing_in_book', 'missing_at_broker', 'average_price', 'cash', 'realized_pnl'))
);
comment on table ledger.breaks is 'Differences between book and broker, found and aged here alone; a repair is a fill, a revision or a split.';
create index breaks_open on ledger.breaks (book_id, first_seen_at) where resolved_at is null;

create table ledger.audits (
    book_id      text        not null,
    ran_at       timestamptz not null,
    exit         integer     not null,
    findings     jsonb       not null,
    seq          bigint      not null,
    code_version text        not null,
    constraint audits_pk primary key (book_id, ran_at)
);
comment on table ledger.audits is 'What each audit of a book found; exit 0 is clean, else 20 + the lowest failing invariant.';

create table ledger.chain_anchors (
    book_id     text        not null,
    anchored_on date        not null,
    seq         bigint      not null,
    chain_head  bytea       not null,
    recorded_at timestamptz not null,
    constraint chain_anchors_pk primary key (book_id, anchored_on)
);
comment on table ledger.chain_anchors is 'The chain''s end once a day, also posted: who rewrites hashes later is caught against it.';

-- A version is superseded once and for ever. The column grant keeps everything else out of reach.
create function ledger.superseded_once() returns trigger language plpgsql as $$
begin
    if old.superseded_at is not null then
        raise exception 'superseded_at is already set' using errcode = 'P0001', constraint = 'superseded_once';
    end if;
    return new;
end $$;
create trigger superseded_once before update of superseded_at on ledger.execution_actions
    for each row execute function ledger.superseded_once();

-- {book_id, lot_method, netting, base_currency, …} -> {is_new, book}: opens a book once; the caller compares what is there.
create function ledger.open_book(document jsonb) returns json language plpgsql volatile as $$
declare
    name constant text := document->>'book_id';
    opened boolean;
begin
    insert into ledger.books (book_id, kind, tenant_id, lot_method, netting, base_currency, start_cash, calendar,
                              chain_head, last_recorded_at, created_at)
    select name, split_part(name, ':', 1), r.tenant_id, r.lot_method, r.netting, r.base_currency, r.start_cash, r.calendar,
           sha256(convert_to('fillbook:' || name, 'UTF8')), r.now, r.now
      from jsonb_to_record(document) as r(tenant_id text, lot_method ledger.lot_method, netting text, base_currency text,
                                          start_cash numeric, calendar text, now timestamptz)
    on conflict on constraint books_pk do nothing;
    opened := found;
    return json_build_object('is_new', opened, 'book', (select to_json(b) from ledger.books b where b.book_id = name));
end $$;

-- {book_id, now}: a closed book refuses decisions and parks facts.
create function ledger.close_book(document jsonb) returns jsonb language plpgsql volatile as $$
begin
    update ledger.books b set closed_at = (document->>'now')::timestamptz, closed_seq = b.seq
     where b.book_id = document->>'book_id' and b.closed_at is null;
    return to_jsonb(found);
end $$;

-- Advisory locks on (book, instrument), ascending by their number, so that two calls never wait for each other in a ring.
create function ledger.lock_instruments(book text, instruments text[]) returns void language plpgsql volatile as $$
declare
    number bigint;
begin
    for number in
        select distinct hashtextextended(book || chr(31) || name, 7) from unnest(instruments) as name order by 1
    loop
        perform pg_advisory_xact_lock(number);
    end loop;
end $$;

-- {book_id, instruments, fill_ids, may_move, book_row, totals, session_date} -> what a booking of these is computed from.
-- One plan for all calls and never a sequential scan: a plan made while a table was still small would stay in the session
-- and grow with the table. The same holds for ledger.apply and the foreign keys that it checks.
-- may_move: a correction may take a fill to another instrument, so those the named fills stand on now are locked and
-- answered for too.
create function ledger.load(document jsonb) returns json language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    book constant text := document->>'book_id';
    named uuid[];
    wanted text[] := array(select jsonb_array_elements_text(document->'instruments'));
    head json;
    known json;
begin
    if jsonb_array_length(document->'fill_ids') > 0 then
        named := array(select jsonb_array_elements_text(document->'fill_ids')::uuid);
    end if;
    if (document->>'may_move')::boolean then
        wanted := array(select unnest(wanted)
                        union select f.instrument from unnest(named) as one
                              cross join lateral (
                                    select * from ledger.fills f where f.book_id = book and f.fill_id = one
                                     order by f.version offset 0) as f);
    end if;
    if cardinality(wanted) = 1 then
        perform pg_advisory_xact_lock(hashtextextended(book || chr(31) || wanted[1], 7));
    else
        perform ledger.lock_instruments(book, wanted);
    end if;
    if (document->>'book_row')::boolean then
        select to_json(b) into head from ledger.books b where b.book_id = book for update;
    else
        select to_json(b) into head from ledger.books b where b.book_id = book;
    end if;
    if named is not null then
        select json_agg(f order by f.fill_id, f.version) into known
          from unnest(named) as one
         cross join lateral (select * from ledger.fills f where f.book_id = book and f.fill_id = one
                              order by f.version offset 0) as f;
    end if;
    return json_build_object(
        'book', head,
        'book_row', document->'book_row',
        'fill_ids', document->'fill_ids',
        'fills', known,
        -- one look-up per instrument and position, whatever the planner thinks of their number: offset 0 keeps it so, and the
        -- order within names the index, also while the statistics are those of an empty table
        'positions', (
            select json_agg(p order by p.direction)
              from unnest(wanted) as name
             cross join lateral (
                   select * from ledger.positions p
                    where p.book_id = book and p.instrument = name and p.status = 'OPEN'
                    order by p.direction offset 0) as p),
        'lots', (
            select json_agg(l order by l.opened_at, l.venue_order, l.fill_id)
              from unnest(wanted) as name
             cross join lateral (
                   select p.position_id from ledger.positions p
                    where p.book_id = book and p.instrument = name and p.status = 'OPEN'
                    order by p.direction offset 0) as p
             cross join lateral (
                   select * from ledger.lots l
                    where l.book_id = book and l.position_id = p.position_id and l.quantity_open > 0
                    order by l.opened_at, l.venue_order, l.fill_id offset 0) as l),
        'tails', (
            select json_agg(json_build_array(
                name, tail.executed_at, tail.venue_order, tail.fill_id,
                (select max(j.effective_at) from ledger.adjustments j where j.book_id = book and j.instrument = name),
                (select count(*) from ledger.parked_fills k where k.book_id = book and k.instrument = name)))
              from unnest(wanted) as name
              left join lateral (
                  select a.executed_at, a.venue_order, a.fill_id from ledger.execution_actions a
                   where a.book_id = book and a.instrument = name and a.superseded_at is null and a.state = 'BOOKED'
                   order by a.executed_at desc, a.venue_order desc, a.fill_id desc, a.leg desc limit 1) as tail on true),
        'totals', case when (document->>'totals')::boolean
                       then ledger.totals(book, (document->>'session_date')::date) end);
end $$;

-- Book-wide facts of a session date: realized and open basis per currency, open positions by direction, ENTRY actions.
create function ledger.totals(book text, day date) returns json language plpgsql volatile as $$
begin
    return json_build_object(
        'amounts', (
            select json_agg(json_build_array(
                c.currency, case when c.unknown_pnl = 0 then c.realized end, case when c.unknown_basis = 0 then c.basis end))
              from (select p.currency, sum(p.realized_pnl) as realized, count(*) filter (where p.realized_pnl is null) as unknown_pnl,
                           sum(p.cost_basis) as basis, count(*) filter (where p.cost_basis is null) as unknown_basis
                      from ledger.positions p where p.book_id = book and p.status <> 'VOID' group by p.currency) as c),
        'open', (
            select json_build_array(count(*) filter (where p.direction = 'LONG'), count(*) filter (where p.direction = 'SHORT'))
              from ledger.positions p where p.book_id = book and p.status = 'OPEN'),
        'entries', (
            select count(*) from ledger.execution_actions a
             where a.book_id = book and a.superseded_at is null and a.state = 'BOOKED' and a.action_type = 'ENTRY'
               and a.session_date = day
               and a.executed_at >= day - interval '7 days' and a.executed_at < day + interval '3 days'));
end $$;

-- {book_id, rows: [{instrument, before: [executed_at, venue_order, fill_id], fill_ids}], fills_max} -> what is stored from
-- the last flat point before each key on: current fills, splits, current actions with closings, their positions and lots.
-- VOID actions come along so that their numbering goes on.
create function ledger.load_history(document jsonb) returns json language plpgsql volatile as $$
declare
    book constant text := document->>'book_id';
    fills_max constant bigint := (document->>'fills_max')::bigint;
    wanted record;
    first record;
    flat record;
    named uuid[];
    touched uuid[];
    current_fills json;
    stored json;
    held uuid[];
    answers json[] := '{}';
begin
    for wanted in
        select r.instrument, (r.before->>0)::timestamptz as executed_at, r.before->>1 as venue_order, (r.before->>2)::uuid as fill_id,
               r.fill_ids
          from jsonb_to_recordset(document->'rows') as r(instrument text, before jsonb, fill_ids jsonb)
    loop
        named := array(select jsonb_array_elements_text(wanted.fill_ids)::uuid);
        -- parked facts are tried again: their keys count too
        select c.executed_at, c.venue_order, c.fill_id into first
          from ledger.parked_fills k
          join lateral (
              select f.executed_at, f.venue_order, f.fill_id from ledger.fills f
               where f.book_id = book and f.fill_id = k.fill_id
               order by f.source_revision desc, f.is_bust desc, f.version desc limit 1) as c on true
         where k.book_id = book and k.instrument = wanted.instrument
         order by c.executed_at, c.venue_order, c.fill_id limit 1;
        if first.executed_at is null or (first.executed_at, first.venue_order collate "C", first.fill_id)
               >= (wanted.executed_at, wanted.venue_order collate "C",
                   coalesce(wanted.fill_id, '00000000-0000-0000-0000-000000000000')) then
            select wanted.executed_at, wanted.venue_order,
                   coalesce(wanted.fill_id, '00000000-0000-0000-0000-000000000000') as fill_id into first;
        end if;
        -- the last action before the key after which nothing was open; a fill's first leg is no point to start from
        select a.executed_at, a.venue_order, a.fill_id into flat
          from ledger.execution_actions a
         where a.book_id = book and a.instrument = wanted.instrument and a.superseded_at is null and a.state = 'BOOKED'
           and (a.executed_at, a.venue_order, a.fill_id)
             < (first.executed_at, first.venue_order collate "C", first.fill_id)
           and a.is_flat_after
           and not exists (select from ledger.execution_actions b
                            where b.book_id = book and b.fill_id = a.fill_id and b.leg > a.leg
                              and b.superseded_at is null and b.state = 'BOOKED')
         order by a.executed_at desc, a.venue_order desc, a.fill_id desc, a.leg desc limit 1;
        touched := array(
            select distinct f.fill_id from ledger.fills f
             where f.book_id = book and f.instrument = wanted.instrument
               and (flat.executed_at is null or f.executed_at >= flat.executed_at)
             limit fills_max + 1);
        if cardinality(touched) > fills_max then
            return json_build_object('too_large', wanted.instrument);
        end if;
        touched := touched || named;
        select json_agg(c order by c.executed_at, c.venue_order, c.fill_id) into current_fills
          from (select distinct on (f.fill_id) f.* from ledger.fills f
                 where f.book_id = book and f.fill_id = any (touched)
                 order by f.fill_id, f.source_revision desc, f.is_bust desc, f.version desc) as c
         where c.instrument = wanted.instrument
           and (flat.executed_at is null or (c.executed_at, c.venue_order, c.fill_id)
                                          > (flat.executed_at, flat.venue_order collate "C", flat.fill_id));
        select json_agg(json_build_object('action', a, 'closings', (
                   select json_agg(c order by c.ordinal) from ledger.closings c
                    where c.book_id = book and c.action_id = a.action_id and c.version = a.version))),
               array_agg(distinct a.position_id) filter (where a.state = 'BOOKED' and a.instrument = wanted.instrument)
          into stored, held
          from ledger.execution_actions a
         where a.book_id = book and a.fill_id = any (touched) and a.superseded_at is null
           and (a.state = 'VOID' or a.fill_id = any (named)
                or (a.instrument = wanted.instrument
                    and (flat.executed_at is null or (a.executed_at, a.venue_order, a.fill_id)
                                                   > (flat.executed_at, flat.venue_order collate "C", flat.fill_id))));
        answers := answers || json_build_object(
            'instrument', wanted.instrument,
            'fills', current_fills,
            'actions', stored,
            'adjustments', (
                select json_agg(c) from (
                    select distinct on (j.adjustment_id) j.* from ledger.adjustments j
                     where j.book_id = book and j.instrument = wanted.instrument
                       and (flat.executed_at is null or j.effective_at > flat.executed_at)
                     order by j.adjustment_id, j.version desc) as c),
            'positions', (select json_agg(p) from ledger.positions p where p.book_id = book and p.position_id = any (held)),
            'lots', (select json_agg(l) from ledger.lots l where l.book_id = book and l.position_id = any (held)),
            'parked', (select json_agg(json_build_array(k.fill_id, k.reason)) from ledger.parked_fills k
                        where k.book_id = book and k.instrument = wanted.instrument));
    end loop;
    return to_json(answers);
end $$;

-- Writes one booking: {book_id, expected_seq, seq, chain_head, recorded_at, fills, adjustments, positions_left,
-- positions, lots, superseded, actions, closings, parked, unparked, events}. The book comes first although it is counted
-- last: its row lock and its seq decide whether the document may be written at all. Positions that stop being OPEN come
-- before those that become OPEN, because a partial unique index is checked row by row.
create function ledger.apply(document jsonb) returns jsonb language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    book constant text := document->>'book_id';
    recorded constant timestamptz := (document->>'recorded_at')::timestamptz;
    mode text;
begin
    update ledger.books b
       set seq = (document->>'seq')::bigint, chain_head = (document->>'chain_head')::bytea, last_recorded_at = recorded
     where b.book_id = book and b.seq = (document->>'expected_seq')::bigint
    returning b.netting into mode;
    if not found then
        raise exception 'the book moved on' using errcode = '40001';
    end if;
    if mode = 'hedge' and exists (
        select from jsonb_to_recordset(document->'fills') as r(direction ledger.direction) where r.direction is null) then
        raise exception 'a fill of a hedging book needs a direction' using errcode = '23514', constraint = 'fills_hedge_direction';
    end if;
    insert into ledger.fills select * from jsonb_populate_recordset(null::ledger.fills, document->'fills');
    if document ? 'adjustments' then
        insert into ledger.adjustments select * from jsonb_populate_recordset(null::ledger.adjustments, document->'adjustments');
    end if;
    if document ? 'positions_left' then
        perform ledger.put_positions(document->'positions_left');
    end if;
    if document ? 'positions' then
        perform ledger.put_positions(document->'positions');
    end if;
    if document ? 'lots' then
        insert into ledger.lots select * from jsonb_populate_recordset(null::ledger.lots, document->'lots')
        on conflict on constraint lots_pk do update set
            (position_id, fill_id, action_id, lot_ref, opened_at, venue_order, status, quantity, price, multiplier, value, fees,
             fees_base, basis, fx_rate, split_factor, price_adjusted, quantity_adjusted, quantity_open, value_open, basis_open,
             fees_base_open)
          = (excluded.position_id, excluded.fill_id, excluded.action_id, excluded.lot_ref, excluded.opened_at,
             excluded.venue_order, excluded.status, excluded.quantity, excluded.price, excluded.multiplier, excluded.value,
             excluded.fees, excluded.fees_base, excluded.basis, excluded.fx_rate, excluded.split_factor,
             excluded.price_adjusted, excluded.quantity_adjusted, excluded.quantity_open, excluded.value_open,
             excluded.basis_open, excluded.fees_base_open);
    end if;
    if document ? 'superseded' then
        update ledger.execution_actions a set superseded_at = recorded
          from jsonb_to_recordset(document->'superseded') as r(action_id uuid, version integer)
         where a.book_id = book and a.action_id = r.action_id and a.version = r.version;
    end if;
    if document ? 'actions' then
        insert into ledger.execution_actions
        select * from jsonb_populate_recordset(null::ledger.execution_actions, document->'actions');
    end if;
    if document ? 'closings' then
        insert into ledger.closings select * from jsonb_populate_recordset(null::ledger.closings, document->'closings');
    end if;
    if document ? 'unparked' then
        delete from ledger.parked_fills k
         using jsonb_to_recordset(document->'unparked') as r(fill_id uuid) where k.book_id = book and k.fill_id = r.fill_id;
    end if;
    if document ? 'parked' then
        insert into ledger.parked_fills select * from jsonb_populate_recordset(null::ledger.parked_fills, document->'parked')
        on conflict on constraint parked_fills_pk do update
           set (reason, parked_at, instrument) = (excluded.reason, excluded.parked_at, excluded.instrument);
    end if;
    if document ? 'events' then
        perform outbox.enqueue(document->'events');
    end if;
    return document->'seq';
end $$;

create function ledger.put_positions(positions jsonb) returns void language plpgsql volatile as $$
begin
    insert into ledger.positions select * from jsonb_populate_recordset(null::ledger.positions, positions)
    on conflict on constraint positions_pk do update set
        (instrument, ticker, contract_name, direction, status, currency, multiplier, is_net, cash_style, quantity_open,
         quantity_opened, quantity_closed, value_open, cost_basis, vwap, entry_vwap, exit_vwap, entry_notional, exit_notional,
         value_opened, value_initial, fees_total, realized_pnl, realized_pnl_gross, realized_pnl_base, split_factor, opened_at,
         last_opened_at, last_action_at, closed_at, first_action_id, action_count, open_lot_count, updated_seq)
      = (excluded.instrument, excluded.ticker, excluded.contract_name, excluded.direction, excluded.status, excluded.currency,
         excluded.multiplier, excluded.is_net, excluded.cash_style, excluded.quantity_open, excluded.quantity_opened,
         excluded.quantity_closed, excluded.value_open, excluded.cost_basis, excluded.vwap, excluded.entry_vwap,
         excluded.exit_vwap, excluded.entry_notional, excluded.exit_notional, excluded.value_opened, excluded.value_initial,
         excluded.fees_total, excluded.realized_pnl, excluded.realized_pnl_gross, excluded.realized_pnl_base,
         excluded.split_factor, excluded.opened_at, excluded.last_opened_at, excluded.last_action_at, excluded.closed_at,
         excluded.first_action_id, excluded.action_count, excluded.open_lot_count, excluded.updated_seq);
end $$;

-- {book_id, now, marks: [{instrument, price, bid, ask, marked_at, source}]}: one row per 5-minute bucket, later marked_at wins.
create function ledger.mark(document jsonb) returns jsonb language plpgsql volatile as $$
begin
    insert into ledger.marks as m (book_id, instrument, bucket_at, price, bid, ask, marked_at, recorded_at, source)
    select distinct on (r.instrument, bucket_at)
           document->>'book_id', r.instrument,
           to_timestamp(floor(extract(epoch from r.marked_at) / 300) * 300) as bucket_at,
           r.price, r.bid, r.ask, r.marked_at, (document->>'now')::timestamptz, r.source
      from jsonb_to_recordset(document->'marks') as r(instrument text, price numeric, bid numeric, ask numeric,
                                                      marked_at timestamptz, source text)
     order by r.instrument, bucket_at, r.marked_at desc
    on conflict on constraint marks_pk do update
       set (price, bid, ask, marked_at, recorded_at, source)
         = (excluded.price, excluded.bid, excluded.ask, excluded.marked_at, excluded.recorded_at, excluded.source)
     where excluded.marked_at > m.marked_at;
    return to_jsonb(found);
end $$;

-- Empties a replay book and sets its chain back to the beginning; raises for any other book. The only deletion of history
-- besides a rebuild, hence security definer: nobody is granted DELETE.
create function ledger.clear_replay_book(book_id text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    cleared constant text := book_id;
    purged bigint;
begin
    if cleared is null or cleared not like 'replay:%' then
        raise exception 'only replay books are cleared' using errcode = 'P0001', constraint = 'clear_replay_only';
    end if;
    update ledger.books b
       set seq = 0, chain_head = sha256(convert_to('fillbook:' || cleared, 'UTF8')), last_recorded_at = b.created_at
     where b.book_id = cleared;
    delete from ledger.closings t where t.book_id = cleared;
    delete from ledger.execution_actions t where t.book_id = cleared;
    delete from ledger.lots t where t.book_id = cleared;
    delete from ledger.positions t where t.book_id = cleared;
    get diagnostics purged = row_count;
    delete from ledger.parked_fills t where t.book_id = cleared;
    delete from ledger.fills t where t.book_id = cleared;
    delete from ledger.adjustments t where t.book_id = cleared;
    delete from ledger.marks t where t.book_id = cleared;
    delete from ledger.audits t where t.book_id = cleared;
    delete from ledger.chain_anchors t where t.book_id = cleared;
    return jsonb_build_object('positions', purged);
end $$;

-- Views: what other rooms and people may read. Quantities, lot prices and marks in today's split-adjusted units; current
-- BOOKED rows only, unless the name says history.
create view ledger.v_books as
    select book_id, tenant_id, kind, base_currency, start_cash, lot_method, netting, calendar, seq, last_recorded_at, created_at,
           closed_at
      from ledger.books;

create view ledger.v_positions as
    select p.book_id, b.tenant_id, p.position_id, p.first_action_id, p.instrument as instrument_id, p.ticker as symbol,
           p.contract_name, p.direction, p.status, p.multiplier, p.currency, p.is_net, p.cash_style, p.quantity_open,
           p.quantity_opened, p.quantity_closed, p.value_open, p.cost_basis, p.vwap, p.entry_vwap, p.exit_vwap, p.value_opened,
           p.value_initial, p.fees_total, p.realized_pnl, p.realized_pnl_gross, p.realized_pnl_base, p.split_factor, p.opened_at,
           p.last_opened_at, p.last_action_at, p.closed_at, p.action_count, p.open_lot_count
      from ledger.positions p join ledger.books b using (book_id)
     where p.status <> 'VOID';

create view ledger.v_lots as
    select l.book_id, b.tenant_id, l.lot_id, l.position_id, l.fill_id, l.action_id, l.lot_ref, l.opened_at,
           l.quantity_adjusted as quantity, l.quantity_open, l.price_adjusted as price, l.basis as cost_basis,
           l.basis_open as cost_basis_open, l.value, l.fees, l.split_factor, l.status
      from ledger.lots l join ledger.books b using (book_id)
     where l.status <> 'VOID';

create view ledger.v_actions as
    select a.book_id, b.tenant_id, a.action_id, a.version, a.fill_id, a.leg, a.position_id, a.lot_id, a.instrument as instrument_id,
           a.ticker, a.direction, a.action_type, a.side, a.executed_at, a.venue_order, a.session_date, a.recorded_at, a.quantity,
           a.price, a.value, a.fees, a.cash_effect, a.multiplier, a.currency, a.realized_pnl, a.realized_pnl_gross,
           a.realized_pnl_base, a.position_quantity_after, a.position_quantity_opened_after, a.position_vwap_after,
           a.position_cost_basis_after, a.position_realized_pnl_after, a.unrealized_pnl_after, a.is_flat_after, a.reason,
           f.origin, a.cause, a.meta, a.seq
      from ledger.execution_actions a
      join ledger.books b using (book_id)
      join ledger.fills f on f.book_id = a.book_id and f.seq = a.fill_seq
     where a.superseded_at is null and a.state = 'BOOKED';

create view ledger.v_action_history as
    select a.book_id, b.tenant_id, a.action_id, a.version, a.state, a.recorded_at as known_from, a.superseded_at as known_to,
           a.cause, a.cause_seq, a.fill_id, a.leg, a.position_id, a.lot_id, a.instrument as instrument_id, a.ticker, a.direction,
           a.action_type, a.side, a.executed_at, a.venue_order, a.session_date, a.quantity, a.price, a.value, a.fees,
           a.cash_effect, a.multiplier, a.currency, a.realized_pnl, a.realized_pnl_gross, a.realized_pnl_base,
           a.position_quantity_after, a.position_quantity_opened_after, a.position_vwap_after, a.position_cost_basis_after,
           a.position_realized_pnl_after, a.unrealized_pnl_after, a.is_flat_after, a.reason, f.origin, a.meta, a.seq
      from ledger.execution_actions a
      join ledger.books b using (book_id)
      join ledger.fills f on f.book_id = a.book_id and f.seq = a.fill_seq;

create view ledger.v_closings as
    select c.book_id, b.tenant_id, c.action_id, a.position_id, c.lot_id, c.ordinal,
           round(c.quantity * l.split_factor / c.split_factor, 10) as quantity,
           round(a.price * c.split_factor / l.split_factor, 10) as price,
           round(c.lot_price * c.split_factor / l.split_factor, 10) as lot_price,
           c.close_value, c.lot_value, c.proceeds, c.lot_basis, c.realized_pnl, c.realized_pnl_gross, c.realized_pnl_base,
           a.currency, c.executed_at
      from ledger.closings c
      join ledger.books b using (book_id)
      join ledger.execution_actions a
        on a.book_id = c.book_id and a.action_id = c.action_id and a.version = c.version
       and a.superseded_at is null and a.state = 'BOOKED'
      join ledger.lots l on l.book_id = c.book_id and l.lot_id = c.lot_id;

-- A mark taken before a split is shown in today's units. Splits are few; a product is the exponent of a sum of logarithms,
-- so only marks that a split really touches are rescaled, and these are rounded to the price step.
create view ledger.v_marks as
    select m.book_id, b.tenant_id, m.instrument as instrument_id, m.marked_at as as_of, m.recorded_at,
           case when s.scale is null then m.price else round(m.price * s.scale, 10) end as price,
           case when s.scale is null then m.bid else round(m.bid * s.scale, 10) end as bid,
           case when s.scale is null then m.ask else round(m.ask * s.scale, 10) end as ask,
           m.source
      from ledger.marks m
      join ledger.books b using (book_id)
      left join lateral (
          select exp(sum(ln(j.ratio_den::numeric(40,20) / j.ratio_num))) as scale
            from (select distinct on (adjustment_id) * from ledger.adjustments
                   where book_id = m.book_id and instrument = m.instrument
                   order by adjustment_id, version desc) as j
           where not j.is_void and j.effective_at > m.marked_at) as s on true;

create view ledger.v_parked_fills as
    select k.book_id, b.tenant_id, k.fill_id, k.reason, k.parked_at, k.instrument as instrument_id, f.ticker, f.side, f.quantity,
           f.price, f.currency, f.executed_at, f.position_effect, f.direction
      from ledger.parked_fills k
      join ledger.books b using (book_id)
      join lateral (select * from ledger.fills f where f.book_id = k.book_id and f.fill_id = k.fill_id
                     order by f.source_revision desc, f.is_bust desc, f.version desc limit 1) as f on true;

create view ledger.v_breaks as select x.*, b.tenant_id from ledger.breaks x join ledger.books b using (book_id);
create view ledger.v_reconciliations as
    select x.*, b.tenant_id from ledger.reconciliations x join ledger.books b using (book_id);
create view ledger.v_audits as select x.*, b.tenant_id from ledger.audits x join ledger.books b using (book_id);
create view ledger.v_chain_anchors as
    select x.book_id, b.tenant_id, x.anchored_on, x.seq, encode(x.chain_head, 'hex') as chain_head, x.recorded_at
      from ledger.chain_anchors x join ledger.books b using (book_id);

-- Totals per currency, never across: cash, realized, fees, market value and unrealized at the last mark, equity. A missing
-- mark or an unknown part makes a figure NULL; missing_marks names the instruments. Staleness needs a clock: the reader's.
create view ledger.v_book_totals as
    with held as (
        select p.book_id, p.currency, p.instrument, p.cash_style, p.cost_basis, p.value_open, m.price as mark,
               case when p.direction = 'LONG' then 1 else -1 end as sign,
               round(p.quantity_open * m.price * p.multiplier, 8) as worth
          from ledger.positions p
          left join lateral (
              select v.price from ledger.v_marks v where v.book_id = p.book_id and v.instrument_id = p.instrument
               order by v.as_of desc limit 1) as m on true
         where p.status = 'OPEN'
    ), open_sums as (
        select book_id, currency,
               case when bool_and(worth is not null) then sum(sign * worth) end as market_value,
               case when bool_and(worth is not null and cost_basis is not null)
                    then sum(sign * (worth - cost_basis)) end as unrealized_pnl,
               case when bool_and(worth is not null and (cash_style = 'full' or value_open is not null))
                    then sum(case when cash_style = 'full' then sign * worth else sign * (worth - value_open) end) end as in_equity,
               array_agg(distinct instrument order by instrument) filter (where mark is null) as missing_marks
          from held group by book_id, currency
    ), booked as (
        select book_id, currency,
               case when bool_and(cash_effect is not null) then sum(cash_effect) end as cash_effect,
               case when bool_and(fees is not null) then sum(fees) end as fees
          from ledger.execution_actions where superseded_at is null and state = 'BOOKED' group by book_id, currency
    ), realized as (
        select book_id, currency, case when bool_and(realized_pnl is not null) then sum(realized_pnl) end as realized_pnl
          from ledger.positions where status <> 'VOID' group by book_id, currency
    ), currencies as (
        select book_id, base_currency as currency from ledger.books
        union select book_id, currency from booked
        union select book_id, currency from realized
    )
    select c.book_id, b.tenant_id, c.currency, t.cash,
           case when r.currency is null then 0 else r.realized_pnl end as realized_pnl,
           case when k.currency is null then 0 else k.fees end as fees,
           case when o.currency is null then 0 else o.market_value end as market_value,
           case when o.currency is null then 0 else o.unrealized_pnl end as unrealized_pnl,
           t.cash + case when o.currency is null then 0 else o.in_equity end as equity,
           coalesce(o.missing_marks, '{}') as missing_marks
      from currencies c
      join ledger.books b using (book_id)
      left join booked k on k.book_id = c.book_id and k.currency = c.currency
      left join realized r on r.book_id = c.book_id and r.currency = c.currency
      left join open_sums o on o.book_id = c.book_id and o.currency = c.currency
      cross join lateral (
          select case when c.currency = b.base_currency then b.start_cash else 0 end
                 + case when k.currency is null then 0 else k.cash_effect end as cash) as t;

-- The flat shape of a position; times are epoch milliseconds. TP_HIT_TRIM is a wire value: OPEN with a TRIM.
create view ledger.v_trades as
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
           p.quantity_closed / p.quantity_opened as trimmed_pct,
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

create view ledger.v_trade_events as
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
                then a.quantity / a.position_quantity_opened_after end as qty_pct_delta,
           case when a.action_type in ('TRIM', 'EXIT')
                then 1 - a.position_quantity_after / a.position_quantity_opened_after end as qty_pct_total
      from ledger.execution_actions a join ledger.books b using (book_id)
     where a.superseded_at is null and a.state = 'BOOKED';

-- Marks are input and may expire: {before, rows_max} -> deleted rows. Security definer: writers are not granted DELETE, and
-- no clock set ahead deletes what is younger than 700 days of real time.
create function ledger.purge_marks(document jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    deleted bigint;
begin
    delete from ledger.marks m where (m.book_id, m.instrument, m.bucket_at) in (
        select x.book_id, x.instrument, x.bucket_at from ledger.marks x
         where x.bucket_at < least((document->>'before')::timestamptz, clock_timestamp() - interval '700 days')
         limit (document->>'rows_max')::integer);
    get diagnostics deleted = row_count;
    return to_jsonb(deleted);
end $$;

-- Who may do what. Replay books are written by replay_writer only, all others by ledger_writer only.
do $$
declare
    name text;
begin
    foreach name in array array['books', 'fills', 'adjustments', 'positions', 'lots', 'execution_actions', 'closings',
                                'parked_fills', 'marks', 'reconciliations', 'breaks', 'audits', 'chain_anchors'] loop
        execute format('alter table ledger.%I enable row level security', name);
        execute format('create policy %I on ledger.%I for select using (true)', name || '_read', name);
        execute format('create policy %I on ledger.%I for all to ledger_writer '
                       'using (book_id not like ''replay:%%'') with check (book_id not like ''replay:%%'')', name || '_live', name);
        execute format('create policy %I on ledger.%I for all to replay_writer '
                       'using (book_id like ''replay:%%'') with check (book_id like ''replay:%%'')', name || '_replay', name);
        execute format('create policy %I on ledger.%I for all to ledger_maintenance using (true) with check (true)',
                       name || '_maintenance', name);
        execute format('grant select, insert on ledger.%I to ledger_writer, replay_writer, ledger_maintenance', name);
    end loop;
    foreach name in array array['direction', 'side', 'action_type', 'row_state', 'position_status', 'lot_method'] loop
        execute format('grant usage on type ledger.%I to ledger_reader, ledger_writer, replay_writer, ledger_maintenance, '
                       'desk_operator', name);
    end loop;
end $$;
grant usage on schema ledger to replay_writer, ledger_maintenance;
grant update (seq, chain_head, last_recorded_at, closed_at, closed_seq) on ledger.books to ledger_writer, replay_writer, ledger_maintenance;
grant update on ledger.positions, ledger.lots, ledger.parked_fills, ledger.marks, ledger.breaks
    to ledger_writer, replay_writer, ledger_maintenance;
grant update (superseded_at) on ledger.execution_actions to ledger_writer, replay_writer, ledger_maintenance;
grant delete on ledger.parked_fills to ledger_writer, replay_writer;
-- the journal too: only a rebuild that was told to accept a difference numbers it anew
grant delete on ledger.closings, ledger.execution_actions, ledger.lots, ledger.positions, ledger.parked_fills, ledger.fills,
    ledger.adjustments to ledger_maintenance;

revoke all on all functions in schema ledger from public;
grant execute on function ledger.open_book(jsonb), ledger.close_book(jsonb), ledger.lock_instruments(text, text[]), ledger.load(jsonb),
    ledger.totals(text, date), ledger.load_history(jsonb), ledger.apply(jsonb), ledger.put_positions(jsonb), ledger.mark(jsonb)
    to ledger_writer, replay_writer, ledger_maintenance;
grant execute on function ledger.clear_replay_book(text) to replay_writer;
grant execute on function ledger.purge_marks(jsonb) to ledger_writer;
grant select on ledger.v_books, ledger.v_positions, ledger.v_lots, ledger.v_actions, ledger.v_action_history, ledger.v_closings,
    ledger.v_marks, ledger.v_parked_fills, ledger.v_breaks, ledger.v_reconciliations, ledger.v_audits, ledger.v_chain_anchors,
    ledger.v_book_totals, ledger.v_trades, ledger.v_trade_events
    to ledger_reader, ledger_writer, replay_writer, tracker_reader, snapshot_reader, notify_reader, replay_reader;
grant ledger_reader, ledger_writer to desk_operator;
grant ledger_writer to replay_catch_up;

-- For ``rebuild --write`` alone (role ledger_maintenance): empty a book, then write what the journal says, in pages.
create function ledger.empty_book(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    emptied constant text := document->>'book_id';
begin
    delete from ledger.closings t where t.book_id = emptied;
    delete from ledger.execution_actions t where t.book_id = emptied;
    delete from ledger.lots t where t.book_id = emptied;
    delete from ledger.positions t where t.book_id = emptied;
    delete from ledger.parked_fills t where t.book_id = emptied;
    if (document->>'with_journal')::boolean then
        delete from ledger.fills t where t.book_id = emptied;
        delete from ledger.adjustments t where t.book_id = emptied;
    end if;
    update ledger.books b
       set seq = (document->>'seq')::bigint, chain_head = (document->>'chain_head')::bytea,
           last_recorded_at = (document->>'recorded_at')::timestamptz
     where b.book_id = emptied;
    return to_jsonb(found);
end $$;

create function ledger.restore(document jsonb) returns jsonb language plpgsql volatile as $$
begin
    insert into ledger.fills select * from jsonb_populate_recordset(null::ledger.fills, document->'fills');
    insert into ledger.adjustments select * from jsonb_populate_recordset(null::ledger.adjustments, document->'adjustments');
    insert into ledger.positions select * from jsonb_populate_recordset(null::ledger.positions, document->'positions');
    insert into ledger.lots select * from jsonb_populate_recordset(null::ledger.lots, document->'lots');
    insert into ledger.execution_actions
    select * from jsonb_populate_recordset(null::ledger.execution_actions, document->'actions');
    insert into ledger.closings select * from jsonb_populate_recordset(null::ledger.closings, document->'closings');
    insert into ledger.parked_fills select * from jsonb_populate_recordset(null::ledger.parked_fills, document->'parked');
    return 'true'::jsonb;
end $$;
grant execute on function ledger.empty_book(jsonb), ledger.restore(jsonb) to ledger_maintenance;

-- ==== 0004_signal.sql ================================================================================================

-- Room signal: every body a chart ever posted, what was decided on it and why, and the state each ticker stands in.
--
-- Two functions carry the hot path: signal.load locks the (book, ticker) row and answers one document, signal.apply writes
-- one document; rules live in Python only. Receipts are facts without a book; everything decided leads with its book.
-- Receipts, decisions, lane and stop moves are append-only by grants. Replay books are walled off by row-level security.

create type signal.lane as enum ('watch', 'setup_watch', 'flip_watch', 'just_flipped', 'enter_now', 'just_entered', 'hold',
                                 'trim', 'exit', 'archive');
create type signal.receipt_result as enum ('decided', 'late', 'stale', 'conflict');
create type signal.quarantine_source as enum ('ingest', 'worker', 'dead_letter');

-- ---- receipts and decisions, by month of ts ----

create table signal.receipts (
    receipt_id     uuid        not null,
    ticker         text        not null,
    ts             timestamptz not null,
    bucket_5m      timestamptz not null
                   generated always as (date_bin('5 minutes', ts, timestamptz '2000-01-01 00:00:00+00')) stored,
    time_close     timestamptz,
    received_at    timestamptz not null,
    recorded_at    timestamptz not null,
    payload_hash   text        not null,
    script_version text        not null,
    payload        text        not null,
    decision_input text        not null,
    repairs        text[]      not null,
    processed_at   timestamptz not null,
    result         signal.receipt_result not null,
    constraint receipts_pk primary key (receipt_id, ts),
    constraint receipts_hash_form check (payload_hash ~ '^[0-9a-f]{64}$'),
    constraint receipts_payload_size check (octet_length(payload) <= 131072)
) partition by range (ts);
comment on table signal.receipts is 'Append-only: each accepted body once, canonical, with what became of it when it arrived.';
comment on column signal.receipts.ts is 'The open of the bar.';
comment on column signal.receipts.decision_input is 'The fields that the rules read, one positional row, derived at arrival; equal to a fresh decode of payload.';
create index receipts_by_bucket on signal.receipts (bucket_5m, ts, ticker, received_at, receipt_id);
create index receipts_by_ticker on signal.receipts (ticker, bucket_5m, ts);
create index receipts_by_script on signal.receipts (script_version, bucket_5m);

create table signal.decisions (
    book_id       text        not null,
    ticker        text        not null,
    ts            timestamptz not null,
    receipt_id    uuid        not null,
    version       bigint      not null,
    lane          signal.lane not null,
    computed_lane signal.lane not null,
    rule          text        not null,
    reason        text        not null,
    badges        text[]      not null,
    side          text,
    score         numeric(5, 2),
    blocks        jsonb       not null,
    intents       jsonb       not null,
    account       jsonb,
    trace         jsonb       not null,
    profile       text        not null,
    config_digest text        not null,
    action_ids    uuid[]      not null,
    recorded_at   timestamptz not null,
    constraint decisions_pk primary key (book_id, ticker, ts),
    constraint decisions_side_known check (side in ('LONG', 'SHORT')),
    constraint decisions_score_range check (score between 0 and 100)
) partition by range (ts);
comment on table signal.decisions is 'Append-only: what was decided on each receipt, with every value that was compared.';
comment on column signal.decisions.lane is 'The lane shown on the board; computed_lane is what the rules said before hysteresis.';
create index decisions_by_receipt on signal.decisions (book_id, receipt_id);
-- Few receipts act; "why this action" looks among those only.
create index decisions_acting on signal.decisions (book_id, ts) where action_ids <> '{}';

-- Bodies compress to a third with lz4, ten times faster than with pglz; a server built without it keeps pglz.
do $$
begin
    alter table signal.receipts alter column payload set compression lz4, alter column decision_input set compression lz4;
exception when feature_not_supported then
    null;
end
$$;

do $$
declare
    month date;
    parent text;
begin
    foreach parent in array array['receipts', 'decisions'] loop
        for month in select generate_series(date '2026-01-01', date '2030-12-01', interval '1 month') loop
            execute format(
                'create table signal.%I partition of signal.%I for values from (%L) to (%L)',
                parent || to_char(month, '_YYYY_MM'), parent,
                to_char(month, 'YYYY-MM-DD 00:00:00+00'), to_char(month + interval '1 month', 'YYYY-MM-DD 00:00:00+00'));
        end loop;
        execute format('create table signal.%I partition of signal.%I default', parent || '_default', parent);
    end loop;
end
$$;
comment on table signal.receipts_default is 'Must stay empty: a row here means that a month is missing.';
comment on table signal.decisions_default is 'Must stay empty: a row here means that a month is missing.';

-- ---- where each ticker stands ----

create table signal.ticker_states (
    book_id            text        not null,
    ticker             text        not null,
    version            bigint      not null default 0,
    lane               signal.lane,
    rule               text,
    reason             text,
    badges             text[]      not null default '{}',
    blocks             jsonb       not null default '[]',
    lane_since         timestamptz,
    side               text,
    score              numeric(5, 2),
    last_price         numeric(28, 10),
    day_change_percent numeric(28, 4),
    last_ts            timestamptz,
    last_receipt_id    uuid,
    newest_ts          timestamptz,
    state              jsonb,
    updated_at         timestamptz,
    constraint ticker_states_pk primary key (book_id, ticker),
    constraint ticker_states_side_known check (side in ('LONG', 'SHORT')),
    constraint ticker_states_decided check ((lane is null) = (state is null)),
    constraint ticker_states_state_size check (pg_column_size(state) <= 8192)
) with (fillfactor = 70);
comment on table signal.ticker_states is 'One row per book and ticker: the lock of its receipts, the memory of its rules, the card on the board.';
comment on column signal.ticker_states.lane is 'Null until the first decided receipt.';
comment on column signal.ticker_states.newest_ts is 'Newest ts stored with any result: a receipt after it cannot be known yet, so nothing is looked up.';

create table signal.state_snapshots (
    book_id      text not null,
    session_date date not null,
    ticker       text not null,
    state        jsonb,
    constraint state_snapshots_pk primary key (book_id, session_date, ticker)
);
comment on table signal.state_snapshots is 'The state as it was before the first decided receipt of a session date (null: none yet); a replay starts from it.';

create table signal.lane_history (
    book_id    text        not null,
    ticker     text        not null,
    seq        integer     not null,
    from_lane  signal.lane,
    lane       signal.lane not null,
    rule       text        not null,
    reason     text        not null,
    badges     text[]      not null,
    blocks     jsonb       not null,
    price      numeric(28, 10) not null,
    score      numeric(5, 2),
    entered_at timestamptz not null,
    receipt_id uuid        not null,
    action_ids uuid[]      not null,
    constraint lane_history_pk primary key (book_id, ticker, seq)
);
comment on table signal.lane_history is 'Append-only: moves of the shown lane; entered_at is the ts of the receipt.';
create index lane_history_by_time on signal.lane_history (book_id, entered_at);

create table signal.plans (
    book_id       text    not null,
    position_id   uuid    not null,
    ticker        text    not null,
    side          text    not null,
    plan          jsonb   not null,
    stop          numeric(28, 10) not null,
    tiers_taken   smallint not null default 0,
    adds          smallint not null default 0,
    cycles_used   text[]  not null,
    sector        text,
    opened_at     timestamptz not null,
    closed_at     timestamptz,
    close_reason  text,
    profile       text    not null,
    config_digest text    not null,
    constraint plans_pk primary key (book_id, position_id),
    constraint plans_side_known check (side in ('LONG', 'SHORT')),
    constraint plans_tiers_range check (tiers_taken between 0 and 3),
    constraint plans_stop_positive check (stop > 0),
    constraint plans_closed_has_reason check ((closed_at is null) = (close_reason is null))
);
comment on table signal.plans is 'What an ENTRY froze, and what moved since: the stop, tiers taken, adds. Prices are in units of the entry.';
create unique index plans_one_open on signal.plans (book_id, ticker) where closed_at is null;
create index plans_open_by_sector on signal.plans (book_id, sector) where closed_at is null;

create table signal.stop_history (
    book_id     text        not null,
    position_id uuid        not null,
    ts          timestamptz not null,
    old_stop    numeric(28, 10) not null,
    new_stop    numeric(28, 10) not null,
    rule        text        not null,
    receipt_id  uuid        not null,
    constraint stop_history_pk primary key (book_id, position_id, ts),
    constraint stop_history_moves check (old_stop <> new_stop)
);
comment on table signal.stop_history is 'Append-only: moves of stops, in today''s units; they are not executions.';

-- ---- bodies that could not be used ----

create table signal.quarantine (
    quarantine_id uuid        not null,
    source        signal.quarantine_source not null,
    reason        text        not null,
    field         text,
    ticker        text,
    body          bytea,
    body_bytes    integer     not null,
    body_hash     bytea       not null,
    count         integer     not null default 1,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    resolved_at   timestamptz,
    resolution    text,
    constraint quarantine_pk primary key (quarantine_id),
    constraint quarantine_reason_body_key unique (reason, body_hash),
    constraint quarantine_body_size check (octet_length(body) <= 65536),
    constraint quarantine_hash_form check (octet_length(body_hash) = 32),
    constraint quarantine_resolved_how check ((resolved_at is null) = (resolution is null))
);
comment on table signal.quarantine is 'Authenticated bodies that were refused, tokens masked; the same body for the same reason only counts.';
comment on column signal.quarantine.body is 'Null in the one row per reason that counts bodies beyond 2,000 a day (its hash is zero).';
create index quarantine_kept on signal.quarantine (first_seen_at) where body is not null;
create index quarantine_last_seen on signal.quarantine (last_seen_at);

-- ---- row-level security: live writers and replay writers never meet ----

do $$
declare
    named text;
begin
    foreach named in array array['decisions', 'ticker_states', 'state_snapshots', 'lane_history', 'plans', 'stop_history'] loop
        execute format('alter table signal.%I enable row level security', named);
        execute format('alter table signal.%I force row level security', named);
        execute format('create policy %I on signal.%I for select using (true)', named || '_read', named);
        execute format('create policy %I on signal.%I for insert to signal_writer with check (book_id not like ''replay:%%'')',
                       named || '_live_insert', named);
        execute format('create policy %I on signal.%I for update to signal_writer using (book_id not like ''replay:%%'') '
                       'with check (book_id not like ''replay:%%'')', named || '_live_update', named);
        execute format('create policy %I on signal.%I for all to replay_writer using (book_id like ''replay:%%'') '
                       'with check (book_id like ''replay:%%'')', named || '_replay', named);
    end loop;
end
$$;

-- ---- the hot path: one document in, one document out ----

-- What the limits ask beyond the ledger's own totals: {book_id, sector, vix_ticker} -> {open_in_sector, vix, vix_at}.
-- A plan counts only while the ledger holds its position open: the ledger wins.
create function signal.facts(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_book  constant text := document->>'book_id';
    in_sector bigint;
    vix       signal.ticker_states%rowtype;
begin
    select count(*) into in_sector
      from signal.plans s
      join ledger.v_positions o on o.book_id = s.book_id and o.position_id = s.position_id
     where s.book_id = the_book and s.sector = document->>'sector' and s.closed_at is null and o.status = 'OPEN';
    select * into vix from signal.ticker_states where book_id = the_book and ticker = document->>'vix_ticker';
    return jsonb_build_object('open_in_sector', in_sector, 'vix', vix.last_price::text, 'vix_at', vix.last_ts);
end
$$;

-- Lock one ticker of a book and read what a decision needs:
-- {book_id, ticker, ts, receipt_id, facts: null or the document of signal.facts} ->
-- {is_known, decided_by, tickers, state, plan, facts}.
-- is_known: this very receipt is stored; decided_by: the receipt that was decided at this ts; tickers: how many the book
-- knows, asked only when this one is new. Lock first, read in following statements.
create function signal.load(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_book   constant text := document->>'book_id';
    the_ticker constant text := document->>'ticker';
    the_ts     constant timestamptz := (document->>'ts')::timestamptz;
    row_state  signal.ticker_states%rowtype;
    tickers    bigint;
    is_known   boolean := false;
    decided_by uuid;
begin
    select * into row_state from signal.ticker_states where book_id = the_book and ticker = the_ticker for update;
    if not found then
        select count(*) into tickers from signal.ticker_states where book_id = the_book;
        insert into signal.ticker_states (book_id, ticker) values (the_book, the_ticker)
            on conflict on constraint ticker_states_pk do nothing;
        select * into strict row_state from signal.ticker_states
         where book_id = the_book and ticker = the_ticker for update;
    end if;
    if row_state.newest_ts >= the_ts then
        is_known := exists (
            select from signal.receipts where receipt_id = (document->>'receipt_id')::uuid and ts = the_ts);
        select d.receipt_id into decided_by from signal.decisions d
         where d.book_id = the_book and d.ticker = the_ticker and d.ts = the_ts;
    end if;
    return jsonb_build_object(
        'is_known', is_known, 'decided_by', decided_by, 'tickers', tickers, 'state', row_state.state,
        'plan', (select jsonb_build_object(
                            'position_id', p.position_id, 'plan', p.plan, 'stop', p.stop::text,
                            'tiers_taken', p.tiers_taken, 'adds', p.adds, 'cycles_used', p.cycles_used,
                            'sector', p.sector)
                   from signal.plans p
                  where p.book_id = the_book and p.ticker = the_ticker and p.closed_at is null),
        'facts', case when jsonb_typeof(document->'facts') = 'object' then signal.facts(document->'facts') end);
end
$$;

-- Write what was decided, as lists, so that one receipt and a page of a replay use the same code:
-- {receipts, seen, snapshots, states, decisions, moves, plans_closed, plans_changed, plans_opened, stops, events}, each optional.
create function signal.apply(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    written bigint := 0;
begin
    -- What is not named is not touched: a statement without rows still costs, and a replay may not write receipts at all.
    if document ? 'receipts' then
        insert into signal.receipts (receipt_id, ticker, ts, time_close, received_at, recorded_at, payload_hash,
                                     script_version, payload, decision_input, repairs, processed_at, result)
        select * from jsonb_to_recordset(document->'receipts') as r(
            receipt_id uuid, ticker text, ts timestamptz, time_close timestamptz, received_at timestamptz,
            recorded_at timestamptz, payload_hash text, script_version text, payload text, decision_input text,
            repairs text[], processed_at timestamptz, result signal.receipt_result);
    end if;

    if document ? 'seen' then
        update signal.ticker_states s set newest_ts = greatest(s.newest_ts, r.newest_ts)
          from jsonb_to_recordset(document->'seen') as r(book_id text, ticker text, newest_ts timestamptz)
         where s.book_id = r.book_id and s.ticker = r.ticker;
    end if;

    if document ? 'snapshots' then
        insert into signal.state_snapshots (book_id, session_date, ticker, state)
        select * from jsonb_to_recordset(document->'snapshots') as r(
            book_id text, session_date date, ticker text, state jsonb)
            on conflict on constraint state_snapshots_pk do nothing;
    end if;

    if document ? 'states' then
        update signal.ticker_states s
           set version = r.version, lane = r.lane, rule = r.rule, reason = r.reason, badges = r.badges, blocks = r.blocks,
               lane_since = r.lane_since, side = r.side, score = r.score, last_price = r.last_price,
               day_change_percent = r.day_change_percent, last_ts = r.last_ts, last_receipt_id = r.last_receipt_id,
               newest_ts = greatest(s.newest_ts, r.last_ts), state = r.state, updated_at = r.updated_at
          from jsonb_to_recordset(document->'states') as r(
                   book_id text, ticker text, version bigint, lane signal.lane, rule text, reason text, badges text[],
                   blocks jsonb, lane_since timestamptz, side text, score numeric, last_price numeric,
                   day_change_percent numeric, last_ts timestamptz, last_receipt_id uuid, state jsonb,
                   updated_at timestamptz, loaded_version bigint)
         where s.book_id = r.book_id and s.ticker = r.ticker and s.version = r.loaded_version;
        get diagnostics written = row_count;
        if written <> jsonb_array_length(document->'states') then
            raise exception 'a ticker moved on since it was read'
                using errcode = 'P0001', constraint = 'ticker_states_version';
        end if;
    end if;

    if document ? 'decisions' then
        insert into signal.decisions (book_id, ticker, ts, receipt_id, version, lane, computed_lane, rule, reason, badges,
                                      side, score, blocks, intents, account, trace, profile, config_digest, action_ids,
                                      recorded_at)
        select * from jsonb_to_recordset(document->'decisions') as r(
            book_id text, ticker text, ts timestamptz, receipt_id uuid, version bigint, lane signal.lane,
            computed_lane signal.lane, rule text, reason text, badges text[], side text, score numeric, blocks jsonb,
            intents jsonb, account jsonb, trace jsonb, profile text, config_digest text, action_ids uuid[],
            recorded_at timestamptz);
    end if;

    if document ? 'moves' then
        insert into signal.lane_history (book_id, ticker, seq, from_lane, lane, rule, reason, badges, blocks, price, score,
                                         entered_at, receipt_id, action_ids)
        select r.book_id, r.ticker,
               coalesce((select max(h.seq) from signal.lane_history h
                          where h.book_id = r.book_id and h.ticker = r.ticker), 0)
                   + row_number() over (partition by r.book_id, r.ticker order by r.entered_at),
               r.from_lane, r.lane, r.rule, r.reason, r.badges, r.blocks, r.price, r.score, r.entered_at, r.receipt_id,
               r.action_ids
          from jsonb_to_recordset(document->'moves') as r(
                   book_id text, ticker text, from_lane signal.lane, lane signal.lane, rule text, reason text,
                   badges text[], blocks jsonb, price numeric, score numeric, entered_at timestamptz, receipt_id uuid,
                   action_ids uuid[]);
    end if;

    -- A flip closes one plan and opens the next of the same ticker: clear before set.
    if document ? 'plans_closed' then
        update signal.plans p set closed_at = r.closed_at, close_reason = r.close_reason
          from jsonb_to_recordset(document->'plans_closed') as r(
                   book_id text, position_id uuid, closed_at timestamptz, close_reason text)
         where p.book_id = r.book_id and p.position_id = r.position_id and p.closed_at is null;
    end if;

    if document ? 'plans_changed' then
        update signal.plans p
           set stop = r.stop, tiers_taken = r.tiers_taken, adds = r.adds, cycles_used = r.cycles_used
          from jsonb_to_recordset(document->'plans_changed') as r(
                   book_id text, position_id uuid, stop numeric, tiers_taken smallint, adds smallint, cycles_used text[])
         where p.book_id = r.book_id and p.position_id = r.position_id and p.closed_at is null;
    end if;

    if document ? 'plans_opened' then
        insert into signal.plans (book_id, position_id, ticker, side, plan, stop, tiers_taken, adds, cycles_used, sector,
                                  opened_at, profile, config_digest)
        select * from jsonb_to_recordset(document->'plans_opened') as r(
            book_id text, position_id uuid, ticker text, side text, plan jsonb, stop numeric, tiers_taken smallint,
            adds smallint, cycles_used text[], sector text, opened_at timestamptz, profile text, config_digest text);
    end if;

    if document ? 'stops' then
        insert into signal.stop_history (book_id, position_id, ts, old_stop, new_stop, rule, receipt_id)
        select * from jsonb_to_recordset(document->'stops') as r(
            book_id text, position_id uuid, ts timestamptz, old_stop numeric, new_stop numeric, rule text,
            receipt_id uuid);
    end if;

    if document ? 'events' then
        perform outbox.enqueue(document->'events');
    end if;
    return to_jsonb(written);
end
$$;

-- ---- quarantine ----

-- Keep a refused body or count it: {quarantine_id, overflow_id, source, reason, field, ticker, body (hex), body_bytes,
-- body_hash (hex), now, day_from, kept_max}. Beyond kept_max bodies a day only the row of the reason counts.
create function signal.put_aside(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    seen     integer;
    is_full  boolean;
begin
    update signal.quarantine
       set count = count + 1, last_seen_at = greatest(last_seen_at, desk_now), resolved_at = null, resolution = null
     where reason = document->>'reason' and body_hash = decode(document->>'body_hash', 'hex')
    returning count into seen;
    if found then
        return jsonb_build_object('count', seen, 'is_kept', true);
    end if;
    is_full := (select count(*) from signal.quarantine
                 where body is not null and first_seen_at >= (document->>'day_from')::timestamptz)
               >= (document->>'kept_max')::bigint;
    insert into signal.quarantine as q (quarantine_id, source, reason, field, ticker, body, body_bytes, body_hash,
                                        first_seen_at, last_seen_at)
    values ((document->>case when is_full then 'overflow_id' else 'quarantine_id' end)::uuid,
            (document->>'source')::signal.quarantine_source, document->>'reason',
            case when is_full then null else document->>'field' end,
            case when is_full then null else document->>'ticker' end,
            case when is_full then null else decode(document->>'body', 'hex') end,
            case when is_full then 0 else (document->>'body_bytes')::integer end,
            case when is_full then decode(repeat('00', 32), 'hex') else decode(document->>'body_hash', 'hex') end,
            desk_now, desk_now)
    on conflict on constraint quarantine_reason_body_key do update
       set count = q.count + 1, last_seen_at = greatest(q.last_seen_at, excluded.last_seen_at),
           resolved_at = null, resolution = null
    returning count into seen;
    return jsonb_build_object('count', seen, 'is_kept', not is_full);
end
$$;

-- ---- retention ----

-- Drop what has expired: {now} -> {partitions, quarantine}. Receipts and decisions 13 months, quarantine 90 days.
-- Security definer, because only an owner drops partitions; it never believes a clock that runs ahead of the receipts.
create function signal.purge(document jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    newest   constant timestamptz := (select max(newest_ts) from signal.ticker_states);
    expired  constant text := to_char((least(desk_now, newest) - interval '13 months') at time zone 'UTC', 'YYYY_MM');
    named    text;
    dropped  text[] := '{}';
    deleted  integer;
begin
    for named in
        select c.relname from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
         where i.inhparent in ('signal.receipts'::regclass, 'signal.decisions'::regclass)
           and c.relname ~ '_[0-9]{4}_[0-9]{2}$' and right(c.relname, 7) < expired
         order by c.relname
    loop
        execute format('drop table signal.%I', named);
        dropped := dropped || named;
    end loop;
    delete from signal.quarantine where last_seen_at < least(desk_now, newest) - interval '90 days';
    get diagnostics deleted = row_count;
    return jsonb_build_object('partitions', to_jsonb(dropped), 'quarantine', deleted);
end
$$;

-- ---- what others may read ----

create view signal.v_board as
    select s.book_id, s.ticker, s.lane, m.from_lane as previous_lane, s.rule, s.reason, s.badges, s.blocks, s.lane_since,
           s.side, s.score, s.last_price, s.day_change_percent, s.last_ts, s.last_receipt_id, s.updated_at,
           p.position_id, p.stop
      from signal.ticker_states s
      left join signal.plans p on p.book_id = s.book_id and p.ticker = s.ticker and p.closed_at is null
      left join lateral (select h.from_lane from signal.lane_history h
                          where h.book_id = s.book_id and h.ticker = s.ticker order by h.seq desc limit 1) m on true
     where s.lane is not null;
comment on view signal.v_board is 'One row per ticker with a decided receipt: the card on the board.';

create view signal.v_lane_moves as
    select book_id, ticker, seq, from_lane, lane, rule, reason, badges, blocks, price, score, entered_at,
           lead(entered_at) over (partition by book_id, ticker order by seq) as left_at, receipt_id, action_ids
      from signal.lane_history;
comment on view signal.v_lane_moves is 'Moves of the shown lane; left_at is null for the one that is shown.';

create view signal.v_decisions as
    select book_id, ticker, ts, receipt_id, version, lane, computed_lane, rule, reason, badges, side, score, blocks, intents,
           account, trace, profile, config_digest, action_ids, recorded_at
      from signal.decisions;
comment on view signal.v_decisions is 'Why this lane, and why no trade, for every decided receipt.';

create view signal.v_why as
    select a.action_id, d.book_id, d.ticker, d.ts, d.receipt_id, d.lane, d.computed_lane, d.rule, d.reason, d.badges, d.side,
           d.score, d.blocks, d.intents, d.account, d.trace, d.profile, d.config_digest, d.recorded_at
      from signal.decisions d cross join lateral unnest(d.action_ids) as a(action_id)
     where d.action_ids <> '{}';
comment on view signal.v_why is 'Why this action: the decision that led to it.';

create view signal.v_blocked_now as
    select s.book_id, s.ticker, s.lane, s.reason, b.block->>'rule' as rule, b.block->>'why' as why,
           b.block->'value' as value, b.block->'limit' as "limit", b.ordinality as position, s.last_ts, s.last_receipt_id
      from signal.ticker_states s cross join lateral jsonb_array_elements(s.blocks) with ordinality as b(block, ordinality)
     where s.lane is not null;
comment on view signal.v_blocked_now is 'Why no trade: the rules that stand in the way of each ticker at its last receipt.';

create view signal.v_coverage as
    select ticker, bucket_5m, count(*) as receipts, count(*) filter (where result = 'decided') as decided,
           count(*) filter (where result = 'late') as late, count(*) filter (where result = 'stale') as stale,
           count(*) filter (where result = 'conflict') as conflict, min(ts) as first_ts, max(ts) as last_ts
      from signal.receipts group by ticker, bucket_5m;
comment on view signal.v_coverage is 'Receipts per ticker and 5-minute bucket, by what became of them.';

create view signal.v_freshness as
    select book_id, ticker, last_ts, newest_ts, last_receipt_id, updated_at from signal.ticker_states;
comment on view signal.v_freshness is 'How recent each ticker is; ages are for the reader''s own clock.';

create view signal.v_receipts as
    select receipt_id, ticker, ts, bucket_5m, time_close, received_at, recorded_at, payload_hash, script_version, repairs,
           processed_at, result, payload
      from signal.receipts;
comment on view signal.v_receipts is 'The bodies themselves; a screen shows payload to administrators only.';

create view signal.v_plans as
    select book_id, position_id, ticker, side, plan, stop, tiers_taken, adds, cycles_used, sector, opened_at, closed_at,
           close_reason, profile, config_digest
      from signal.plans;
create view signal.v_stop_moves as
    select book_id, position_id, ts, old_stop, new_stop, rule, receipt_id from signal.stop_history;

create view signal.v_quarantine as
    select quarantine_id, source, reason, field, ticker, body is not null as is_kept, body_bytes,
           encode(body_hash, 'hex') as body_hash, count, first_seen_at, last_seen_at, resolved_at, resolution
      from signal.quarantine;
comment on view signal.v_quarantine is 'Refused bodies without the bodies.';

-- ---- grants ----

revoke all on all functions in schema signal from public;
grant usage on schema signal to replay_writer, desk_operator;

grant select on signal.v_board, signal.v_lane_moves, signal.v_decisions, signal.v_why, signal.v_blocked_now,
                signal.v_coverage, signal.v_freshness, signal.v_receipts, signal.v_plans, signal.v_stop_moves,
                signal.v_quarantine
    to signal_reader, desk_operator;

grant select, insert on signal.receipts, signal.decisions, signal.state_snapshots, signal.lane_history, signal.stop_history
    to signal_writer;
grant select, insert, update on signal.ticker_states, signal.plans, signal.quarantine to signal_writer;
grant execute on function signal.facts(jsonb), signal.load(jsonb), signal.apply(jsonb), signal.put_aside(jsonb),
                          signal.purge(jsonb)
    to signal_writer;

grant select on signal.receipts to replay_writer;
grant select, insert, delete on signal.decisions, signal.state_snapshots, signal.lane_history, signal.stop_history
    to replay_writer;
grant select, insert, update, delete on signal.ticker_states, signal.plans to replay_writer;
grant execute on function signal.facts(jsonb), signal.apply(jsonb) to replay_writer;

-- An operator reads a refused body, has its fix published, and notes what became of it.
grant select on signal.quarantine to desk_operator;
grant update (resolved_at, resolution) on signal.quarantine to desk_operator;

-- ==== 0005_notify.sql ================================================================================================

-- Room notify: what is told on Discord, how far the telling is, and everything Discord ever said about it.
--
-- All times are desk time given by the caller, except leases, which run on the server's real clock (clock_timestamp()).
-- The functions are dumb: they lock, read and write one document; every rule lives in fillbook.notify.

create table notify.channels (
    channel_id         text        not null,
    kind               text        not null,
    webhook_id         text,
    secret_name        text        not null,
    thread_id          text,
    discord_channel_id text,
    guild_id           text,
    status             text        not null default 'active',
    status_reason      text,
    status_at          timestamptz not null,
    digest             boolean     not null default false,
    event_seq          bigint      not null default 0,
    lease_token        uuid,
    lease_until        timestamptz,
    constraint channels_pk primary key (channel_id),
    constraint channels_kind check (kind in ('executions', 'ops', 'lanes')),
    constraint channels_status check (status in ('active', 'paused', 'disabled')),
    constraint channels_lease check ((lease_token is null) = (lease_until is null))
);
comment on table notify.channels is 'Where messages go. The webhook''s URL and token are secrets and never stored: only its id and the secret''s name.';
comment on column notify.channels.lease_until is 'Real time: one drainer at a time, whatever the desk clock does.';
comment on column notify.channels.event_seq is 'Version of the last event about this channel.';
comment on column notify.channels.discord_channel_id is 'Learned from Discord''s answers; the message limit is per Discord channel, over all its webhooks.';

create table notify.limits (
    scope        text        not null,
    set_at       timestamptz not null,
    paused_until timestamptz,
    remaining    integer,
    reset_at     timestamptz,
    recent_sends jsonb       not null default '[]',
    reason       text,
    strikes      integer     not null default 0,
    operations   jsonb       not null default '[]',
    constraint limits_pk primary key (scope),
    constraint limits_recent check (jsonb_typeof(recent_sends) = 'array' and jsonb_array_length(recent_sends) <= 30)
);
comment on table notify.limits is 'What may be sent when: global, webhook:<id>, bucket:<webhook>:<bucket>, channel:<id>.';
comment on column notify.limits.recent_sends is 'At most 30 [instant, operation], sliding windows count them.';
comment on column notify.limits.set_at is 'Desk time of the last change; a limit from long after now was set before the desk clock went back.';

create table notify.messages (
    channel_id         text        not null,
    subject_key        text        collate "C" not null,
    subject_kind       text        not null,
    book_id            text,
    action_id          uuid,
    position_id        uuid,
    replaces_action_id uuid,
    group_key          text        not null,
    priority           smallint    not null,
    order_at           timestamptz not null,
    order_seq          bigint      not null,
    wanted_version     integer     not null,
    wanted_seq         bigint      not null,
    wanted             jsonb       not null,
    wanted_hash        text        not null,
    memory             jsonb,
    quiet_at           timestamptz,
    replaced_by        text,
    state              text        not null,
    message_id         text,
    embed_index        smallint,
    webhook_id         text,
    posted_version     integer,
    posted_hash        text,
    posted_at          timestamptz,
    attempts           smallint    not null,
    next_attempt_at    timestamptz,
    pending_since      timestamptz,
    first_failed_at    timestamptz,
    claimed_at         timestamptz,
    maybe_created      boolean     not null,
    is_created_unknown boolean     not null,
    suspects           jsonb       not null,
    looked_at          timestamptz,
    blind_resends      smallint    not null,
    is_solo            boolean     not null,
    notes              jsonb       not null,
    dead_reason        text,
    deaths             integer     not null,
    created_at         timestamptz not null,
    verify_due         boolean     not null default false,
    proven_at          timestamptz,
    last_finding       text,
    constraint messages_pk primary key (channel_id, subject_key),
    constraint messages_place unique (channel_id, message_id, embed_index) deferrable initially deferred,
    constraint messages_channel foreign key (channel_id) references notify.channels,
    constraint messages_no_replay check (coalesce(book_id, '') not like 'replay:%' and subject_key not like 'replay:%'),
    constraint messages_kind check (subject_kind in ('execution', 'ops', 'lane')),
    constraint messages_state check (state in
        ('pending', 'sending', 'posted', 'ambiguous', 'dead', 'suppressed', 'muted', 'removed')),
    constraint messages_posted check (state <> 'posted' or message_id is not null),
    constraint messages_dead check ((state = 'dead') = (dead_reason is not null)),
    constraint messages_resent_once check (blind_resends between 0 and 1)
);
comment on table notify.messages is 'One row per subject and channel: what it should say, and how far the telling is.';
comment on column notify.messages.group_key is 'The position, or the subject itself: inside a group messages keep their order.';
comment on column notify.messages.suspects is 'Instants of creates whose fate is open: the double-search list.';
comment on column notify.messages.replaced_by is 'Another action took over this one''s message; events older than wanted_seq are stale.';
create index messages_waiting on notify.messages (channel_id, group_key, order_at, order_seq)
    where state in ('pending', 'ambiguous', 'sending') and message_id is null;
create index messages_edits on notify.messages (channel_id, next_attempt_at) where state = 'pending' and message_id is not null;
create index messages_open on notify.messages (channel_id, state, pending_since)
    where state in ('pending', 'sending', 'ambiguous', 'dead');
create index messages_posted_at on notify.messages (channel_id, posted_at) where posted_at is not null;
create index messages_by_message on notify.messages (channel_id, message_id) where message_id is not null;
create index messages_by_action on notify.messages (book_id, action_id);
create index messages_by_time on notify.messages (channel_id, order_at, subject_key);
create index messages_dead on notify.messages (dead_reason, created_at) where state = 'dead';
create index messages_quiet on notify.messages (quiet_at) where quiet_at is not null;
create index messages_doubtful on notify.messages (channel_id) where maybe_created;

create table notify.deliveries (
    channel_id  text        not null,
    event_id    uuid        not null,
    subject_key text        not null,
    event_type  text        not null,
    version     bigint      not null,
    outcome     text        not null,
    received_at timestamptz not null,
    constraint deliveries_pk primary key (channel_id, event_id),
    constraint deliveries_outcome check (outcome in ('created', 'updated', 'stale', 'suppressed', 'muted'))
);
comment on table notify.deliveries is 'Which event did what to which subject: the dedupe wall behind the inbox.';
create index deliveries_by_subject on notify.deliveries (channel_id, subject_key);

create table notify.attempts (
    attempt_id          uuid        not null,
    channel_id          text        not null,
    subject_keys        text[]      not null,
    operation           text        not null,
    started_at          timestamptz not null,
    finished_at         timestamptz,
    http_status         integer,
    discord_code        integer,
    retry_after_seconds numeric(12, 3),
    message_id          text,
    request_hash        text        not null,
    error               text,
    response_excerpt    text,
    constraint attempts_pk primary key (attempt_id),
    constraint attempts_operation check (operation in ('create', 'edit', 'delete', 'get')),
    constraint attempts_excerpt check (length(response_excerpt) <= 500)
);
comment on table notify.attempts is 'The delivery log: one row per request before it leaves, finished once by its answer; kept 90 days.';
create index attempts_by_time on notify.attempts (started_at desc, attempt_id);

create table notify.attempt_subjects (
    channel_id  text not null,
    subject_key text not null,
    attempt_id  uuid not null,
    constraint attempt_subjects_pk primary key (channel_id, subject_key, attempt_id),
    constraint attempt_subjects_attempt foreign key (attempt_id) references notify.attempts on delete cascade
);
comment on table notify.attempt_subjects is 'The delivery log by subject: which requests carried it.';
create index attempt_subjects_by_attempt on notify.attempt_subjects (attempt_id);

create table notify.reconcile_runs (
    run_id       uuid        not null,
    channel_id   text        not null,
    since        timestamptz not null,
    until        timestamptz not null,
    is_repairing boolean     not null,
    requested_by text        not null,
    status       text        not null,
    reason       text,
    queued_at    timestamptz not null,
    started_at   timestamptz,
    finished_at  timestamptz,
    cursor_at    timestamptz,
    cursor_key   text,
    phase        text        not null default 'messages',
    counts       jsonb       not null default '{}',
    heads        jsonb       not null default '[]',
    lease_token  uuid,
    lease_until  timestamptz,
    constraint reconcile_runs_pk primary key (run_id),
    constraint reconcile_runs_window check (since < until and until - since <= interval '31 days 1 hour'),
    constraint reconcile_runs_status check (status in ('queued', 'running', 'proven', 'repaired', 'open', 'aborted'))
);
comment on table notify.reconcile_runs is 'Every pass that compared what stands on Discord with the ledger.';
comment on column notify.reconcile_runs.heads is 'Seq of each book as seen when the run started, so that what was proven is known.';
create index reconcile_runs_waiting on notify.reconcile_runs (queued_at, run_id) where status in ('queued', 'running');
create index reconcile_runs_by_time on notify.reconcile_runs (queued_at desc, run_id);

create table notify.findings (
    run_id      uuid        not null,
    ordinal     integer     not null,
    kind        text        not null,
    channel_id  text        not null,
    subject_key text        not null,
    book_id     text,
    action_id   uuid,
    message_id  text,
    field       text,
    expected    text,
    found       text,
    differences jsonb       not null default '[]',
    note        text,
    found_at    timestamptz not null,
    repaired_at timestamptz,
    constraint findings_pk primary key (run_id, ordinal),
    constraint findings_run foreign key (run_id) references notify.reconcile_runs,
    constraint findings_kind check (kind in ('missing', 'wrong', 'double', 'orphan', 'unverifiable'))
);
comment on table notify.findings is 'What a run found, and when it was repaired; field, expected and found are the first of differences.';
create index findings_by_subject on notify.findings (channel_id, subject_key);

-- Replay books are never told; beside the check constraint this is the wall that any new role meets.
alter table notify.messages enable row level security;
alter table notify.messages force row level security;
create policy messages_read on notify.messages for select using (true);
create policy messages_insert on notify.messages for insert with check (coalesce(book_id, '') not like 'replay:%');
create policy messages_update on notify.messages for update using (true) with check (coalesce(book_id, '') not like 'replay:%');

-- A finished attempt is history.
create function notify.keep_finished() returns trigger language plpgsql as $$
begin
    if old.finished_at is not null then
        raise exception 'a finished attempt does not change' using errcode = 'P0001', constraint = 'attempts_append_only';
    end if;
    return new;
end $$;
create trigger attempts_append_only before update on notify.attempts
    for each row execute function notify.keep_finished();

-- --- storing --------------------------------------------------------------------------------------------------------

-- Configured channels: [{channel_id, kind, webhook_id, secret_name, thread_id, now}]. Another webhook makes a channel
-- active again and forgets what was learned about the old one; a stored status is otherwise kept.
create function notify.configure(document jsonb) returns jsonb language plpgsql volatile as $$
begin
    insert into notify.channels as c (channel_id, kind, webhook_id, secret_name, thread_id, status_at)
    select r.channel_id, r.kind, r.webhook_id, r.secret_name, r.thread_id, r.now
      from jsonb_to_recordset(document) as
           r(channel_id text, kind text, webhook_id text, secret_name text, thread_id text, now timestamptz)
     order by r.channel_id
    on conflict on constraint channels_pk do update
       set webhook_id = excluded.webhook_id, secret_name = excluded.secret_name, thread_id = excluded.thread_id,
           discord_channel_id = null, guild_id = null, status = 'active', status_reason = null, status_at = excluded.status_at
     where (c.webhook_id, c.secret_name, c.thread_id) is distinct from
           (excluded.webhook_id, excluded.secret_name, excluded.thread_id);
    return to_jsonb(found);
end $$;

-- The stored rows of {keys: [[channel, key]], prefixes: [[channel, prefix]]}; by prefix only subjects that are still open.
create function notify.hits(document jsonb) returns table (channel_id text, subject_key text)
language plpgsql volatile as $$
#variable_conflict use_column
begin return query
    select m.channel_id, m.subject_key
      from jsonb_array_elements(document->'keys') k
      join notify.messages m on m.channel_id = k->>0 and m.subject_key = k->>1
     union
    select m.channel_id, m.subject_key
      from jsonb_array_elements(document->'prefixes') p
      join notify.messages m on m.channel_id = p->>0 and m.subject_key >= p->>1 and m.subject_key < (p->>1) || chr(1114111)
     where m.memory->>'status' = 'open';
end $$;

-- Lock and read subjects: keys are locked whether or not a row exists, in one order, so that two events of one subject
-- are judged one after the other.
create function notify.load(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock(l.number) from (
        select distinct hashtextextended((k->>0) || chr(31) || (k->>1), 11) as number
          from jsonb_array_elements((document->'keys') || (document->'prefixes')) k order by 1) l;
    perform 1 from notify.messages m join notify.hits(document) h using (channel_id, subject_key)
      order by m.channel_id, m.subject_key for update of m;
    return (select coalesce(jsonb_agg(to_jsonb(m) order by m.channel_id, m.subject_key), '[]'::jsonb)
              from notify.messages m join notify.hits(document) h using (channel_id, subject_key));
end $$;

-- Write what an event made of its subjects: {delivery, rows, verify, events}. Rows come complete, read under the lock.
create function notify.apply(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    insert into notify.deliveries (channel_id, event_id, subject_key, event_type, version, outcome, received_at)
    select r.channel_id, r.event_id, r.subject_key, r.event_type, r.version, r.outcome, r.received_at
      from jsonb_to_record(nullif(document->'delivery', 'null')) as
           r(channel_id text, event_id uuid, subject_key text, event_type text, version bigint, outcome text,
             received_at timestamptz)
     where r.channel_id is not null
    on conflict on constraint deliveries_pk do nothing;

    insert into notify.messages
           (channel_id, subject_key, subject_kind, book_id, action_id, position_id, replaces_action_id, group_key, priority,
            order_at, order_seq, wanted_version, wanted_seq, wanted, wanted_hash, memory, quiet_at, replaced_by, state,
            message_id, embed_index, webhook_id, posted_version, posted_hash, posted_at, attempts, next_attempt_at,
            pending_since, first_failed_at, claimed_at, maybe_created, is_created_unknown, suspects, looked_at, blind_resends,
            is_solo, notes, dead_reason, deaths, created_at)
    select r.channel_id, r.subject_key, r.subject_kind, r.book_id, r.action_id, r.position_id, r.replaces_action_id,
           r.group_key, r.priority, r.order_at, r.order_seq, r.wanted_version, r.wanted_seq, r.wanted, r.wanted_hash, r.memory,
           r.quiet_at, r.replaced_by, r.state, r.message_id, r.embed_index, r.webhook_id, r.posted_version, r.posted_hash,
           r.posted_at, r.attempts, r.next_attempt_at, r.pending_since, r.first_failed_at, r.claimed_at, r.maybe_created,
           r.is_created_unknown, r.suspects, r.looked_at, r.blind_resends, r.is_solo, r.notes, r.dead_reason, r.deaths,
           r.created_at
      from jsonb_populate_recordset(null::notify.messages, document->'rows') r
    on conflict on constraint messages_pk do update
       set book_id = excluded.book_id, action_id = excluded.action_id, position_id = excluded.position_id,
           replaces_action_id = excluded.replaces_action_id, group_key = excluded.group_key, priority = excluded.priority,
           order_at = excluded.order_at, order_seq = excluded.order_seq, wanted_version = excluded.wanted_version,
           wanted_seq = excluded.wanted_seq, wanted = excluded.wanted, wanted_hash = excluded.wanted_hash,
           memory = excluded.memory, quiet_at = excluded.quiet_at, replaced_by = excluded.replaced_by, state = excluded.state,
           message_id = excluded.message_id, embed_index = excluded.embed_index, webhook_id = excluded.webhook_id,
           posted_version = excluded.posted_version, posted_hash = excluded.posted_hash, posted_at = excluded.posted_at,
           attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at, pending_since = excluded.pending_since,
           first_failed_at = excluded.first_failed_at, claimed_at = excluded.claimed_at,
           maybe_created = excluded.maybe_created, is_created_unknown = excluded.is_created_unknown,
           suspects = excluded.suspects, looked_at = excluded.looked_at, blind_resends = excluded.blind_resends,
           is_solo = excluded.is_solo, notes = excluded.notes, dead_reason = excluded.dead_reason, deaths = excluded.deaths;

    update notify.messages m set verify_due = true
      from jsonb_to_record(nullif(document->'verify', 'null')) as r(book_id text, first_at timestamptz, last_at timestamptz)
     where m.channel_id = 'executions' and m.book_id = r.book_id and m.order_at between r.first_at and r.last_at
       and not m.verify_due;
    perform outbox.enqueue(document->'events');
    return 'true'::jsonb;
end $$;

-- --- draining -------------------------------------------------------------------------------------------------------

-- Take a channel for one drainer: {channel_id, lease_token, lease_seconds} -> {leased}. Channels that share a webhook or a
-- Discord channel share its windows, so only one of them is drained at a time.
create function notify.lease(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    token constant uuid := (document->>'lease_token')::uuid;
    span  constant interval := make_interval(secs => (document->>'lease_seconds')::double precision);
    me    notify.channels;
begin
    select * into me from notify.channels c where c.channel_id = document->>'channel_id';
    perform 1 from notify.channels c
      where c.channel_id = me.channel_id or c.webhook_id = me.webhook_id or c.discord_channel_id = me.discord_channel_id
      order by c.channel_id for update;
    if exists (select from notify.channels c
                where (c.channel_id = me.channel_id or c.webhook_id = me.webhook_id
                       or c.discord_channel_id = me.discord_channel_id)
                  and c.lease_token is not null and c.lease_token <> token
                  and c.lease_until > clock_timestamp() and c.lease_until <= clock_timestamp() + span) then
        return jsonb_build_object('leased', false);
    end if;
    update notify.channels c set lease_token = token, lease_until = clock_timestamp() + span where c.channel_id = me.channel_id;
    return jsonb_build_object('leased', found);
end $$;

-- Whether this token still holds the channel; extends the lease when it does.
create function notify.hold(document jsonb) returns boolean language plpgsql volatile as $$
begin
    update notify.channels c
       set lease_until = clock_timestamp() + make_interval(secs => (document->>'lease_seconds')::double precision)
     where c.channel_id = document->>'channel_id' and c.lease_token = (document->>'lease_token')::uuid
       and c.lease_until > clock_timestamp();
    return found;
end $$;

-- What the next step of a leased channel is chosen from:
-- {channel_id, lease_token, lease_seconds, now, far, hold_seconds, expire_before, groups_max, rows_max, edits_max}
-- -> {leased, channel, ops_webhook_id, limits, rows, siblings, stuck, expired, answered, creates, next_at}.
-- Candidates are locked first and read in the statements after. Groups whose foremost row may go come first.
create function notify.turn(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    channel   constant text := document->>'channel_id';
    desk_now  constant timestamptz := (document->>'now')::timestamptz;
    far       constant timestamptz := (document->>'far')::timestamptz;
    hold      constant interval := make_interval(secs => (document->>'hold_seconds')::double precision);
    rows_max  constant integer := (document->>'rows_max')::integer;
    me        notify.channels;
    waiting   text[];
    edits     text[];
    stuck     text[];
    expired   text[];
begin
    if not notify.hold(document) then
        return jsonb_build_object('leased', false);
    end if;
    select * into me from notify.channels c where c.channel_id = channel;
    with unposted as (
        select m.subject_key, m.group_key, m.priority, m.order_at, m.order_seq, m.created_at, m.state, m.first_failed_at,
               m.is_created_unknown, m.next_attempt_at is not null and (m.next_attempt_at <= desk_now or m.next_attempt_at > far) as due
          from notify.messages m
         where m.channel_id = channel and m.message_id is null and m.state in ('pending', 'ambiguous', 'sending')
    ), heads as (
        select distinct on (u.group_key) u.group_key,
               u.due or coalesce(u.first_failed_at <= desk_now - hold, false) as is_free
          from unposted u where not u.is_created_unknown
         order by u.group_key, u.order_at, u.order_seq, u.subject_key
    ), groups as (
        select u.group_key, coalesce(h.is_free, true) as is_free, min(u.priority) filter (where u.state = 'pending') as rank,
               min(u.created_at) as oldest, min(u.order_at) as earliest, min(u.order_seq) as foremost
          from unposted u left join heads h using (group_key)
         group by u.group_key, h.is_free having bool_or(u.due)
         order by 2 desc, 3, 4, 5, 6, 1 limit (document->>'groups_max')::integer
    ), foremost as (
        select u.subject_key from unposted u join groups g using (group_key)
         order by g.is_free desc, g.rank, g.oldest, g.earliest, g.foremost, g.group_key, u.order_at, u.order_seq, u.subject_key limit rows_max
    )
    select array_agg(subject_key) into waiting from foremost;
    select array_agg(e.subject_key) into edits from (
        select m.subject_key from notify.messages m
         where m.channel_id = channel and m.state = 'pending' and m.message_id is not null
           and (m.next_attempt_at <= desk_now or m.next_attempt_at > far)
         order by m.next_attempt_at, m.subject_key limit (document->>'edits_max')::integer) e;
    select array_agg(m.subject_key) into stuck from notify.messages m where m.channel_id = channel and m.state = 'sending';
    select array_agg(e.subject_key) into expired from (
        select m.subject_key from notify.messages m
         where m.channel_id = channel and m.state = 'pending' and m.attempts = 0
           and m.pending_since < (document->>'expire_before')::timestamptz
         order by m.subject_key limit rows_max) e;
    perform 1 from notify.messages m
      where m.channel_id = channel
        and (m.subject_key = any (waiting || edits || stuck || expired)
             or m.message_id in (select s.message_id from notify.messages s
                                  where s.channel_id = channel and s.subject_key = any (edits)))
      order by m.subject_key for update;
    return jsonb_build_object(
        'leased', true,
        'channel', to_jsonb(me) - 'lease_token' - 'lease_until',
        'ops_webhook_id', (select c.webhook_id from notify.channels c where c.channel_id = 'ops'),
        'limits', notify.limits_of(me),
        'rows', notify.rows_of(channel, waiting || edits),
        'siblings', (
            select coalesce(jsonb_agg(to_jsonb(m)), '[]'::jsonb) from notify.messages m
             where m.channel_id = channel
               and m.message_id in (select s.message_id from notify.messages s
                                     where s.channel_id = channel and s.subject_key = any (edits))),
        'stuck', notify.rows_of(channel, stuck),
        'expired', notify.rows_of(channel, expired),
        'answered', (
            select coalesce(jsonb_agg(jsonb_build_object(
                       'subject_key', m.subject_key, 'message_id', a.message_id,
                       'embed_index', array_position(a.subject_keys, m.subject_key) - 1)), '[]'::jsonb)
              from notify.messages m
              join notify.attempt_subjects s on s.channel_id = m.channel_id and s.subject_key = m.subject_key
              join notify.attempts a on a.attempt_id = s.attempt_id
             where m.channel_id = channel and m.subject_key = any (stuck) and a.operation = 'create'
               and a.started_at = m.claimed_at and a.http_status = 200 and a.error is null and a.message_id is not null),
        'creates', (select count(*) from notify.messages m
                     where m.channel_id = channel and m.state = 'pending' and m.message_id is null),
        'next_at', (
            select least(min(m.next_attempt_at) filter (where m.next_attempt_at > desk_now and m.next_attempt_at <= far),
                         min(m.first_failed_at + hold) filter (where m.message_id is null and m.first_failed_at + hold > desk_now))
              from notify.messages m
             where m.channel_id = channel and m.state in ('pending', 'ambiguous')));
end $$;

create function notify.rows_of(channel text, keys text[]) returns jsonb
language plpgsql volatile as $$
begin
    if keys is null then
        return '[]'::jsonb;
    end if;
    return (select coalesce(jsonb_agg(to_jsonb(m) order by m.subject_key), '[]'::jsonb)
              from notify.messages m where m.channel_id = channel and m.subject_key = any (keys));
end $$;

-- Every limit that a request of this channel can meet.
create function notify.limits_of(me notify.channels) returns jsonb
language plpgsql volatile as $$
begin return (
    select coalesce(jsonb_agg(to_jsonb(l)), '[]'::jsonb)
      from notify.limits l
     where l.scope in ('global', 'webhook:' || me.webhook_id, 'channel:' || coalesce(me.discord_channel_id, me.channel_id))
        or (l.scope >= 'bucket:' || me.webhook_id || ':' and l.scope < 'bucket:' || me.webhook_id || ';'));
end $$;

-- Limits as they become. A pause never gets shorter, except when it was set before the desk clock went back.
create function notify.set_limits(document jsonb) returns void
language plpgsql volatile as $$
begin
    insert into notify.limits as l (scope, set_at, paused_until, remaining, reset_at, recent_sends, reason, strikes, operations)
    select r.scope, r.set_at, r.paused_until, r.remaining, r.reset_at, r.recent_sends, r.reason, r.strikes, r.operations
      from jsonb_populate_recordset(null::notify.limits, document) r order by r.scope
    on conflict on constraint limits_pk do update
       set set_at = excluded.set_at, remaining = excluded.remaining, reset_at = excluded.reset_at,
           recent_sends = excluded.recent_sends, reason = excluded.reason, strikes = excluded.strikes,
           operations = excluded.operations,
           paused_until = case when l.set_at > excluded.set_at + interval '1 hour' then excluded.paused_until
                               else greatest(l.paused_until, excluded.paused_until) end;
end $$;

-- Before a request leaves: {channel_id, lease_token, lease_seconds, now, attempt, subject_keys, limits}. The rows become
-- sending and the attempt is written; a lost lease raises, so nothing is sent.
create function notify.claim(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    if not notify.hold(document) then
        raise exception 'another drainer holds the channel' using errcode = 'P0001', constraint = 'lease_lost';
    end if;
    insert into notify.attempts (attempt_id, channel_id, subject_keys, operation, started_at, request_hash)
    select r.attempt_id, document->>'channel_id', array(select jsonb_array_elements_text(document->'logged_keys')),
           r.operation, (document->>'now')::timestamptz, r.request_hash
      from jsonb_to_record(document->'attempt') as r(attempt_id uuid, operation text, request_hash text);
    insert into notify.attempt_subjects (channel_id, subject_key, attempt_id)
    select document->>'channel_id', k.key, (document->'attempt'->>'attempt_id')::uuid
      from jsonb_array_elements_text(document->'logged_keys') k(key);
    update notify.messages m set state = 'sending', claimed_at = (document->>'now')::timestamptz
     where m.channel_id = document->>'channel_id'
       and m.subject_key in (select jsonb_array_elements_text(document->'subject_keys'));
    perform notify.set_limits(document->'limits');
    return 'true'::jsonb;
end $$;

-- Where a subject's message went: an action whose place was taken by another (by another, …) is recorded there.
create function notify.heir(channel text, key text) returns text
language plpgsql volatile as $$
begin return (
    with recursive line as (
        select key as subject_key, 0 as depth
         union all
        select m.replaced_by, l.depth + 1 from line l
          join notify.messages m on m.channel_id = channel and m.subject_key = l.subject_key
         where m.replaced_by is not null and l.depth < 20
    )
    select l.subject_key from line l order by l.depth desc limit 1);
end $$;

-- After an answer, or after a decision without a request:
-- {channel_id, lease_token, lease_seconds, now, attempt, rows, limits, channel, events} -> {held}.
-- The attempt is finished in any case (what Discord said stays known); the rest only under the lease. A row whose wish
-- changed meanwhile (wanted_hash differs from the one that was sent) is pending again at once.
create function notify.settle(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    channel  constant text := document->>'channel_id';
    desk_now constant timestamptz := (document->>'now')::timestamptz;
begin
    update notify.attempts a
       set finished_at = r.finished_at, http_status = r.http_status, discord_code = r.discord_code,
           retry_after_seconds = r.retry_after_seconds, message_id = r.message_id, error = r.error,
           response_excerpt = r.response_excerpt
      from jsonb_to_record(nullif(document->'attempt', 'null')) as
           r(attempt_id uuid, finished_at timestamptz, http_status integer, discord_code integer,
             retry_after_seconds numeric, message_id text, error text, response_excerpt text)
     where a.attempt_id = r.attempt_id and a.finished_at is null;
    if not notify.hold(document) then
        return jsonb_build_object('held', false);
    end if;
    with settled as materialized (
        select r.*, notify.heir(channel, r.subject_key) as heir
          from jsonb_populate_recordset(null::notify.messages, document->'rows') r
    )
    update notify.messages m
       set state = case when r.state in ('posted', 'dead') and m.wanted_hash <> r.wanted_hash then 'pending' else r.state end,
           next_attempt_at = case when r.state in ('posted', 'dead') and m.wanted_hash <> r.wanted_hash then desk_now
                                  else r.next_attempt_at end,
           pending_since = case when r.state in ('posted', 'dead') and m.wanted_hash <> r.wanted_hash then desk_now
                                else r.pending_since end,
           dead_reason = case when m.wanted_hash <> r.wanted_hash then null else r.dead_reason end,
           attempts = case when r.state in ('posted', 'dead') and m.wanted_hash <> r.wanted_hash then 0 else r.attempts end,
           message_id = r.message_id, embed_index = r.embed_index, webhook_id = r.webhook_id,
           posted_version = r.posted_version, posted_hash = r.posted_hash, posted_at = r.posted_at,
           first_failed_at = r.first_failed_at, maybe_created = r.maybe_created, is_created_unknown = r.is_created_unknown,
           suspects = r.suspects, looked_at = r.looked_at, blind_resends = r.blind_resends, is_solo = r.is_solo,
           notes = r.notes, deaths = r.deaths
      from settled r
     where m.channel_id = channel and m.subject_key = r.heir;
    perform notify.set_limits(document->'limits');
    update notify.channels c
       set status = r.status, status_reason = r.status_reason, digest = r.digest, event_seq = r.event_seq,
           status_at = case when c.status is distinct from r.status then desk_now else c.status_at end,
           discord_channel_id = coalesce(r.discord_channel_id, c.discord_channel_id), guild_id = coalesce(r.guild_id, c.guild_id)
      from jsonb_to_record(nullif(document->'channel', 'null')) as
           r(status text, status_reason text, digest boolean, event_seq bigint, discord_channel_id text, guild_id text)
     where c.channel_id = channel and r.status is not null;
    perform outbox.enqueue(document->'events');
    return jsonb_build_object('held', true);
end $$;

-- Give the channel back: {channel_id, lease_token}. Called in the transaction of the last turn, whose lock on the channel
-- makes a storer's attempt to lease wait: either the turn saw its message, or it gets the lease.
create function notify.release(document jsonb) returns jsonb language plpgsql volatile as $$
begin
    update notify.channels c set lease_token = null, lease_until = null
     where c.channel_id = document->>'channel_id' and c.lease_token = (document->>'lease_token')::uuid;
    return to_jsonb(found);
end $$;

-- Which of {message_ids} stand on record in {channel_id}.
create function notify.known(document jsonb) returns jsonb language sql volatile as $$
    select coalesce(jsonb_agg(distinct m.message_id), '[]'::jsonb)
      from notify.messages m
     where m.channel_id = document->>'channel_id'
       and m.message_id in (select jsonb_array_elements_text(document->'message_ids'))
$$;

-- Subjects that nobody has reported for a day: {now, rows_max} -> rows, locked.
create function notify.quiet(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    keys text[];
begin
    select array_agg(q.subject_key) into keys from (
        select m.subject_key from notify.messages m
         where m.channel_id = 'ops' and m.quiet_at <= (document->>'now')::timestamptz
         order by m.quiet_at, m.subject_key limit (document->>'rows_max')::integer) q;
    perform 1 from notify.messages m where m.channel_id = 'ops' and m.subject_key = any (keys) order by m.subject_key for update;
    return notify.rows_of('ops', keys);
end $$;

-- Forget requests older than {before}, at most {rows_max} -> how many.
create function notify.purge(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    gone integer;
begin
    delete from notify.attempts where attempt_id in (
        select a.attempt_id from notify.attempts a where a.started_at < (document->>'before')::timestamptz
         order by a.started_at limit (document->>'rows_max')::integer);
    get diagnostics gone = row_count;
    return to_jsonb(gone);
end $$;

-- --- proving --------------------------------------------------------------------------------------------------------

-- Queue a proof: {run_id, channel_id, since, until, is_repairing, requested_by, now} -> {is_new}.
create function notify.ask_run(document jsonb) returns jsonb language plpgsql volatile as $$
begin
    insert into notify.reconcile_runs (run_id, channel_id, since, until, is_repairing, requested_by, status, queued_at)
    select r.run_id, r.channel_id, r.since, r.until, r.is_repairing, r.requested_by, 'queued', r.now
      from jsonb_to_record(document) as r(run_id uuid, channel_id text, since timestamptz, until timestamptz,
                                          is_repairing boolean, requested_by text, now timestamptz)
    on conflict on constraint reconcile_runs_pk do nothing;
    return jsonb_build_object('is_new', found);
end $$;

-- Take the oldest unfinished proof, one at a time: {token, lease_seconds, now, run_id?} -> the run, or null while another
-- works. A run that was begun is finished first.
create function notify.take_run(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    span constant interval := make_interval(secs => (document->>'lease_seconds')::double precision);
    run  notify.reconcile_runs;
begin
    perform pg_advisory_xact_lock(hashtextextended('notify.reconcile_runs', 11));
    if exists (select from notify.reconcile_runs r
                where r.status = 'running' and r.lease_until > clock_timestamp() and r.lease_until <= clock_timestamp() + span) then
        return 'null'::jsonb;
    end if;
    update notify.reconcile_runs r
       set status = 'running', started_at = coalesce(r.started_at, (document->>'now')::timestamptz),
           lease_token = (document->>'token')::uuid, lease_until = clock_timestamp() + span
     where r.run_id = (select q.run_id from notify.reconcile_runs q
                        where q.status in ('queued', 'running')
                          and (document->>'run_id' is null or q.run_id = (document->>'run_id')::uuid)
                        order by q.status desc, q.queued_at, q.run_id limit 1)
    returning * into run;
    return case when run.run_id is null then 'null'::jsonb else to_jsonb(run) end;
end $$;

-- Record progress: {run_id, token, lease_seconds, now, phase, cursor_at, cursor_key, counts, heads, findings, repaired,
-- proven, status, reason, events} -> {held}. A status ends the run or, 'queued', gives it back for a later tick.
create function notify.record_run(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    run       constant uuid := (document->>'run_id')::uuid;
    desk_now  constant timestamptz := (document->>'now')::timestamptz;
    outcome   constant text := coalesce(document->>'status', 'running');
    last      integer;
begin
    update notify.reconcile_runs r
       set phase = document->>'phase', cursor_at = (document->>'cursor_at')::timestamptz, cursor_key = document->>'cursor_key',
           counts = document->'counts', heads = coalesce(nullif(document->'heads', 'null'), r.heads),
           status = case when outcome = 'queued' then 'running' else outcome end, reason = document->>'reason',
           finished_at = case when outcome in ('running', 'queued') then null else desk_now end,
           lease_token = case when outcome = 'running' then r.lease_token end,
           lease_until = case when outcome = 'running'
                              then clock_timestamp() + make_interval(secs => (document->>'lease_seconds')::double precision) end
     where r.run_id = run and r.lease_token = (document->>'token')::uuid;
    if not found then
        return jsonb_build_object('held', false);
    end if;
    select coalesce(max(f.ordinal), 0) into last from notify.findings f where f.run_id = run;
    insert into notify.findings (run_id, ordinal, kind, channel_id, subject_key, book_id, action_id, message_id, field, expected,
                                 found, differences, note, found_at, repaired_at)
    select run, last + r.ordinality, r.kind, r.channel_id, r.subject_key, r.book_id, r.action_id, r.message_id,
           r.differences->0->>'field', r.differences->0->>'expected', r.differences->0->>'found', r.differences, r.note, desk_now,
           r.repaired_at
      from rows from (jsonb_to_recordset(document->'findings') as (
               kind text, channel_id text, subject_key text, book_id text, action_id uuid, message_id text, differences jsonb,
               note text, repaired_at timestamptz)) with ordinality as r;
    update notify.findings f set repaired_at = desk_now
     where f.run_id = run and f.repaired_at is null
       and f.ordinal in (select value::integer from jsonb_array_elements_text(document->'repaired'));
    update notify.messages m
       set proven_at = case when r.last_finding is null then desk_now else m.proven_at end, last_finding = r.last_finding,
           verify_due = m.verify_due and r.last_finding is not null
      from jsonb_to_recordset(document->'proven') as r(channel_id text, subject_key text, last_finding text)
     where m.channel_id = r.channel_id and m.subject_key = r.subject_key;
    perform outbox.enqueue(document->'events');
    return jsonb_build_object('held', true);
end $$;

-- Subjects whose copies have been searched for are no longer doubted: {channel_id, before}.
create function notify.undoubt(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    cleared integer;
begin
    update notify.messages m set maybe_created = false, suspects = '[]'
     where m.channel_id = document->>'channel_id' and m.maybe_created and m.state = 'posted'
       and not exists (select from jsonb_array_elements_text(m.suspects) s
                        where s::timestamptz > (document->>'before')::timestamptz);
    get diagnostics cleared = row_count;
    return to_jsonb(cleared);
end $$;

-- Rows as they stand: {channel_id, keys} -> rows, not locked.
create function notify.peek(document jsonb) returns jsonb language sql volatile as $$
    select notify.rows_of(document->>'channel_id', array(select jsonb_array_elements_text(document->'keys')))
$$;

-- Rows whose copies may stand twice: {channel_id, rows_max} -> rows.
create function notify.doubtful(document jsonb) returns jsonb language sql volatile as $$
    select coalesce(jsonb_agg(to_jsonb(d) order by d.subject_key), '[]'::jsonb)
      from (select m.* from notify.messages m
             where m.channel_id = document->>'channel_id' and (m.maybe_created or m.is_created_unknown)
             order by m.subject_key limit (document->>'rows_max')::integer) d
$$;

-- --- people ---------------------------------------------------------------------------------------------------------

-- Switch a channel: {channel_id, status, status_reason, now} -> the channel. Enabling lets what waited start afresh: it
-- did not expire while nothing could go out.
create function notify.switch(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    me notify.channels;
begin
    update notify.channels c
       set status = document->>'status', status_reason = document->>'status_reason',
           status_at = (document->>'now')::timestamptz, guild_id = coalesce(document->>'guild_id', c.guild_id),
           discord_channel_id = coalesce(document->>'discord_channel_id', c.discord_channel_id)
     where c.channel_id = document->>'channel_id'
    returning * into me;
    if document->>'status' = 'active' then
        update notify.messages m set pending_since = (document->>'now')::timestamptz
         where m.channel_id = document->>'channel_id' and m.state = 'pending';
    end if;
    return to_jsonb(me) - 'lease_token' - 'lease_until';
end $$;

-- Dead letters again: {channel_id?, reason?, subject?, since?, now, rows_max, dry_run} -> [[channel_id, subject_key, reason]].
-- The ladder starts anew, order and pacing stay; what is posted or pending is not touched.
create function notify.replay(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    chosen jsonb;
begin
    perform 1 from notify.messages m where m.state = 'dead' order by m.channel_id, m.subject_key for update;
    select coalesce(jsonb_agg(jsonb_build_array(d.channel_id, d.subject_key, d.dead_reason) order by d.order_at, d.subject_key),
                    '[]'::jsonb)
      into chosen
      from (select m.* from notify.messages m
             where m.state = 'dead'
               and (document->>'channel_id' is null or m.channel_id = document->>'channel_id')
               and (document->>'reason' is null or m.dead_reason = document->>'reason')
               and (document->>'subject' is null or m.subject_key = document->>'subject')
               and (document->>'since' is null or m.created_at >= (document->>'since')::timestamptz)
             order by m.order_at, m.subject_key limit (document->>'rows_max')::integer) d;
    if not (document->>'dry_run')::boolean then
        update notify.messages m
           set state = 'pending', dead_reason = null, attempts = 0, first_failed_at = null, is_solo = false,
               is_created_unknown = false, blind_resends = 0,
               next_attempt_at = (document->>'now')::timestamptz, pending_since = (document->>'now')::timestamptz
          from jsonb_array_elements(chosen) d
         where m.channel_id = d->>0 and m.subject_key = d->>1 and m.state = 'dead';
    end if;
    return chosen;
end $$;

-- --- views ----------------------------------------------------------------------------------------------------------

create view notify.v_channels as
    select c.channel_id, c.kind, c.webhook_id, c.thread_id, c.discord_channel_id, c.guild_id, c.status, c.status_reason,
           c.status_at, c.digest, d.pending, d.ambiguous, d.dead, d.oldest_pending_at, t.last_posted_at,
           p.paused_until, p.reason as paused_reason
      from notify.channels c
      left join lateral (
        select count(*) filter (where m.state in ('pending', 'sending')) as pending,
               count(*) filter (where m.state = 'ambiguous') as ambiguous,
               count(*) filter (where m.state = 'dead') as dead,
               min(m.pending_since) filter (where m.state in ('pending', 'sending')) as oldest_pending_at
          from notify.messages m
         where m.channel_id = c.channel_id and m.state in ('pending', 'sending', 'ambiguous', 'dead')) d on true
      left join lateral (
        select m.posted_at as last_posted_at from notify.messages m
         where m.channel_id = c.channel_id and m.posted_at is not null order by m.posted_at desc limit 1) t on true
      left join lateral (
        select l.paused_until, l.reason from notify.limits l
         where l.scope in ('global', 'webhook:' || c.webhook_id, 'channel:' || coalesce(c.discord_channel_id, c.channel_id))
           and l.paused_until is not null
         order by l.paused_until desc limit 1) p on true;
comment on view notify.v_channels is 'Channels with depth, oldest pending, and the latest pause ever told (compare paused_until with the desk clock).';

create view notify.v_messages as
    select m.channel_id, m.subject_key, m.subject_kind, m.book_id, m.action_id, m.position_id, m.state, m.dead_reason,
           m.wanted->>'title' as title, m.wanted_version, m.posted_version, m.message_id, m.embed_index, m.webhook_id,
           m.posted_at, m.attempts, m.next_attempt_at, m.pending_since, m.maybe_created, m.is_created_unknown, m.blind_resends,
           m.notes, m.verify_due, m.proven_at, m.last_finding, m.order_at as occurred_at, m.created_at, m.deaths,
           case when m.message_id is not null and c.guild_id is not null
                then 'https://discord.com/channels/' || c.guild_id || '/' || coalesce(c.thread_id, c.discord_channel_id)
                     || '/' || m.message_id end as message_url
      from notify.messages m join notify.channels c using (channel_id);
comment on view notify.v_messages is 'One row per subject and channel: wanted and posted version, state, message id, proof.';

create view notify.v_delivery_log as
    select m.channel_id, m.subject_key, m.subject_kind, m.book_id, m.action_id, m.position_id, m.state, m.wanted_version,
           m.posted_version, m.message_id, m.embed_index, a.attempt_id, a.operation, a.started_at, a.finished_at, a.http_status,
           a.discord_code, a.retry_after_seconds, a.message_id as answered_message_id, a.error, a.response_excerpt
      from notify.messages m
      left join notify.attempt_subjects s on s.channel_id = m.channel_id and s.subject_key = m.subject_key
      left join notify.attempts a on a.attempt_id = s.attempt_id;
comment on view notify.v_delivery_log is 'Was subject X told, when, as which message, what did Discord say: every request per subject; a subject without requests has one row with nulls.';

create view notify.v_reconcile_runs as
    select run_id, channel_id, since, until, is_repairing, requested_by, status, reason, queued_at, started_at, finished_at, counts,
           heads
      from notify.reconcile_runs;
create view notify.v_findings as
    select f.run_id, f.ordinal, f.kind, f.channel_id, f.subject_key, f.book_id, f.action_id, f.message_id, f.field, f.expected,
           f.found, f.differences, f.note, f.found_at, f.repaired_at
      from notify.findings f;

-- --- grants ---------------------------------------------------------------------------------------------------------

grant select on notify.v_channels, notify.v_messages, notify.v_delivery_log, notify.v_reconcile_runs, notify.v_findings
    to notify_reader, notify_writer, tracker_reader, desk_operator;
grant usage on schema notify to tracker_reader, desk_operator;
grant select, insert, update on notify.channels, notify.limits, notify.messages, notify.reconcile_runs, notify.findings
    to notify_writer;
grant select, insert on notify.deliveries, notify.attempt_subjects to notify_writer;
grant select, insert, delete on notify.attempts to notify_writer;
grant update (finished_at, http_status, discord_code, retry_after_seconds, message_id, error, response_excerpt)
    on notify.attempts to notify_writer;
grant execute on all functions in schema notify to notify_writer;
grant notify_reader, notify_writer to desk_operator;

-- ==== 0006_tracker.sql ===============================================================================================

-- Room tracker: it owns nothing yet but its way of reading. tracker_reader is a member of every room's readers.

grant outbox_reader, ledger_reader, signal_reader, notify_reader to tracker_reader;
grant tracker_reader to desk_operator;

-- ==== 0007_ledger_speed.sql ==========================================================================================

-- Room ledger, faster: the index behind each key that others refer to is the newest of its table.
--
-- A foreign key is checked by a plan that a session makes once, and on a young table every index that begins with book_id
-- looks equally good. Among equals the planner takes the newest, and that was one on which only book_id narrows: each check
-- read the whole book until the first ANALYZE. Made again here, the keys themselves are the newest. A later migration that
-- adds an index to one of these tables has to do the same (a test counts what the checks read).

alter table ledger.closings drop constraint closings_action_fk, drop constraint closings_lot_fk;
alter table ledger.execution_actions drop constraint execution_actions_fill_fk, drop constraint execution_actions_position_fk;
alter table ledger.lots drop constraint lots_position_fk;

alter table ledger.fills drop constraint fills_seq_key, add constraint fills_seq_key unique (book_id, seq);
alter table ledger.positions drop constraint positions_pk, add constraint positions_pk primary key (book_id, position_id);
alter table ledger.lots drop constraint lots_pk, add constraint lots_pk primary key (book_id, lot_id);
alter table ledger.execution_actions drop constraint execution_actions_pk,
    add constraint execution_actions_pk primary key (book_id, action_id, version);

alter table ledger.lots add constraint lots_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.execution_actions
    add constraint execution_actions_fill_fk foreign key (book_id, fill_seq) references ledger.fills (book_id, seq),
    add constraint execution_actions_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.closings
    add constraint closings_action_fk foreign key (book_id, action_id, version) references ledger.execution_actions,
    add constraint closings_lot_fk foreign key (book_id, lot_id) references ledger.lots;

-- {book_id, instruments, fill_ids, may_move, book_row, totals, session_date} -> what a booking of these is computed from.
-- As before, but a position comes with its open lots, so that each is looked up once.
create or replace function ledger.load(document jsonb) returns json language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    book constant text := document->>'book_id';
    named uuid[];
    wanted text[] := array(select jsonb_array_elements_text(document->'instruments'));
    head json;
    known json;
begin
    if jsonb_array_length(document->'fill_ids') > 0 then
        named := array(select jsonb_array_elements_text(document->'fill_ids')::uuid);
    end if;
    if (document->>'may_move')::boolean then
        wanted := array(select unnest(wanted)
                        union select f.instrument from unnest(named) as one
                              cross join lateral (
                                    select * from ledger.fills f where f.book_id = book and f.fill_id = one
                                     order by f.version offset 0) as f);
    end if;
    if cardinality(wanted) = 1 then
        perform pg_advisory_xact_lock(hashtextextended(book || chr(31) || wanted[1], 7));
    else
        perform ledger.lock_instruments(book, wanted);
    end if;
    if (document->>'book_row')::boolean then
        select to_json(b) into head from ledger.books b where b.book_id = book for update;
    else
        select to_json(b) into head from ledger.books b where b.book_id = book;
    end if;
    if named is not null then
        select json_agg(f order by f.fill_id, f.version) into known
          from unnest(named) as one
         cross join lateral (select * from ledger.fills f where f.book_id = book and f.fill_id = one
                              order by f.version offset 0) as f;
    end if;
    return json_build_object(
        'book', head,
        'book_row', document->'book_row',
        'fill_ids', document->'fill_ids',
        'fills', known,
        -- [position, its open lots]: one look-up per instrument and position, whatever the planner thinks of their number:
        -- offset 0 keeps it so, and the order within names the index, also while the statistics are those of an empty table
        'positions', (
            select json_agg(json_build_array(p, (
                       select json_agg(l)
                         from (select * from ledger.lots l
                                where l.book_id = book and l.position_id = p.position_id and l.quantity_open > 0
                                order by l.opened_at, l.venue_order, l.fill_id offset 0) as l)) order by p.direction)
              from unnest(wanted) as name
             cross join lateral (
                   select * from ledger.positions p
                    where p.book_id = book and p.instrument = name and p.status = 'OPEN'
                    order by p.direction offset 0) as p),
        'tails', (
            select json_agg(json_build_array(
                name, tail.executed_at, tail.venue_order, tail.fill_id,
                (select max(j.effective_at) from ledger.adjustments j where j.book_id = book and j.instrument = name),
                (select count(*) from ledger.parked_fills k where k.book_id = book and k.instrument = name)))
              from unnest(wanted) as name
              left join lateral (
                  select a.executed_at, a.venue_order, a.fill_id from ledger.execution_actions a
                   where a.book_id = book and a.instrument = name and a.superseded_at is null and a.state = 'BOOKED'
                   order by a.executed_at desc, a.venue_order desc, a.fill_id desc, a.leg desc limit 1) as tail on true),
        'totals', case when (document->>'totals')::boolean
                       then ledger.totals(book, (document->>'session_date')::date) end);
end $$;

-- Writes one booking; as before, but only a hedging book pays for the question of the direction.
create or replace function ledger.apply(document jsonb) returns jsonb language plpgsql volatile
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    book constant text := document->>'book_id';
    recorded constant timestamptz := (document->>'recorded_at')::timestamptz;
    mode text;
begin
    update ledger.books b
       set seq = (document->>'seq')::bigint, chain_head = (document->>'chain_head')::bytea, last_recorded_at = recorded
     where b.book_id = book and b.seq = (document->>'expected_seq')::bigint
    returning b.netting into mode;
    if not found then
        raise exception 'the book moved on' using errcode = '40001';
    end if;
    if mode = 'hedge' then  -- a question of its own: an expression with a query in it is planned for every booking
        if exists (select from jsonb_to_recordset(document->'fills') as r(direction ledger.direction) where r.direction is null) then
            raise exception 'a fill of a hedging book needs a direction' using errcode = '23514', constraint = 'fills_hedge_direction';
        end if;
    end if;
    insert into ledger.fills select * from jsonb_populate_recordset(null::ledger.fills, document->'fills');
    if document ? 'adjustments' then
        insert into ledger.adjustments select * from jsonb_populate_recordset(null::ledger.adjustments, document->'adjustments');
    end if;
    if document ? 'positions_left' then
        perform ledger.put_positions(document->'positions_left');
    end if;
    if document ? 'positions' then
        perform ledger.put_positions(document->'positions');
    end if;
    if document ? 'lots' then
        insert into ledger.lots select * from jsonb_populate_recordset(null::ledger.lots, document->'lots')
        on conflict on constraint lots_pk do update set
            (position_id, fill_id, action_id, lot_ref, opened_at, venue_order, status, quantity, price, multiplier, value, fees,
             fees_base, basis, fx_rate, split_factor, price_adjusted, quantity_adjusted, quantity_open, value_open, basis_open,
             fees_base_open)
          = (excluded.position_id, excluded.fill_id, excluded.action_id, excluded.lot_ref, excluded.opened_at,
             excluded.venue_order, excluded.status, excluded.quantity, excluded.price, excluded.multiplier, excluded.value,
             excluded.fees, excluded.fees_base, excluded.basis, excluded.fx_rate, excluded.split_factor,
             excluded.price_adjusted, excluded.quantity_adjusted, excluded.quantity_open, excluded.value_open,
             excluded.basis_open, excluded.fees_base_open);
    end if;
    if document ? 'superseded' then
        update ledger.execution_actions a set superseded_at = recorded
          from jsonb_to_recordset(document->'superseded') as r(action_id uuid, version integer)
         where a.book_id = book and a.action_id = r.action_id and a.version = r.version;
    end if;
    if document ? 'actions' then
        insert into ledger.execution_actions
        select * from jsonb_populate_recordset(null::ledger.execution_actions, document->'actions');
    end if;
    if document ? 'closings' then
        insert into ledger.closings select * from jsonb_populate_recordset(null::ledger.closings, document->'closings');
    end if;
    if document ? 'unparked' then
        delete from ledger.parked_fills k
         using jsonb_to_recordset(document->'unparked') as r(fill_id uuid) where k.book_id = book and k.fill_id = r.fill_id;
    end if;
    if document ? 'parked' then
        insert into ledger.parked_fills select * from jsonb_populate_recordset(null::ledger.parked_fills, document->'parked')
        on conflict on constraint parked_fills_pk do update
           set (reason, parked_at, instrument) = (excluded.reason, excluded.parked_at, excluded.instrument);
    end if;
    if document ? 'events' then
        perform outbox.enqueue(document->'events');
    end if;
    return document->'seq';
end $$;

-- ==== 0008_fewer_steps.sql ===========================================================================================

-- Fewer steps from a webhook to Discord (decision 0014).
--
-- A request now leases and reads its own events in the transaction that writes them, and a message that finds its channel
-- idle is claimed in the transaction that stores it. So that neither waits for the other, leases lock rows FOR NO KEY UPDATE:
-- an insert that refers to a partition or a channel needs only its key. A turn looks at what waits, never at what was posted.
--
-- Functions called once a receipt keep one plan a session; what was a function in SQL, planned anew at every call, is plpgsql.

-- Is there a row of this partition that may go out at desk_now? (as in 0002_outbox.sql)
create or replace function outbox.has_due(partition smallint, desk_now timestamptz) returns boolean
language plpgsql volatile as $$
begin
    return exists (
        select 1 from outbox.events e
         where e.partition_no = partition and e.published_at is null and e.parked_at is null
           and not exists (
               select 1 from outbox.events b
                where b.partition_no = partition and b.published_at is null and b.parked_at is null and b.attempts > 0
                  and b.aggregate_key = e.aggregate_key and b.id <= e.id
                  and b.available_at > desk_now and b.available_at <= desk_now + interval '300 seconds'));
end $$;

-- The due rows of every partition held by this token, at most rows_max each, in id order.
create or replace function outbox.due_rows(token uuid, desk_now timestamptz, rows_max integer) returns jsonb
language plpgsql volatile as $$
begin
    return (select coalesce(jsonb_agg(jsonb_build_object(
               'id', d.id, 'event_id', d.event_id, 'event_type', d.event_type, 'schema_version', d.schema_version,
               'aggregate_key', d.aggregate_key, 'aggregate_version', d.aggregate_version::text,
               'partition_no', d.partition_no, 'topic', d.topic, 'payload', d.payload, 'traceparent', d.traceparent,
               'attempts', d.attempts) order by d.id), '[]'::jsonb)
      from outbox.partitions p
     cross join lateral (
        select e.* from outbox.events e
         where e.partition_no = p.partition_no and e.published_at is null and e.parked_at is null
           and not exists (
               select 1 from outbox.events b
                where b.partition_no = p.partition_no and b.published_at is null and b.parked_at is null and b.attempts > 0
                  and b.aggregate_key = e.aggregate_key and b.id <= e.id
                  and b.available_at > desk_now and b.available_at <= desk_now + interval '300 seconds')
         order by e.id limit rows_max) d
     where p.lease_token = token);
end $$;

-- Lease free partitions that have due rows and read them: {token, now, lease_seconds, partitions_max, rows_max, partitions?}.
-- Never waits, so that it may be the last statement of any transaction; the lease appears with its commit.
create or replace function outbox.claim(document jsonb) returns jsonb
language plpgsql volatile
set plan_cache_mode = force_generic_plan as $$
declare
    token    constant uuid := (document->>'token')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    lease    constant interval := make_interval(secs => (document->>'lease_seconds')::double precision);
    wanted   smallint[];
    leased   smallint[];
    busy     integer := 0;
begin
    if jsonb_typeof(document->'partitions') = 'array' then
        wanted := array(select jsonb_array_elements_text(document->'partitions')::smallint);
    end if;
    with free as (
        select p.partition_no from outbox.partitions p
         where (wanted is null or p.partition_no = any (wanted))
           and (p.lease_token is null or p.lease_until <= clock_timestamp() or p.lease_until > clock_timestamp() + lease)
           and outbox.has_due(p.partition_no, desk_now)
         order by p.lease_until, p.partition_no
         limit (document->>'partitions_max')::integer
           for no key update skip locked
    ), taken as (
        update outbox.partitions p set lease_token = token, lease_until = clock_timestamp() + lease
          from free where p.partition_no = free.partition_no
        returning p.partition_no
    )
    select coalesce(array_agg(partition_no), '{}') into leased from taken;
    if wanted is not null and cardinality(leased) < cardinality(wanted) then
        select count(*) into busy from unnest(wanted) w(partition_no)
         where w.partition_no <> all (leased) and outbox.has_due(w.partition_no, desk_now);
    end if;
    return jsonb_build_object(
        'partitions', to_jsonb(leased), 'busy', busy,
        'rows', case when cardinality(leased) = 0 then '[]'::jsonb
                     else outbox.due_rows(token, desk_now, (document->>'rows_max')::integer) end);
end $$;

-- Record what became of published rows, then extend, read on or release (as in 0002_outbox.sql). Nothing is acknowledged by
-- this commit, so nobody waits for its flush: one that a crash of the server takes back is published again, as after a crash
-- of the relay.
create or replace function outbox.finish(document jsonb) returns jsonb
language plpgsql volatile
set plan_cache_mode = force_generic_plan as $$
declare
    token    constant uuid := (document->>'token')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    step     constant text := document->>'step';
    held     smallint[];
    recorded integer := 0;
    touched  integer;
begin
    perform set_config('synchronous_commit', 'off', true);
    perform 1 from outbox.partitions where lease_token = token order by partition_no for no key update;
    held := array(select partition_no from outbox.partitions where lease_token = token);

    update outbox.events e set published_at = desk_now, message_id = r.message_id
      from jsonb_to_recordset(document->'published') as r(id bigint, message_id text)
     where e.id = r.id and e.partition_no = any (held) and e.published_at is null and e.parked_at is null;
    get diagnostics recorded = row_count;
    if jsonb_array_length(document->'failed') > 0 then
        update outbox.events e
           set attempts = e.attempts + 1, last_error = r.error,
               available_at = desk_now + make_interval(secs => least(power(2, least(e.attempts + 1, 9)), 300))
          from jsonb_to_recordset(document->'failed') as r(id bigint, error text)
         where e.id = r.id and e.partition_no = any (held) and e.published_at is null and e.parked_at is null;
        get diagnostics touched = row_count;
        recorded := recorded + touched;
    end if;
    if jsonb_array_length(document->'parked') > 0 then
        update outbox.events e set parked_at = desk_now, attempts = e.attempts + 1, last_error = r.error
          from jsonb_to_recordset(document->'parked') as r(id bigint, error text)
         where e.id = r.id and e.partition_no = any (held) and e.published_at is null and e.parked_at is null;
        get diagnostics touched = row_count;
        recorded := recorded + touched;
    end if;

    update outbox.partitions p
       set lease_token = null, lease_until = clock_timestamp()
     where p.lease_token = token
       and (step = 'release' or (step = 'read' and not outbox.has_due(p.partition_no, desk_now)));
    update outbox.partitions p
       set lease_until = clock_timestamp() + make_interval(secs => (document->>'lease_seconds')::double precision)
     where p.lease_token = token;
    return jsonb_build_object(
        'recorded', recorded, 'held', cardinality(held),
        'rows', case when step = 'read' then outbox.due_rows(token, desk_now, (document->>'rows_max')::integer)
                     else '[]'::jsonb end);
end $$;

-- Take a channel for one drainer: {channel_id, lease_token, lease_seconds} -> {leased} (as in 0005_notify.sql).
create or replace function notify.lease(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    token constant uuid := (document->>'lease_token')::uuid;
    span  constant interval := make_interval(secs => (document->>'lease_seconds')::double precision);
    me    notify.channels;
begin
    select * into me from notify.channels c where c.channel_id = document->>'channel_id';
    perform 1 from notify.channels c
      where c.channel_id = me.channel_id or c.webhook_id = me.webhook_id or c.discord_channel_id = me.discord_channel_id
      order by c.channel_id for no key update;
    if exists (select from notify.channels c
                where (c.channel_id = me.channel_id or c.webhook_id = me.webhook_id
                       or c.discord_channel_id = me.discord_channel_id)
                  and c.lease_token is not null and c.lease_token <> token
                  and c.lease_until > clock_timestamp() and c.lease_until <= clock_timestamp() + span) then
        return jsonb_build_object('leased', false);
    end if;
    update notify.channels c set lease_token = token, lease_until = clock_timestamp() + span where c.channel_id = me.channel_id;
    return jsonb_build_object('leased', found);
end $$;

-- Take a channel in which nothing waits, without waiting for anybody: {channel_id, lease_token, lease_seconds}
-- -> {leased} or {leased, channel, ops_webhook_id, limits}. Whoever is refused stores, commits and then asks notify.lease.
create function notify.open(document jsonb) returns jsonb
language plpgsql volatile
set plan_cache_mode = force_generic_plan as $$
declare
    token   constant uuid := (document->>'lease_token')::uuid;
    span    constant interval := make_interval(secs => (document->>'lease_seconds')::double precision);
    me      notify.channels;
    related text[];
    free    text[];
begin
    select * into me from notify.channels c where c.channel_id = document->>'channel_id';
    related := array(select c.channel_id from notify.channels c
                      where c.channel_id = me.channel_id or c.webhook_id = me.webhook_id
                         or c.discord_channel_id = me.discord_channel_id);
    free := array(select c.channel_id from notify.channels c
                   where c.channel_id = any (related)
                     and (c.lease_token is null or c.lease_until <= clock_timestamp() or c.lease_until > clock_timestamp() + span)
                   order by c.channel_id for no key update skip locked);
    if me.channel_id is null or cardinality(free) < cardinality(related) or exists (
        select from notify.messages m
         where m.channel_id = me.channel_id and m.state in ('pending', 'sending', 'ambiguous')) then
        return jsonb_build_object('leased', false);
    end if;
    update notify.channels c set lease_token = token, lease_until = clock_timestamp() + span where c.channel_id = me.channel_id
    returning * into me;
    return jsonb_build_object(
        'leased', true,
        'channel', to_jsonb(me) - 'lease_token' - 'lease_until',
        'ops_webhook_id', (select c.webhook_id from notify.channels c where c.channel_id = 'ops'),
        'limits', notify.limits_of(me));
end $$;

-- Give the channel back when nothing waits in it: {channel_id, lease_token} -> {rested}. The lock on the channel makes a
-- storer's attempt to lease wait: either its message is seen here, or it gets the lease.
create function notify.rest(document jsonb) returns jsonb
language plpgsql volatile
set plan_cache_mode = force_generic_plan as $$
begin
    perform 1 from notify.channels c
      where c.channel_id = document->>'channel_id' and c.lease_token = (document->>'lease_token')::uuid
        for no key update;
    if not found or exists (
        select from notify.messages m
         where m.channel_id = document->>'channel_id' and m.state in ('pending', 'sending', 'ambiguous')) then
        return jsonb_build_object('rested', false);
    end if;
    update notify.channels c set lease_token = null, lease_until = null where c.channel_id = document->>'channel_id';
    return jsonb_build_object('rested', true);
end $$;

-- What the next step of a leased channel is chosen from (as in 0005_notify.sql). One look at the rows that wait says what
-- else has to be read; siblings of an edit are found by their message first, so that no posted row is touched otherwise.
create or replace function notify.turn(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    channel   constant text := document->>'channel_id';
    desk_now  constant timestamptz := (document->>'now')::timestamptz;
    far       constant timestamptz := (document->>'far')::timestamptz;
    hold      constant interval := make_interval(secs => (document->>'hold_seconds')::double precision);
    rows_max  constant integer := (document->>'rows_max')::integer;
    me        notify.channels;
    waiting   text[];
    edits     text[];
    stuck     text[];
    expired   text[];
    siblings  text[];
    waits     record;
begin
    if not notify.hold(document) then
        return jsonb_build_object('leased', false);
    end if;
    select * into me from notify.channels c where c.channel_id = channel;
    select count(*) filter (where m.message_id is null) as unposted,
           count(*) filter (where m.state = 'pending' and m.message_id is null) as creates,
           count(*) filter (where m.state = 'pending' and m.message_id is not null) as edits,
           count(*) filter (where m.state = 'sending') as stuck,
           count(*) filter (where m.state = 'pending' and m.attempts = 0
                              and m.pending_since < (document->>'expire_before')::timestamptz) as expired,
           least(min(m.next_attempt_at) filter (where m.state <> 'sending' and m.next_attempt_at > desk_now
                                                  and m.next_attempt_at <= far),
                 min(m.first_failed_at + hold) filter (where m.state <> 'sending' and m.message_id is null
                                                         and m.first_failed_at + hold > desk_now)) as next_at
      into waits from notify.messages m
     where m.channel_id = channel and m.state in ('pending', 'ambiguous', 'sending');
    if waits.unposted > 0 then
        with unposted as (
            select m.subject_key, m.group_key, m.priority, m.order_at, m.order_seq, m.created_at, m.state, m.first_failed_at,
                   m.is_created_unknown, m.next_attempt_at is not null and (m.next_attempt_at <= desk_now or m.next_attempt_at > far) as due
              from notify.messages m
             where m.channel_id = channel and m.message_id is null and m.state in ('pending', 'ambiguous', 'sending')
        ), heads as (
            select distinct on (u.group_key) u.group_key,
                   u.due or coalesce(u.first_failed_at <= desk_now - hold, false) as is_free
              from unposted u where not u.is_created_unknown
             order by u.group_key, u.order_at, u.order_seq, u.subject_key
        ), groups as (
            select u.group_key, coalesce(h.is_free, true) as is_free, min(u.priority) filter (where u.state = 'pending') as rank,
                   min(u.created_at) as oldest, min(u.order_at) as earliest, min(u.order_seq) as foremost
              from unposted u left join heads h using (group_key)
             group by u.group_key, h.is_free having bool_or(u.due)
             order by 2 desc, 3, 4, 5, 6, 1 limit (document->>'groups_max')::integer
        ), foremost as (
            select u.subject_key from unposted u join groups g using (group_key)
             order by g.is_free desc, g.rank, g.oldest, g.earliest, g.foremost, g.group_key, u.order_at, u.order_seq, u.subject_key limit rows_max
        )
        select array_agg(subject_key) into waiting from foremost;
    end if;
    if waits.edits > 0 then
        edits := array(
            select m.subject_key from notify.messages m
             where m.channel_id = channel and m.state = 'pending' and m.message_id is not null
               and (m.next_attempt_at <= desk_now or m.next_attempt_at > far)
             order by m.next_attempt_at, m.subject_key limit (document->>'edits_max')::integer);
        siblings := array(
            select m.subject_key from notify.messages s
              join notify.messages m on m.channel_id = channel and m.message_id = s.message_id
             where s.channel_id = channel and s.subject_key = any (edits));
    end if;
    if waits.stuck > 0 then
        stuck := array(select m.subject_key from notify.messages m where m.channel_id = channel and m.state = 'sending');
    end if;
    if waits.expired > 0 then
        expired := array(
            select m.subject_key from notify.messages m
             where m.channel_id = channel and m.state = 'pending' and m.attempts = 0
               and m.pending_since < (document->>'expire_before')::timestamptz
             order by m.subject_key limit rows_max);
    end if;
    perform 1 from notify.messages m
      where m.channel_id = channel and m.subject_key = any (waiting || edits || siblings || stuck || expired)
      order by m.subject_key for update;
    return jsonb_build_object(
        'leased', true,
        'channel', to_jsonb(me) - 'lease_token' - 'lease_until',
        'ops_webhook_id', (select c.webhook_id from notify.channels c where c.channel_id = 'ops'),
        'limits', notify.limits_of(me),
        'rows', notify.rows_of(channel, waiting || edits),
        'siblings', notify.rows_of(channel, siblings),
        'stuck', notify.rows_of(channel, stuck),
        'expired', notify.rows_of(channel, expired),
        'answered', case when stuck is null then '[]'::jsonb else (
            select coalesce(jsonb_agg(jsonb_build_object(
                       'subject_key', m.subject_key, 'message_id', a.message_id,
                       'embed_index', array_position(a.subject_keys, m.subject_key) - 1)), '[]'::jsonb)
              from notify.messages m
              join notify.attempt_subjects s on s.channel_id = m.channel_id and s.subject_key = m.subject_key
              join notify.attempts a on a.attempt_id = s.attempt_id
             where m.channel_id = channel and m.subject_key = any (stuck) and a.operation = 'create'
               and a.started_at = m.claimed_at and a.http_status = 200 and a.error is null and a.message_id is not null) end,
        'creates', waits.creates,
        'next_at', waits.next_at);
end $$;

-- Where a subject's message went: an action whose place was taken by another (by another, …) is recorded there.
create or replace function notify.heir(channel text, key text) returns text
language plpgsql volatile as $$
declare
    heir      text := key;
    successor text;
begin
    for step in 1..20 loop
        select m.replaced_by into successor from notify.messages m where m.channel_id = channel and m.subject_key = heir;
        exit when successor is null;
        heir := successor;
    end loop;
    return heir;
end $$;

revoke all on function notify.open(jsonb), notify.rest(jsonb) from public;
grant execute on function notify.open(jsonb), notify.rest(jsonb) to notify_writer;

-- ==== 0009_ledger_as_of.sql ==========================================================================================

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

-- ==== 0010_ledger_breaks.sql =========================================================================================

-- Room ledger: reconciliations as an append-only record, breaks with episodes, ages and a history of their own.
--
-- A statement compared again (its book was repaired meanwhile) is a further version of its reconciliation, never an update.
-- ledger.breaks says how a break stands; ledger.break_history holds every version of it. A break that comes back keeps its
-- id and begins a new episode. Nothing here books: repair is a fill, a revision or a split.

alter table ledger.reconciliations
    add column version         integer not null default 1,
    add column reason          text,
    add column subjects        text[]  not null default '{}',
    add column facts_hash      bytea   not null default sha256(''),
    add column breaks_resolved integer not null default 0;
alter table ledger.reconciliations
    alter column version drop default,
    alter column subjects drop default,
    alter column facts_hash drop default,
    alter column breaks_resolved drop default,
    drop constraint reconciliations_pk,
    add constraint reconciliations_pk primary key (book_id, source, as_of, version),
    add constraint reconciliations_reason check ((reason is not null) = (result = 'inconclusive'));
comment on column ledger.reconciliations.reason is 'Why a statement proved nothing: incomplete, other_account, too_old, from_the_future.';
comment on column ledger.reconciliations.subjects is 'What was compared: positions, cash/USD, realized/AMD//USD. An older statement says nothing about these any more.';
comment on column ledger.reconciliations.facts_hash is 'SHA-256 of what the broker said, without what the room knew about it.';
create index reconciliations_by_time on ledger.reconciliations (as_of);
create index reconciliations_by_book on ledger.reconciliations (book_id, as_of);

alter table ledger.breaks
    add column ticker     text        not null default '',
    add column version    integer     not null default 1,
    add column episode    integer     not null default 1,
    add column source     text        not null default 'unknown',
    add column sessions   integer     not null default 0,
    add column announced  integer     not null default 0,
    add column updated_at timestamptz not null default 'epoch';
alter table ledger.breaks
    alter column ticker drop default,
    alter column version drop default,
    alter column episode drop default,
    alter column source drop default,
    alter column sessions drop default,
    alter column announced drop default,
    alter column updated_at drop default,
    add constraint breaks_counts check (version >= 1 and episode >= 1 and sessions >= 0 and announced in (0, 2, 5)),
    add constraint breaks_seen_order check (last_seen_at >= first_seen_at and resolved_at >= last_seen_at),
    add constraint breaks_direction_by_kind check (kind <> 'cash' or (direction is null and instrument = '')),
    add constraint breaks_difference check (
        (difference is null) = (expected is null or actual is null) and difference = actual - expected),
    add constraint breaks_note_length check (length(note) <= 1000);
comment on column ledger.breaks.episode is 'A break that was resolved and comes back begins a new episode; first_seen_at is that of the episode.';
comment on column ledger.breaks.sessions is 'Age: whole sessions of the book''s calendar since first_seen_at, as of the last look.';
comment on column ledger.breaks.announced is 'The age at which break_found was last told: 0, 2 or 5 sessions.';

create table ledger.break_history (
    book_id       text        not null,
    break_id      uuid        not null,
    version       integer     not null,
    episode       integer     not null,
    kind          text        not null,
    instrument    text        not null,
    direction     ledger.direction,
    currency      text        not null,
    ticker        text        not null,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    resolved_at   timestamptz,
    expected      numeric(28,10),
    actual        numeric(28,10),
    difference    numeric(28,10),
    cause         text        not null,
    note          text,
    source        text        not null,
    sessions      integer     not null,
    announced     integer     not null,
    recorded_at   timestamptz not null,
    constraint break_history_pk primary key (book_id, break_id, version),
    constraint break_history_break_fk foreign key (book_id, break_id) references ledger.breaks
);
comment on table ledger.break_history is 'Every version of every break: found, changed, told again, noted, resolved, back; append-only.';

-- {reconciliation, breaks, history, events}: writes what one comparison, one day's ageing or one note made of the breaks of
-- a book. The caller holds the book's row, so versions cannot race.
create function ledger.follow_breaks(document jsonb) returns jsonb language plpgsql volatile as $$
begin
    if document ? 'reconciliation' then
        insert into ledger.reconciliations (book_id, as_of, source, version, recorded_at, result, reason, statement, subjects,
                                            facts_hash, breaks_found, breaks_open, breaks_resolved, book_seq)
        select r.book_id, r.as_of, r.source, r.version, r.recorded_at, r.result, r.reason, r.statement,
               array(select jsonb_array_elements_text(document->'reconciliation'->'subjects')),
               decode(document->'reconciliation'->>'facts_hash', 'hex'), r.breaks_found, r.breaks_open, r.breaks_resolved,
               r.book_seq
          from jsonb_to_record(document->'reconciliation') as r(
               book_id text, as_of timestamptz, source text, version integer, recorded_at timestamptz, result text,
               reason text, statement jsonb, breaks_found integer, breaks_open integer, breaks_resolved integer,
               book_seq bigint);
    end if;
    insert into ledger.breaks select * from jsonb_populate_recordset(null::ledger.breaks, document->'breaks')
    on conflict on constraint breaks_pk do update set
        (ticker, first_seen_at, last_seen_at, resolved_at, expected, actual, difference, cause, note, version, episode, source,
         sessions, announced, updated_at)
      = (excluded.ticker, excluded.first_seen_at, excluded.last_seen_at, excluded.resolved_at, excluded.expected, excluded.actual,
         excluded.difference, excluded.cause, excluded.note, excluded.version, excluded.episode, excluded.source,
         excluded.sessions, excluded.announced, excluded.updated_at);
    insert into ledger.break_history select * from jsonb_populate_recordset(null::ledger.break_history, document->'history');
    if document ? 'events' then
        perform outbox.enqueue(document->'events');
    end if;
    return to_jsonb(jsonb_array_length(document->'breaks'));
end $$;

create or replace view ledger.v_breaks as
    select x.book_id, x.break_id, x.kind, x.instrument, x.direction, x.currency, x.first_seen_at, x.last_seen_at, x.resolved_at,
           x.expected, x.actual, x.difference, x.cause, x.note, b.tenant_id, x.version, x.episode, x.source, x.sessions,
           x.announced, x.updated_at, x.ticker
      from ledger.breaks x join ledger.books b using (book_id);
create or replace view ledger.v_reconciliations as
    select x.book_id, x.as_of, x.source, x.recorded_at, x.result, x.statement, x.breaks_found, x.breaks_open, x.book_seq,
           b.tenant_id, x.version, x.reason, x.subjects, x.breaks_resolved, x.facts_hash
      from ledger.reconciliations x join ledger.books b using (book_id);
create view ledger.v_break_history as
    select x.*, b.tenant_id from ledger.break_history x join ledger.books b using (book_id);

-- Who may do what: as with every table of a book. A replay book has no broker, so replay_writer writes none of these.
alter table ledger.break_history enable row level security;
create policy break_history_read on ledger.break_history for select using (true);
create policy break_history_live on ledger.break_history for all to ledger_writer
    using (book_id not like 'replay:%') with check (book_id not like 'replay:%');
create policy break_history_maintenance on ledger.break_history for all to ledger_maintenance using (true) with check (true);
grant select, insert on ledger.break_history to ledger_writer, ledger_maintenance;
revoke update on ledger.breaks from ledger_writer, replay_writer, ledger_maintenance;
grant update (ticker, first_seen_at, last_seen_at, resolved_at, expected, actual, difference, cause, note, version, episode, source,
              sessions, announced, updated_at) on ledger.breaks to ledger_writer, ledger_maintenance;
revoke insert on ledger.breaks, ledger.reconciliations from replay_writer;
grant execute on function ledger.follow_breaks(jsonb) to ledger_writer;
grant select on ledger.v_break_history
    to ledger_reader, ledger_writer, replay_writer, tracker_reader, snapshot_reader, notify_reader, replay_reader;

-- ==== 0011_notify_proof.sql ==========================================================================================

-- Room notify, proof: what the search for open creates and the question "was X told" need beyond 0005.

comment on column notify.messages.suspects is
    'Creates whose fate is open, [claimed, given up] each (desk time): the double-search list. A bare instant is an older row''s claim.';

-- Subjects whose copies have been searched for are no longer doubted: {channel_id, before}.
create or replace function notify.undoubt(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    cleared integer;
begin
    update notify.messages m set maybe_created = false, suspects = '[]'
     where m.channel_id = document->>'channel_id' and m.maybe_created and m.state = 'posted'
       and not exists (select from jsonb_array_elements(m.suspects) s
                        where (case jsonb_typeof(s) when 'array' then s->>1 else s#>>'{}' end)::timestamptz
                              > (document->>'before')::timestamptz);
    get diagnostics cleared = row_count;
    return to_jsonb(cleared);
end $$;

-- An action's message is asked for by its id alone, which is the same in every book.
drop index notify.messages_by_action;
create index messages_by_action on notify.messages (action_id, book_id);

create or replace view notify.v_delivery_log as
    select m.channel_id, m.subject_key, m.subject_kind, m.book_id, m.action_id, m.position_id, m.state, m.wanted_version,
           m.posted_version, m.message_id, m.embed_index, a.attempt_id, a.operation, a.started_at, a.finished_at, a.http_status,
           a.discord_code, a.retry_after_seconds, a.message_id as answered_message_id, a.error, a.response_excerpt,
           m.posted_at, m.proven_at, m.last_finding, m.dead_reason, m.replaced_by, c.guild_id,
           coalesce(c.thread_id, c.discord_channel_id) as place
      from notify.messages m
      join notify.channels c on c.channel_id = m.channel_id
      left join notify.attempt_subjects s on s.channel_id = m.channel_id and s.subject_key = m.subject_key
      left join notify.attempts a on a.attempt_id = s.attempt_id;

-- ==== 0012_ibkr.sql ==================================================================================================

-- Room ibkr: what the broker reported, word for word; what of it counts; and the trades that follow.
--
-- A chunk of rows costs three messages: ibkr.known locks the account and says which texts are new, ibkr.load reads every
-- family and every neighbour by key that they touch, ibkr.apply writes one document. Rules live in Python only. Nothing of
-- the room is ever deleted: payloads are append-only, and nobody is granted DELETE on any table. Sources: ibkr.md 3, 5, 6, 10.

create schema ibkr;
comment on schema ibkr is 'Broker executions at the finest grain, their corrections, the trades they make, and the runs that fetched them.';
grant usage on schema ibkr to ibkr_reader, ibkr_writer, desk_operator;

-- ---- accounts ----

create table ibkr.accounts (
    id                   bigint      not null,
    code                 text        not null,
    book_id              text        not null generated always as ('ibkr:' || code) stored,
    is_enabled           boolean     not null,
    base_currency        text        not null,
    flex_time_zone       text        not null,
    trade_day_zone       text        not null,
    trusted_ref_prefixes text[]      not null default '{}',
    opening_run_id       uuid,
    opened_at            timestamptz,
    created_at           timestamptz not null,
    updated_at           timestamptz not null,
    constraint accounts_pkey primary key (id),
    constraint accounts_code_key unique (code),
    constraint accounts_code_check check (code ~ '^[A-Za-z0-9._~-]{1,64}$'),
    constraint accounts_base_currency_check check (base_currency ~ '^[A-Z]{3}$')
);
comment on table ibkr.accounts is 'The allow-list, written from configuration at the start of a run; never from broker data.';
comment on column ibkr.accounts.opened_at is 'When the opening balance was booked; null: executions are stored and shown, but neither booked nor told.';
comment on column ibkr.accounts.opening_run_id is 'The positions run whose snapshot the opening balance was computed from; null: declared flat.';

create table ibkr.account_aliases (
    alias      text   not null,
    account_id bigint not null,
    segment    text   not null default '',
    constraint account_aliases_pkey primary key (alias),
    constraint account_aliases_account_id_fkey foreign key (account_id) references ibkr.accounts (id)
);
comment on table ibkr.account_aliases is 'Other texts the broker uses for an account, as the code of its futures segment.';

-- ---- jobs and runs ----

create table ibkr.jobs (
    id               uuid        not null,
    job_type         text        not null,
    dedupe_key       text        not null,
    payload          jsonb       not null,
    state            text        not null,
    attempts         integer     not null default 0,
    deferrals        integer     not null default 0,
    not_before       timestamptz not null,
    lease_token      uuid,
    lease_expires_at timestamptz,
    last_error       text,
    requested_by     text        not null,
    created_at       timestamptz not null,
    updated_at       timestamptz not null,
    constraint jobs_pkey primary key (id),
    constraint jobs_job_type_check check (job_type in ('trades.sync', 'positions.sync', 'flex.request', 'flex.fetch')),
    constraint jobs_state_check check (state in ('queued', 'running', 'succeeded', 'failed')),
    constraint jobs_lease_check check ((state = 'running') = (lease_token is not null)
                                       and (state = 'running') = (lease_expires_at is not null))
);
comment on table ibkr.jobs is 'Work to be done once per effective payload: at most one queued and one running per key.';
create unique index jobs_one_queued on ibkr.jobs (job_type, dedupe_key) where state = 'queued';
create unique index jobs_one_running on ibkr.jobs (job_type, dedupe_key) where state = 'running';
create index jobs_due_idx on ibkr.jobs (not_before, id) where state = 'queued';

create table ibkr.sync_runs (
    id             uuid        not null,
    job_id         uuid,
    source         text        not null,
    kind           text        not null,
    is_backfill    boolean     not null,
    state          text        not null,
    requested_from timestamptz not null,
    requested_to   timestamptz not null,
    started_at     timestamptz not null,
    finished_at    timestamptz,
    counts         jsonb       not null default '{}',
    error_class    text,
    error_detail   text,
    parser_version integer     not null,
    client_version text        not null default '',
    constraint sync_runs_pkey primary key (id),
    constraint sync_runs_job_id_fkey foreign key (job_id) references ibkr.jobs (id),
    constraint sync_runs_source_check check (source in ('tws', 'flex')),
    constraint sync_runs_kind_check check (kind in ('executions', 'positions')),
    constraint sync_runs_state_check check (state in ('running', 'complete', 'partial', 'failed', 'abandoned')),
    constraint sync_runs_window_check check (requested_from < requested_to),
    constraint sync_runs_finished_check check ((finished_at is null) = (state = 'running'))
);
comment on table ibkr.sync_runs is 'One attempt to fetch, with what came of it.';
create index sync_runs_started_idx on ibkr.sync_runs (started_at desc);

alter table ibkr.accounts
    add constraint accounts_opening_run_id_fkey foreign key (opening_run_id) references ibkr.sync_runs (id);

create table ibkr.sync_coverage (
    account_id       bigint  not null,
    run_id           uuid    not null,
    covered_from     timestamptz,
    covered_to       timestamptz,
    earliest_seen_at timestamptz,
    latest_seen_at   timestamptz,
    is_complete      boolean not null,
    constraint sync_coverage_pkey primary key (account_id, run_id),
    constraint sync_coverage_account_id_fkey foreign key (account_id) references ibkr.accounts (id),
    constraint sync_coverage_run_id_fkey foreign key (run_id) references ibkr.sync_runs (id),
    constraint sync_coverage_window_check check (covered_from < covered_to)
);
comment on table ibkr.sync_coverage is 'What a run really covered of an account, whatever was asked.';

create table ibkr.sync_cursors (
    account_id    bigint      not null,
    source        text        not null,
    high_water_at timestamptz not null,
    run_id        uuid        not null,
    constraint sync_cursors_pkey primary key (account_id, source),
    constraint sync_cursors_account_id_fkey foreign key (account_id) references ibkr.accounts (id),
    constraint sync_cursors_run_id_fkey foreign key (run_id) references ibkr.sync_runs (id),
    constraint sync_cursors_source_check check (source in ('tws', 'flex'))
);
comment on table ibkr.sync_cursors is 'Up to where complete runs reach; never moves backwards.';

-- ---- what the broker said ----

create table ibkr.execution_payloads (
    account_id     bigint      not null,
    ib_exec_id     text        not null,
    payload_hash   bytea       not null,
    source         text        not null,
    kind           text        not null,
    transaction_id bigint,
    observed_at    timestamptz not null,
    run_id         uuid        not null,
    parser_version integer     not null,
    raw            jsonb       not null,
    recorded_at    timestamptz not null,
    constraint execution_payloads_pkey primary key (account_id, ib_exec_id, payload_hash),
    constraint execution_payloads_account_id_fkey foreign key (account_id) references ibkr.accounts (id),
    constraint execution_payloads_run_id_fkey foreign key (run_id) references ibkr.sync_runs (id),
    constraint execution_payloads_payload_hash_check check (octet_length(payload_hash) = 32),
    constraint execution_payloads_source_check check (source in ('statement', 'confirmation', 'tws')),
    constraint execution_payloads_kind_check check (kind in ('execution', 'commission'))
);
comment on table ibkr.execution_payloads is 'Append-only: every different text of an execution row, values as text. Everything else can be rebuilt from these and broker_events.';
create index execution_payloads_transaction_idx on ibkr.execution_payloads (account_id, transaction_id) where transaction_id is not null;

create table ibkr.broker_events (
    id                  uuid        not null,
    account_id          bigint      not null,
    event_key           text        not null,
    kind                text        not null,
    source              text        not null,
    transaction_id      bigint,
    orig_transaction_id bigint,
    orig_trade_id       bigint,
    conid               bigint,
    signed_quantity     numeric     not null,
    price               numeric     not null,
    commission          numeric,
    executed_at         timestamptz not null,
    report_date         date,
    observed_at         timestamptz not null,
    state               text        not null,
    ib_exec_id          text,
    raw                 jsonb       not null,
    run_id              uuid        not null,
    created_at          timestamptz not null,
    updated_at          timestamptz not null,
    constraint broker_events_pkey primary key (id),
    constraint broker_events_account_key unique (account_id, event_key),
    constraint broker_events_account_id_fkey foreign key (account_id) references ibkr.accounts (id),
    constraint broker_events_run_id_fkey foreign key (run_id) references ibkr.sync_runs (id),
    constraint broker_events_kind_check check (kind in ('cancel', 'fraction_cancel')),
    constraint broker_events_source_check check (source in ('statement', 'confirmation', 'tws')),
    constraint broker_events_state_check check (state in ('parked', 'applied', 'ambiguous')),
    constraint broker_events_applied_check check ((state = 'applied') = (ib_exec_id is not null))
);
comment on table ibkr.broker_events is 'Rows that void another row; parked until that row has come.';
create index broker_events_orig_transaction_idx on ibkr.broker_events (account_id, orig_transaction_id);
create index broker_events_orig_trade_idx on ibkr.broker_events (account_id, orig_trade_id) where orig_trade_id is not null;
create index broker_events_fraction_idx on ibkr.broker_events (account_id, conid) where kind = 'fraction_cancel';

-- ---- trades and executions ----

create table ibkr.trades (
    id                       uuid        not null,
    account_id               bigint      not null,
    match_kind               text        not null,
    confidence               text        not null,
    merged_into              uuid,
    ib_perm_id               bigint,
    ib_order_id              bigint,
    flex_order_id            bigint,
    client_id                bigint,
    conid                    bigint,
    order_ref                text,
    symbol                   text,
    sec_type                 text,
    side                     text,
    exchange                 text,
    currency                 text,
    trade_day                date,
    is_combo                 boolean     not null default false,
    status                   text        not null,
    order_quantity           numeric,
    total_quantity           numeric     not null default 0,
    total_value              numeric,
    avg_price                numeric,
    commission               numeric,
    commission_currency      text,
    missing_commission_count integer     not null default 0,
    execution_count          integer     not null default 0,
    canonical_count          integer     not null default 0,
    first_executed_at        timestamptz,
    last_executed_at         timestamptz,
    fetched_at               timestamptz not null,
    created_at               timestamptz not null,
    updated_at               timestamptz not null,
    constraint trades_pkey primary key (id),
    constraint trades_account_id_fkey foreign key (account_id) references ibkr.accounts (id),
    constraint trades_merged_into_fkey foreign key (merged_into) references ibkr.trades (id) deferrable initially deferred,
    constraint trades_id_account_key unique (id, account_id),
    constraint trades_match_kind_check check (
        match_kind in ('perm_id', 'flex_order_id', 'combo', 'order_ref', 'composite', 'single')),
    constraint trades_confidence_check check (confidence in ('high', 'medium', 'low')),
    constraint trades_side_check check (side in ('BUY', 'SELL')),
    constraint trades_status_check check (
        status in ('unknown', 'partial', 'filled', 'cancelled', 'expired', 'assigned', 'exercised')),
    constraint trades_total_quantity_check check (total_quantity >= 0 and total_quantity < 'Infinity'),
    constraint trades_empty_check check (canonical_count > 0 or (total_quantity = 0 and avg_price is null))
);
comment on table ibkr.trades is 'Derived from canonical executions; an emptied trade stays and names its heir.';
create unique index trades_account_perm_key on ibkr.trades (account_id, ib_perm_id) where ib_perm_id > 0;
create index trades_account_last_idx on ibkr.trades (account_id, last_executed_at desc);
create index trades_page_idx on ibkr.trades (last_executed_at desc, id desc) where merged_into is null;
create index trades_symbol_idx on ibkr.trades (account_id, symbol, last_executed_at desc);

create table ibkr.trade_keys (
    account_id bigint not null,
    key        text   not null,
    trade_id   uuid   not null,
    constraint trade_keys_pkey primary key (account_id, key),
    constraint trade_keys_trade_fkey foreign key (trade_id, account_id) references ibkr.trades (id, account_id) deferrable
);
comment on table ibkr.trade_keys is 'Every key that leads to a trade; a lookup that can be rebuilt.';
create index trade_keys_trade_idx on ibkr.trade_keys (trade_id);

create table ibkr.trade_executions (
    id                      uuid        not null,
    trade_id                uuid        not null,
    account_id              bigint      not null,
    ib_exec_id              text        not null,
    id_kind                 text        not null,
    exec_id_base            text        not null,
    exec_revision           integer     not null default 0,
    settled_key             text        not null,
    combo_key               text,
    correction_group        smallint    not null default 0,
    is_correctable          boolean     not null,
    state                   text        not null,
    is_canonical            boolean     not null generated always as (state in ('live', 'anomaly')) stored,
    supersedes_execution_id uuid,
    voided_by_event_id      uuid,
    transaction_id          bigint,
    broker_trade_id         bigint,
    flex_order_id           bigint,
    ib_perm_id              bigint,
    ib_order_id             bigint,
    client_id               bigint,
    brokerage_order_id      text,
    order_ref               text,
    transaction_type        text        not null,
    exec_role               text        not null,
    conid                   bigint      not null,
    symbol                  text        not null,
    sec_type                text        not null,
    underlying_symbol       text,
    fx_rate_to_base         numeric,
    multiplier              numeric,
    expiry                  date,
    strike                  numeric,
    put_call                text,
    executed_at             timestamptz not null,
    executed_at_text        text        not null,
    is_time_ambiguous       boolean     not null,
    trade_day               date        not null,
    report_date             date,
    side                    text        not null,
    quantity                numeric     not null,
    signed_quantity         numeric     not null generated always as (case side when 'BUY' then quantity else -quantity end) stored,
    price                   numeric     not null,
    cum_quantity            numeric,
    exchange                text,
    liquidity               text,
    currency                text        not null,
    commission              numeric,
    commission_currency     text,
    taxes                   numeric,
    broker_realized_pnl     numeric,
    notes                   text[]      not null default '{}',
    open_close              text,
    sources                 text[]      not null,
    payload_hash            bytea       not null,
    observed_at             timestamptz not null,
    raw                     jsonb       not null,
    fetched_at              timestamptz not null,
    created_at              timestamptz not null,
    updated_at              timestamptz not null,
    constraint trade_executions_pkey primary key (id),
    constraint trade_executions_account_id_fkey foreign key (account_id) references ibkr.accounts (id),
    constraint trade_executions_trade_fkey
        foreign key (trade_id, account_id) references ibkr.trades (id, account_id) deferrable,
    constraint trade_executions_account_exec_key unique (account_id, ib_exec_id),
    constraint trade_executions_voided_by_event_id_fkey foreign key (voided_by_event_id) references ibkr.broker_events (id),
    constraint trade_executions_id_kind_check check (id_kind in ('broker', 'transaction', 'trade')),
    constraint trade_executions_exec_revision_check check (exec_revision >= 0),
    constraint trade_executions_state_check check (state in ('live', 'superseded', 'voided', 'anomaly')),
    constraint trade_executions_voided_check check (state <> 'voided' or voided_by_event_id is not null),
    constraint trade_executions_exec_role_check check (exec_role in ('standalone', 'leg', 'combo_summary')),
    constraint trade_executions_multiplier_check check (multiplier > 0 and multiplier < 'Infinity'),
    constraint trade_executions_side_check check (side in ('BUY', 'SELL')),
    constraint trade_executions_quantity_check check (quantity > 0 and quantity < 'Infinity'),
    constraint trade_executions_price_check check (price > '-Infinity' and price < 'Infinity'),
    constraint trade_executions_commission_check check (commission > '-Infinity' and commission < 'Infinity'),
    constraint trade_executions_fee_check check (commission is null or commission_currency is not null)
);
comment on table ibkr.trade_executions is 'The truth about fills: one row per execution of the broker, superseded and voided ones too.';
comment on column ibkr.trade_executions.fetched_at is 'When the content that speaks was first fetched.';
comment on column ibkr.trade_executions.multiplier is 'Null: the contract size is not known.';
create unique index trade_executions_one_canonical
    on ibkr.trade_executions (account_id, exec_id_base, correction_group) where is_canonical;
create index trade_executions_base_idx on ibkr.trade_executions (account_id, exec_id_base, exec_revision desc);
create index trade_executions_settled_idx on ibkr.trade_executions (account_id, settled_key);
create index trade_executions_combo_idx on ibkr.trade_executions (account_id, combo_key) where combo_key is not null;
create index trade_executions_transaction_idx on ibkr.trade_executions (account_id, transaction_id) where transaction_id is not null;
create index trade_executions_broker_trade_idx on ibkr.trade_executions (account_id, broker_trade_id) where broker_trade_id is not null;
create index trade_executions_perm_idx on ibkr.trade_executions (account_id, ib_perm_id) where ib_perm_id is not null;
create index trade_executions_flex_order_idx on ibkr.trade_executions (account_id, flex_order_id) where flex_order_id is not null;
create index trade_executions_order_idx on ibkr.trade_executions (account_id, ib_order_id) where ib_order_id is not null;
create index trade_executions_brokerage_idx
    on ibkr.trade_executions (account_id, brokerage_order_id) where brokerage_order_id is not null;
create index trade_executions_ref_idx on ibkr.trade_executions (account_id, order_ref) where order_ref is not null;
create index trade_executions_fraction_idx on ibkr.trade_executions (account_id, conid) where transaction_type = 'FracShare';
create index trade_executions_trade_idx on ibkr.trade_executions (trade_id, executed_at);
create index trade_executions_day_idx on ibkr.trade_executions (account_id, trade_day);

create table ibkr.booked_fills (
    account_id       bigint      not null,
    exec_id_base     text        not null,
    correction_group smallint    not null,
    ib_exec_id       text        not null,
    source_revision  integer     not null,
    is_bust          boolean     not null,
    booked_hash      bytea       not null,
    created_at       timestamptz not null,
    updated_at       timestamptz not null,
    constraint booked_fills_pkey primary key (account_id, exec_id_base, correction_group),
    constraint booked_fills_account_id_fkey foreign key (account_id) references ibkr.accounts (id),
    constraint booked_fills_source_revision_check check (source_revision >= 1)
);
comment on table ibkr.booked_fills is 'What the ledger was last told of each fill.';

-- ---- what needs a person ----

create table ibkr.anomalies (
    id         uuid        not null,
    account_id bigint      not null,
    kind       text        not null,
    subject    text        not null,
    details    jsonb       not null,
    opened_at  timestamptz not null,
    closed_at  timestamptz,
    run_id     uuid        not null,
    constraint anomalies_pkey primary key (id),
    constraint anomalies_account_id_fkey foreign key (account_id) references ibkr.accounts (id),
    constraint anomalies_run_id_fkey foreign key (run_id) references ibkr.sync_runs (id)
);
comment on table ibkr.anomalies is 'One row per account, kind and subject, reopened in place; everything it is about keeps counting.';
create index anomalies_open_idx on ibkr.anomalies (account_id, kind) where closed_at is null;

create table ibkr.quarantine (
    id            uuid        not null,
    source        text        not null,
    account_code  text        not null,
    reason        text        not null,
    detail        text        not null,
    raw           text        not null,
    state         text        not null default 'open',
    seen_count    integer     not null default 1,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    run_id        uuid,
    decided_by    text,
    decided_at    timestamptz,
    constraint quarantine_pkey primary key (id),
    constraint quarantine_run_id_fkey foreign key (run_id) references ibkr.sync_runs (id),
    constraint quarantine_state_check check (state in ('open', 'resolved', 'accepted')),
    constraint quarantine_decided_check check ((decided_by is null) = (decided_at is null))
);
comment on table ibkr.quarantine is 'Rows that could not be understood, with their text; never dropped and never guessed.';
comment on column ibkr.quarantine.run_id is 'Null: the row came with a message and not from a run.';
create index quarantine_open_idx on ibkr.quarantine (source, account_code) where state = 'open';

create table ibkr.order_sizes (
    account_id     bigint      not null,
    ib_perm_id     bigint      not null,
    order_quantity numeric     not null,
    received_at    timestamptz not null,
    constraint order_sizes_pkey primary key (account_id, ib_perm_id),
    constraint order_sizes_account_id_fkey foreign key (account_id) references ibkr.accounts (id),
    constraint order_sizes_ib_perm_id_check check (ib_perm_id > 0),
    constraint order_sizes_order_quantity_check check (order_quantity > 0 and order_quantity < 'Infinity')
);
comment on table ibkr.order_sizes is 'How much each order was for, told by the desk''s order system.';

-- ---- the web service, positions ----

create table ibkr.flex_tokens (
    name         text          not null,
    fingerprint  text          not null,
    state        text          not null,
    paused_until timestamptz,
    reason_code  integer,
    recent_calls timestamptz[] not null default '{}',
    updated_at   timestamptz   not null,
    constraint flex_tokens_pkey primary key (name),
    constraint flex_tokens_fingerprint_check check (fingerprint ~ '^[0-9a-f]{8}$'),
    constraint flex_tokens_state_check check (state in ('active', 'paused', 'disabled')),
    constraint flex_tokens_pause_check check ((state = 'paused') = (paused_until is not null))
);
comment on table ibkr.flex_tokens is 'Pacing shared by all instances; a name and a fingerprint, never the token.';

create table ibkr.flex_requests (
    id             uuid        not null,
    token_name     text        not null,
    query_id       text        not null,
    from_date      date        not null,
    to_date        date        not null,
    reference_code text,
    statement_url  text,
    state          text        not null,
    not_before     timestamptz not null,
    deferrals      integer     not null default 0,
    error_code     integer,
    error_body     text,
    body_sha256    bytea,
    body_bytes     bigint,
    run_id         uuid,
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    constraint flex_requests_pkey primary key (id),
    constraint flex_requests_token_name_fkey foreign key (token_name) references ibkr.flex_tokens (name),
    constraint flex_requests_run_id_fkey foreign key (run_id) references ibkr.sync_runs (id),
    constraint flex_requests_span_check check (to_date - from_date between 0 and 364),
    constraint flex_requests_state_check check (state in ('new', 'requested', 'fetched', 'failed')),
    constraint flex_requests_error_body_check check (octet_length(error_body) <= 4096)
);
comment on table ibkr.flex_requests is 'Both phases of one statement asked of the web service.';

create table ibkr.broker_positions (
    account_id   bigint      not null,
    run_id       uuid        not null,
    conid        bigint      not null,
    symbol       text        not null,
    sec_type     text        not null,
    currency     text        not null,
    quantity     numeric     not null,
    average_cost numeric,
    as_of        timestamptz not null,
    raw          jsonb       not null,
    constraint broker_positions_pkey primary key (account_id, run_id, conid),
    constraint broker_positions_account_id_fkey foreign key (account_id) references ibkr.accounts (id),
    constraint broker_positions_run_id_fkey foreign key (run_id) references ibkr.sync_runs (id)
);
comment on table ibkr.broker_positions is 'Positions as the broker stated them; comparing is the ledger''s.';

-- ---- row-level security: this room writes the broker's books only ----

alter table ibkr.accounts enable row level security;
alter table ibkr.accounts force row level security;
create policy accounts_read on ibkr.accounts for select using (true);
create policy accounts_insert on ibkr.accounts for insert to ibkr_writer with check (book_id like 'ibkr:%');
create policy accounts_update on ibkr.accounts for update to ibkr_writer
    using (book_id like 'ibkr:%') with check (book_id like 'ibkr:%');

-- ---- the hot path ----

-- Lock one account and say which texts are new:
-- {account_id, payloads: [{ib_exec_id, payload_hash (hex), kind, source, transaction_id, observed_at}], events: [event_key]} ->
-- {payloads: [hex], returned: [hex], events: [event_key], unpaid: [ib_exec_id], is_opened}: unknown ones; known ones that a newer
-- text of the same source, kind and transaction had replaced and that are now seen again after it; rows that count and whose
-- commission is not known. Lock first, read in following statements.
create function ibkr.known(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    the_account constant bigint := (document->>'account_id')::bigint;
    unknown     jsonb;
    returned    jsonb;
    events      jsonb;
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
    return jsonb_build_object(
        'payloads', coalesce(unknown, '[]'), 'returned', coalesce(returned, '[]'), 'events', coalesce(events, '[]'),
        'unpaid', coalesce((
            select jsonb_agg(distinct e.ib_exec_id)
              from jsonb_to_recordset(document->'payloads') as r(ib_exec_id text)
              join ibkr.trade_executions e on e.account_id = the_account and e.ib_exec_id = r.ib_exec_id
             where e.is_canonical and e.commission is null), '[]'),
        'is_opened', (select a.opened_at is not null from ibkr.accounts a where a.id = the_account));
end
$$;

-- Rows that one of the given identities leads to, of one account: the families that corrections and cancels connect.
create function ibkr.family_rows(
    the_account bigint, exec_ids text[], settled_keys text[], transaction_ids bigint[], trade_ids bigint[], fractions bigint[])
returns setof text
language sql stable set enable_seqscan to off as $$
    select e.ib_exec_id from unnest(exec_ids) k(v) join ibkr.trade_executions e on e.account_id = the_account and e.ib_exec_id = k.v
    union
    select e.ib_exec_id from unnest(settled_keys) k(v)
      join ibkr.trade_executions e on e.account_id = the_account and e.settled_key = k.v
    union
    select e.ib_exec_id from unnest(transaction_ids) k(v)
      join ibkr.trade_executions e on e.account_id = the_account and e.transaction_id = k.v
    union
    select p.ib_exec_id from unnest(transaction_ids) k(v)
      join ibkr.execution_payloads p on p.account_id = the_account and p.transaction_id = k.v
    union
    select e.ib_exec_id from unnest(trade_ids) k(v)
      join ibkr.trade_executions e on e.account_id = the_account and e.broker_trade_id = k.v
    union
    select e.ib_exec_id from unnest(fractions) k(v)
      join ibkr.trade_executions e on e.account_id = the_account and e.conid = k.v and e.transaction_type = 'FracShare'
$$;

-- Rows of one account that share a trade or one of the given keys. A composite is the text order:client:order:conid:side:day.
create function ibkr.kin_rows(
    the_account bigint, exec_ids text[], trades uuid[], perm_ids bigint[], flex_ids bigint[], combos text[], brokerages text[],
    refs text[], composites text[])
returns setof text
language sql stable set enable_seqscan to off as $$
    select e.ib_exec_id from unnest(exec_ids) k(v) join ibkr.trade_executions e on e.account_id = the_account and e.ib_exec_id = k.v
    union
    select e.ib_exec_id from unnest(trades) k(v) join ibkr.trade_executions e on e.trade_id = k.v and e.account_id = the_account
    union
    select e.ib_exec_id from unnest(perm_ids) k(v)
      join ibkr.trade_executions e on e.account_id = the_account and e.ib_perm_id = k.v
    union
    select e.ib_exec_id from unnest(flex_ids) k(v)
      join ibkr.trade_executions e on e.account_id = the_account and e.flex_order_id = k.v
    union
    select e.ib_exec_id from unnest(combos) k(v) join ibkr.trade_executions e on e.account_id = the_account and e.combo_key = k.v
    union
    select e.ib_exec_id from unnest(brokerages) k(v)
      join ibkr.trade_executions e on e.account_id = the_account and e.brokerage_order_id = k.v
    union
    select e.ib_exec_id from unnest(refs) k(v) join ibkr.trade_executions e on e.account_id = the_account and e.order_ref = k.v
    union
    select e.ib_exec_id from unnest(composites) k(v)
      join ibkr.trade_executions e on e.account_id = the_account and e.ib_order_id = split_part(k.v, ':', 3)::bigint
     where k.v = concat_ws(':', 'order', coalesce(e.client_id::text, ''), e.ib_order_id, e.conid, e.side, e.trade_day)
$$;

-- Read everything that new rows of a locked account touch, until nothing more is touched:
-- {account_id, exec_ids, settled_keys, transaction_ids, trade_ids, fractions, event_keys, perm_ids, flex_ids, combos,
--  brokerages, refs, composites, ref_prefixes, bases} ->
-- {payloads, events, executions (without raw), order_sizes, booked, families: [ib_exec_id]}.
create function ibkr.load(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    the_account constant bigint := (document->>'account_id')::bigint;
    exec_ids   text[]   := array(select jsonb_array_elements_text(document->'exec_ids'));
    settled    text[]   := array(select jsonb_array_elements_text(document->'settled_keys'));
    txs        bigint[] := array(select jsonb_array_elements_text(document->'transaction_ids')::bigint);
    deals      bigint[] := array(select jsonb_array_elements_text(document->'trade_ids')::bigint);
    fractions  bigint[] := array(select jsonb_array_elements_text(document->'fractions')::bigint);
    event_keys text[]   := array(select jsonb_array_elements_text(document->'event_keys'));
    perms      bigint[] := array(select jsonb_array_elements_text(document->'perm_ids')::bigint);
    flexes     bigint[] := array(select jsonb_array_elements_text(document->'flex_ids')::bigint);
    combos     text[]   := array(select jsonb_array_elements_text(document->'combos'));
    brokerages text[]   := array(select jsonb_array_elements_text(document->'brokerages'));
    refs       text[]   := array(select jsonb_array_elements_text(document->'refs'));
    composites text[]   := array(select jsonb_array_elements_text(document->'composites'));
    prefixes   text[]   := array(select jsonb_array_elements_text(document->'ref_prefixes'));
    bases      text[]   := array(select jsonb_array_elements_text(document->'bases'));
    parents    uuid[]   := '{}';
    families   text[]   := '{}';
    kin        text[];
    before     bigint   := -1;
    size       bigint   := 0;
begin
    while size <> before loop
        before := size;
        families := array(select ibkr.family_rows(the_account, exec_ids, settled, txs, deals, fractions));
        select array_cat(settled, array_agg(e.settled_key)), array_cat(deals, array_agg(e.broker_trade_id)),
               array_cat(fractions, array_agg(e.conid) filter (where e.transaction_type = 'FracShare'))
          into settled, deals, fractions
          from unnest(families) k(v) join ibkr.trade_executions e on e.account_id = the_account and e.ib_exec_id = k.v;
        txs := txs || array(select p.transaction_id from unnest(families) k(v)
                              join ibkr.execution_payloads p on p.account_id = the_account and p.ib_exec_id = k.v);
        event_keys := array(
            select unnest(event_keys)
            union select e.event_key from unnest(txs) k(v)
                    join ibkr.broker_events e on e.account_id = the_account and e.orig_transaction_id = k.v
            union select e.event_key from unnest(deals) k(v)
                    join ibkr.broker_events e on e.account_id = the_account and e.orig_trade_id = k.v
            union select e.event_key from unnest(fractions) k(v)
                    join ibkr.broker_events e on e.account_id = the_account and e.conid = k.v and e.kind = 'fraction_cancel');
        select array_cat(txs, array_agg(e.orig_transaction_id)), array_cat(deals, array_agg(e.orig_trade_id)),
               array_cat(fractions, array_agg(e.conid) filter (where e.kind = 'fraction_cancel'))
          into txs, deals, fractions
          from unnest(event_keys) k(v) join ibkr.broker_events e on e.account_id = the_account and e.event_key = k.v;
        settled := array(select distinct v from unnest(settled) k(v) where v is not null);
        txs := array(select distinct v from unnest(txs) k(v) where v is not null);
        deals := array(select distinct v from unnest(deals) k(v) where v is not null);
        fractions := array(select distinct v from unnest(fractions) k(v) where v is not null);
        size := cardinality(families) + cardinality(event_keys) + cardinality(txs) + cardinality(deals) + cardinality(fractions)
                + cardinality(settled);
    end loop;

    kin := families;
    before := -1;
    size := 0;
    while size <> before loop
        before := size;
        kin := array(select ibkr.kin_rows(the_account, kin, parents, perms, flexes, combos, brokerages, refs, composites));
        select array_cat(parents, array_agg(e.trade_id)), array_cat(perms, array_agg(e.ib_perm_id)),
               array_cat(flexes, array_agg(e.flex_order_id)), array_cat(combos, array_agg(e.combo_key)),
               array_cat(brokerages, array_agg(e.brokerage_order_id)),
               array_cat(refs, array_agg(e.order_ref) filter (where exists (
                   select from unnest(prefixes) as t(prefix) where starts_with(e.order_ref, t.prefix)))),
               array_cat(composites, array_agg(
                   concat_ws(':', 'order', coalesce(e.client_id::text, ''), e.ib_order_id, e.conid, e.side, e.trade_day))
                   filter (where e.ib_order_id > 0))
          into parents, perms, flexes, combos, brokerages, refs, composites
          from unnest(kin) k(v) join ibkr.trade_executions e on e.account_id = the_account and e.ib_exec_id = k.v;
        parents := array(select distinct v from unnest(parents) k(v) where v is not null);
        perms := array(select distinct v from unnest(perms) k(v) where v > 0);
        flexes := array(select distinct v from unnest(flexes) k(v) where v is not null);
        combos := array(select distinct v from unnest(combos) k(v) where v is not null);
        brokerages := array(select distinct v from unnest(brokerages) k(v) where v is not null);
        refs := array(select distinct v from unnest(refs) k(v) where v is not null);
        composites := array(select distinct v from unnest(composites) k(v) where v is not null);
        size := cardinality(kin) + cardinality(parents) + cardinality(perms) + cardinality(flexes) + cardinality(combos)
                + cardinality(brokerages) + cardinality(refs) + cardinality(composites);
    end loop;

    return jsonb_build_object(
        'families', to_jsonb(families),
        'payloads', coalesce((
            select jsonb_agg(jsonb_build_object('ib_exec_id', p.ib_exec_id, 'source', p.source, 'kind', p.kind,
                                                'observed_at', p.observed_at, 'raw', p.raw))
              from (select unnest(families) union select unnest(exec_ids)) k(v)
              join ibkr.execution_payloads p on p.account_id = the_account and p.ib_exec_id = k.v), '[]'),
        'events', coalesce((
            select jsonb_agg(jsonb_build_object('event_key', e.event_key, 'source', e.source, 'observed_at', e.observed_at,
                                                'state', e.state, 'ib_exec_id', e.ib_exec_id, 'raw', e.raw))
              from unnest(event_keys) k(v)
              join ibkr.broker_events e on e.account_id = the_account and e.event_key = k.v), '[]'),
        'executions', coalesce((
            select jsonb_agg(to_jsonb(e) - 'raw')
              from unnest(kin) k(v) join ibkr.trade_executions e on e.account_id = the_account and e.ib_exec_id = k.v), '[]'),
        'order_sizes', coalesce((
            select jsonb_agg(jsonb_build_object('ib_perm_id', s.ib_perm_id, 'order_quantity', s.order_quantity))
              from unnest(perms) k(v) join ibkr.order_sizes s on s.account_id = the_account and s.ib_perm_id = k.v), '[]'),
        'booked', coalesce((
            select jsonb_agg(to_jsonb(b))
              from (select unnest(bases)
                    union select e.exec_id_base from unnest(kin) k(v)
                            join ibkr.trade_executions e on e.account_id = the_account and e.ib_exec_id = k.v) k(v)
              join ibkr.booked_fills b on b.account_id = the_account and b.exec_id_base = k.v), '[]'));
end
$$;

-- Write what follows from new rows of a locked account, cleared before set, because partial unique indexes are checked row by
-- row. Every list is given; rows that would not change stay unwritten, so that updated_at only moves with another column.
-- {account_id, run_id, now, parser_version, payloads, returned, events, event_states, emptied, trades, keys, cleared,
--  executions, moved, anomalies, examined, booked} -> null.
create function ibkr.apply(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_account constant bigint := (document->>'account_id')::bigint;
    the_run     constant uuid := (document->>'run_id')::uuid;
    desk_now    constant timestamptz := (document->>'now')::timestamptz;
begin
    insert into ibkr.execution_payloads (account_id, ib_exec_id, payload_hash, source, kind, transaction_id, observed_at, run_id,
                                         parser_version, raw, recorded_at)
    select the_account, r.ib_exec_id, decode(r.payload_hash, 'hex'), r.source, r.kind, r.transaction_id, r.observed_at, the_run,
           (document->>'parser_version')::integer, r.raw, desk_now
      from jsonb_to_recordset(document->'payloads') as r(
               ib_exec_id text, payload_hash text, source text, kind text, transaction_id bigint, observed_at timestamptz,
               raw jsonb);

    update ibkr.execution_payloads p set observed_at = r.observed_at
      from jsonb_to_recordset(document->'returned') as r(ib_exec_id text, payload_hash text, observed_at timestamptz)
     where p.account_id = the_account and p.ib_exec_id = r.ib_exec_id and p.payload_hash = decode(r.payload_hash, 'hex');

    insert into ibkr.broker_events (id, account_id, event_key, kind, source, transaction_id, orig_transaction_id, orig_trade_id,
                                    conid, signed_quantity, price, commission, executed_at, report_date, observed_at, state,
                                    raw, run_id, created_at, updated_at)
    select r.id, the_account, r.event_key, r.kind, r.source, r.transaction_id, r.orig_transaction_id, r.orig_trade_id, r.conid,
           r.signed_quantity, r.price, r.commission, r.executed_at, r.report_date, r.observed_at, 'parked', r.raw, the_run,
           desk_now, desk_now
      from jsonb_to_recordset(document->'events') as r(
               id uuid, event_key text, kind text, source text, transaction_id bigint, orig_transaction_id bigint,
               orig_trade_id bigint, conid bigint, signed_quantity numeric, price numeric, commission numeric,
               executed_at timestamptz, report_date date, observed_at timestamptz, raw jsonb);

    update ibkr.broker_events e set state = r.state, ib_exec_id = r.ib_exec_id, updated_at = desk_now
      from jsonb_to_recordset(document->'event_states') as r(id uuid, state text, ib_exec_id text)
     where e.id = r.id and (e.state, e.ib_exec_id) is distinct from (r.state, r.ib_exec_id);

    -- An emptied trade gives up its permanent id before its heir may take it.
    update ibkr.trades t
       set merged_into = r.merged_into, ib_perm_id = null, total_quantity = 0, total_value = null, avg_price = null,
           commission = null, commission_currency = null, missing_commission_count = 0, execution_count = 0,
           canonical_count = 0, status = 'cancelled', updated_at = desk_now
      from jsonb_to_recordset(document->'emptied') as r(id uuid, merged_into uuid)
     where t.id = r.id and t.account_id = the_account;

    insert into ibkr.trades as t (
               account_id, fetched_at, created_at, updated_at,
               id, match_kind, confidence, ib_perm_id, ib_order_id, flex_order_id, client_id, conid, order_ref, symbol,
               sec_type, side, exchange, currency, trade_day, is_combo, status, order_quantity, total_quantity,
               total_value, avg_price, commission, commission_currency, missing_commission_count, execution_count,
               canonical_count, first_executed_at, last_executed_at)
    select the_account, desk_now, desk_now, desk_now,
           r.id, r.match_kind, r.confidence, r.ib_perm_id, r.ib_order_id, r.flex_order_id, r.client_id, r.conid,
           r.order_ref, r.symbol, r.sec_type, r.side, r.exchange, r.currency, r.trade_day, r.is_combo, r.status,
           r.order_quantity, r.total_quantity, r.total_value, r.avg_price, r.commission, r.commission_currency,
           r.missing_commission_count, r.execution_count, r.canonical_count, r.first_executed_at, r.last_executed_at
      from jsonb_to_recordset(document->'trades') as r(
               id uuid, match_kind text, confidence text, ib_perm_id bigint, ib_order_id bigint, flex_order_id bigint,
               client_id bigint, conid bigint, order_ref text, symbol text, sec_type text, side text, exchange text,
               currency text, trade_day date, is_combo boolean, status text, order_quantity numeric, total_quantity
               numeric, total_value numeric, avg_price numeric, commission numeric, commission_currency text,
               missing_commission_count integer, execution_count integer, canonical_count integer, first_executed_at
               timestamptz, last_executed_at timestamptz)
    on conflict on constraint trades_pkey do update
       set merged_into = null, fetched_at = desk_now, updated_at = desk_now,
           match_kind = excluded.match_kind, confidence = excluded.confidence, ib_perm_id = excluded.ib_perm_id,
           ib_order_id = excluded.ib_order_id, flex_order_id = excluded.flex_order_id, client_id = excluded.client_id,
           conid = excluded.conid, order_ref = excluded.order_ref, symbol = excluded.symbol, sec_type = excluded.sec_type,
           side = excluded.side, exchange = excluded.exchange, currency = excluded.currency, trade_day =
           excluded.trade_day, is_combo = excluded.is_combo, status = excluded.status, order_quantity =
           excluded.order_quantity, total_quantity = excluded.total_quantity, total_value = excluded.total_value,
           avg_price = excluded.avg_price, commission = excluded.commission, commission_currency =
           excluded.commission_currency, missing_commission_count = excluded.missing_commission_count, execution_count =
           excluded.execution_count, canonical_count = excluded.canonical_count, first_executed_at =
           excluded.first_executed_at, last_executed_at = excluded.last_executed_at
     where t.merged_into is not null or (
               t.match_kind, t.confidence, t.ib_perm_id, t.ib_order_id, t.flex_order_id, t.client_id, t.conid,
               t.order_ref, t.symbol, t.sec_type, t.side, t.exchange, t.currency, t.trade_day, t.is_combo, t.status,
               t.order_quantity, t.total_quantity, t.total_value, t.avg_price, t.commission, t.commission_currency,
               t.missing_commission_count, t.execution_count, t.canonical_count, t.first_executed_at, t.last_executed_at)
           is distinct from (
               excluded.match_kind, excluded.confidence, excluded.ib_perm_id, excluded.ib_order_id,
               excluded.flex_order_id, excluded.client_id, excluded.conid, excluded.order_ref, excluded.symbol,
               excluded.sec_type, excluded.side, excluded.exchange, excluded.currency, excluded.trade_day,
               excluded.is_combo, excluded.status, excluded.order_quantity, excluded.total_quantity, excluded.total_value,
               excluded.avg_price, excluded.commission, excluded.commission_currency, excluded.missing_commission_count,
               excluded.execution_count, excluded.canonical_count, excluded.first_executed_at, excluded.last_executed_at);

    update ibkr.trade_keys k set trade_id = r.merged_into
      from jsonb_to_recordset(document->'emptied') as r(id uuid, merged_into uuid)
     where k.trade_id = r.id and k.account_id = the_account;

    insert into ibkr.trade_keys as k (account_id, key, trade_id)
    select the_account, r.key, r.trade_id from jsonb_to_recordset(document->'keys') as r(key text, trade_id uuid)
    on conflict on constraint trade_keys_pkey do update set trade_id = excluded.trade_id
     where k.trade_id is distinct from excluded.trade_id;

    update ibkr.trade_executions e set state = 'superseded'
      from jsonb_array_elements_text(document->'cleared') as r(id)
     where e.id = r.id::uuid;

    insert into ibkr.trade_executions as e (
               account_id, fetched_at, created_at, updated_at,
               id, trade_id, ib_exec_id, id_kind, exec_id_base, exec_revision, settled_key, combo_key, correction_group,
               is_correctable, state, supersedes_execution_id, voided_by_event_id, transaction_id, broker_trade_id,
               flex_order_id, ib_perm_id, ib_order_id, client_id, brokerage_order_id, order_ref, transaction_type,
               exec_role, conid, symbol, sec_type, underlying_symbol, fx_rate_to_base, multiplier, expiry, strike,
               put_call, executed_at, executed_at_text, is_time_ambiguous, trade_day, report_date, side, quantity, price,
               cum_quantity, exchange, liquidity, currency, commission, commission_currency, taxes, broker_realized_pnl,
               notes, open_close, sources, payload_hash, observed_at, raw)
    select the_account, desk_now, desk_now, desk_now,
           r.id, r.trade_id, r.ib_exec_id, r.id_kind, r.exec_id_base, r.exec_revision, r.settled_key, r.combo_key,
           r.correction_group, r.is_correctable, r.state, r.supersedes_execution_id, r.voided_by_event_id,
           r.transaction_id, r.broker_trade_id, r.flex_order_id, r.ib_perm_id, r.ib_order_id, r.client_id,
           r.brokerage_order_id, r.order_ref, r.transaction_type, r.exec_role, r.conid, r.symbol, r.sec_type,
           r.underlying_symbol, r.fx_rate_to_base, r.multiplier, r.expiry, r.strike, r.put_call, r.executed_at,
           r.executed_at_text, r.is_time_ambiguous, r.trade_day, r.report_date, r.side, r.quantity, r.price,
           r.cum_quantity, r.exchange, r.liquidity, r.currency, r.commission, r.commission_currency, r.taxes,
           r.broker_realized_pnl, r.notes, r.open_close, r.sources, decode(r.payload_hash, 'hex'), r.observed_at, r.raw
      from jsonb_to_recordset(document->'executions') as r(
               id uuid, trade_id uuid, ib_exec_id text, id_kind text, exec_id_base text, exec_revision integer,
               settled_key text, combo_key text, correction_group smallint, is_correctable boolean, state text,
               supersedes_execution_id uuid, voided_by_event_id uuid, transaction_id bigint, broker_trade_id bigint,
               flex_order_id bigint, ib_perm_id bigint, ib_order_id bigint, client_id bigint, brokerage_order_id text,
               order_ref text, transaction_type text, exec_role text, conid bigint, symbol text, sec_type text,
               underlying_symbol text, fx_rate_to_base numeric, multiplier numeric, expiry date, strike numeric, put_call
               text, executed_at timestamptz, executed_at_text text, is_time_ambiguous boolean, trade_day date,
               report_date date, side text, quantity numeric, price numeric, cum_quantity numeric, exchange text,
               liquidity text, currency text, commission numeric, commission_currency text, taxes numeric,
               broker_realized_pnl numeric, notes text[], open_close text, sources text[], payload_hash text, observed_at
               timestamptz, raw jsonb)
    on conflict on constraint trade_executions_pkey do update
       set fetched_at = case when e.payload_hash = excluded.payload_hash then e.fetched_at else desk_now end,
           updated_at = desk_now,
           trade_id = excluded.trade_id, id_kind = excluded.id_kind, exec_id_base = excluded.exec_id_base, exec_revision =
           excluded.exec_revision, settled_key = excluded.settled_key, combo_key = excluded.combo_key, correction_group =
           excluded.correction_group, is_correctable = excluded.is_correctable, state = excluded.state,
           supersedes_execution_id = excluded.supersedes_execution_id, voided_by_event_id = excluded.voided_by_event_id,
           transaction_id = excluded.transaction_id, broker_trade_id = excluded.broker_trade_id, flex_order_id =
           excluded.flex_order_id, ib_perm_id = excluded.ib_perm_id, ib_order_id = excluded.ib_order_id, client_id =
           excluded.client_id, brokerage_order_id = excluded.brokerage_order_id, order_ref = excluded.order_ref,
           transaction_type = excluded.transaction_type, exec_role = excluded.exec_role, conid = excluded.conid, symbol =
           excluded.symbol, sec_type = excluded.sec_type, underlying_symbol = excluded.underlying_symbol, fx_rate_to_base
           = excluded.fx_rate_to_base, multiplier = excluded.multiplier, expiry = excluded.expiry, strike =
           excluded.strike, put_call = excluded.put_call, executed_at = excluded.executed_at, executed_at_text =
           excluded.executed_at_text, is_time_ambiguous = excluded.is_time_ambiguous, trade_day = excluded.trade_day,
           report_date = excluded.report_date, side = excluded.side, quantity = excluded.quantity, price = excluded.price,
           cum_quantity = excluded.cum_quantity, exchange = excluded.exchange, liquidity = excluded.liquidity, currency =
           excluded.currency, commission = excluded.commission, commission_currency = excluded.commission_currency, taxes
           = excluded.taxes, broker_realized_pnl = excluded.broker_realized_pnl, notes = excluded.notes, open_close =
           excluded.open_close, sources = excluded.sources, payload_hash = excluded.payload_hash, observed_at =
           excluded.observed_at, raw = excluded.raw;

    update ibkr.trade_executions e set trade_id = r.trade_id, exec_role = r.exec_role, updated_at = desk_now
      from jsonb_to_recordset(document->'moved') as r(id uuid, trade_id uuid, exec_role text)
     where e.id = r.id and (e.trade_id, e.exec_role) is distinct from (r.trade_id, r.exec_role);

    update ibkr.anomalies a set closed_at = desk_now
      from jsonb_to_recordset(document->'examined') as r(kind text, subjects text[])
     where a.account_id = the_account and a.closed_at is null and a.kind = r.kind and a.subject = any (r.subjects)
       and not exists (select from jsonb_to_recordset(document->'anomalies') as o(id uuid) where o.id = a.id);

    insert into ibkr.anomalies as a (id, account_id, kind, subject, details, opened_at, run_id)
    select r.id, the_account, r.kind, r.subject, r.details, desk_now, the_run
      from jsonb_to_recordset(document->'anomalies') as r(id uuid, kind text, subject text, details jsonb)
    on conflict on constraint anomalies_pkey do update
       set details = excluded.details, closed_at = null, run_id = excluded.run_id,
           opened_at = case when a.closed_at is null then a.opened_at else excluded.opened_at end
     where a.closed_at is not null or a.details is distinct from excluded.details;

    insert into ibkr.booked_fills as b (account_id, exec_id_base, correction_group, ib_exec_id, source_revision, is_bust,
                                        booked_hash, created_at, updated_at)
    select the_account, r.exec_id_base, r.correction_group, r.ib_exec_id, r.source_revision, r.is_bust,
           decode(r.booked_hash, 'hex'), desk_now, desk_now
      from jsonb_to_recordset(document->'booked') as r(
               exec_id_base text, correction_group smallint, ib_exec_id text, source_revision integer, is_bust boolean,
               booked_hash text)
    on conflict on constraint booked_fills_pkey do update
       set ib_exec_id = excluded.ib_exec_id, source_revision = excluded.source_revision, is_bust = excluded.is_bust,
           booked_hash = excluded.booked_hash, updated_at = desk_now;
    return null;
end
$$;

-- Write configuration down: {now, accounts: [{id, code, is_enabled, base_currency, flex_time_zone, trade_day_zone,
-- trusted_ref_prefixes}], aliases: [{alias, account_id, segment}]} -> null. Accounts that are not named are switched off.
create function ibkr.configure(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    desk_now constant timestamptz := (document->>'now')::timestamptz;
begin
    insert into ibkr.accounts as a (id, code, is_enabled, base_currency, flex_time_zone, trade_day_zone, trusted_ref_prefixes,
                                    created_at, updated_at)
    select r.id, r.code, r.is_enabled, r.base_currency, r.flex_time_zone, r.trade_day_zone, r.trusted_ref_prefixes, desk_now,
           desk_now
      from jsonb_to_recordset(document->'accounts') as r(
               id bigint, code text, is_enabled boolean, base_currency text, flex_time_zone text, trade_day_zone text,
               trusted_ref_prefixes text[])
     order by r.id
    on conflict on constraint accounts_pkey do update
       set is_enabled = excluded.is_enabled, base_currency = excluded.base_currency, flex_time_zone = excluded.flex_time_zone,
           trade_day_zone = excluded.trade_day_zone, trusted_ref_prefixes = excluded.trusted_ref_prefixes,
           updated_at = desk_now
     where (a.is_enabled, a.base_currency, a.flex_time_zone, a.trade_day_zone, a.trusted_ref_prefixes)
           is distinct from (excluded.is_enabled, excluded.base_currency, excluded.flex_time_zone, excluded.trade_day_zone,
                             excluded.trusted_ref_prefixes);
    update ibkr.accounts a set is_enabled = false, updated_at = desk_now
     where a.is_enabled
       and not exists (select from jsonb_to_recordset(document->'accounts') as r(id bigint) where r.id = a.id);
    insert into ibkr.account_aliases as k (alias, account_id, segment)
    select r.alias, r.account_id, r.segment
      from jsonb_to_recordset(document->'aliases') as r(alias text, account_id bigint, segment text)
     order by r.alias
    on conflict on constraint account_aliases_pkey do update
       set account_id = excluded.account_id, segment = excluded.segment
     where (k.account_id, k.segment) is distinct from (excluded.account_id, excluded.segment);
    return null;
end
$$;

-- Keep refused rows or count them: {run_id, now, rows: [{id, source, account_code, reason, detail, raw}]} -> {open}: how many
-- of them still need a decision, not counting rows of accounts that are left out on purpose.
create function ibkr.put_aside(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    still_open bigint;
begin
    insert into ibkr.quarantine as q (id, source, account_code, reason, detail, raw, first_seen_at, last_seen_at, run_id)
    select distinct on (r.id) r.id, r.source, r.account_code, r.reason, r.detail, r.raw, desk_now, desk_now,
           (document->>'run_id')::uuid
      from jsonb_to_recordset(document->'rows') as r(
               id uuid, source text, account_code text, reason text, detail text, raw text)
     order by r.id
    on conflict on constraint quarantine_pkey do update
       set seen_count = q.seen_count + 1, last_seen_at = greatest(q.last_seen_at, excluded.last_seen_at);
    select count(*) into still_open
      from ibkr.quarantine q
     where q.state = 'open' and q.reason <> 'account_not_allowed'
       and q.id in (select r.id from jsonb_to_recordset(document->'rows') as r(id uuid));
    return jsonb_build_object('open', still_open);
end
$$;

-- Begin a run: {id, job_id, source, kind, is_backfill, requested_from, requested_to, now, parser_version} -> null.
create function ibkr.begin_run(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    insert into ibkr.sync_runs (id, job_id, source, kind, is_backfill, state, requested_from, requested_to, started_at,
                                parser_version)
    values ((document->>'id')::uuid, (document->>'job_id')::uuid, document->>'source', document->>'kind',
            (document->>'is_backfill')::boolean, 'running', (document->>'requested_from')::timestamptz,
            (document->>'requested_to')::timestamptz, (document->>'now')::timestamptz,
            (document->>'parser_version')::integer);
    return null;
end
$$;

-- Open anomalies, or again those that were closed: {run_id, now, rows: [{id, account_id, kind, subject, details}]} -> null.
create function ibkr.open_anomalies(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    desk_now constant timestamptz := (document->>'now')::timestamptz;
begin
    insert into ibkr.anomalies as a (id, account_id, kind, subject, details, opened_at, run_id)
    select n.id, n.account_id, n.kind, n.subject, n.details, desk_now, (document->>'run_id')::uuid
      from jsonb_to_recordset(document->'rows') as n(id uuid, account_id bigint, kind text, subject text, details jsonb)
    on conflict on constraint anomalies_pkey do update
       set details = excluded.details, closed_at = null, run_id = excluded.run_id, opened_at = excluded.opened_at
     where a.closed_at is not null;
    return null;
end
$$;

-- End a run: {id, source, state, now, counts, error_class, error_detail, client_version, coverage: [{account_id, covered_from,
-- covered_to, earliest_seen_at, latest_seen_at, is_complete}], anomalies: rows of ibkr.open_anomalies} -> {moved: [account_id]}.
-- Only a complete part moves its cursor, never backwards.
create function ibkr.end_run(document jsonb) returns jsonb
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
    insert into ibkr.sync_coverage (account_id, run_id, covered_from, covered_to, earliest_seen_at, latest_seen_at, is_complete)
    select r.account_id, the_run, r.covered_from, r.covered_to, r.earliest_seen_at, r.latest_seen_at, r.is_complete
      from jsonb_to_recordset(document->'coverage') as r(
               account_id bigint, covered_from timestamptz, covered_to timestamptz, earliest_seen_at timestamptz,
               latest_seen_at timestamptz, is_complete boolean)
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

create view ibkr.v_accounts as
    select id as account_id, code, book_id, is_enabled, base_currency, opened_at, created_at, updated_at from ibkr.accounts;
comment on view ibkr.v_accounts is 'opened_at null: executions are stored and shown, but neither booked nor told.';

create view ibkr.v_trades as
    select t.id as trade_id, t.account_id, a.code as account_code, a.book_id, t.match_kind, t.confidence, t.merged_into,
           t.ib_perm_id, t.ib_order_id, t.flex_order_id, t.client_id, t.conid, t.order_ref, t.symbol, t.sec_type, t.side,
           t.exchange, t.currency, t.trade_day, t.is_combo, t.status, t.order_quantity, t.total_quantity, t.total_value,
           t.avg_price, t.commission, t.commission_currency, t.missing_commission_count, t.execution_count, t.canonical_count,
           t.first_executed_at, t.last_executed_at, t.fetched_at, t.created_at, t.updated_at,
           array(select k.key from ibkr.trade_keys k where k.trade_id = t.id order by k.key collate "C") as keys
      from ibkr.trades t join ibkr.accounts a on a.id = t.account_id;
comment on view ibkr.v_trades is 'Trades, emptied ones too (merged_into is set).';

create view ibkr.v_trade_executions as
    select e.id as execution_id, e.trade_id, e.account_id, a.code as account_code, a.book_id, e.ib_exec_id, e.id_kind,
           e.exec_id_base, e.exec_revision, e.settled_key, e.combo_key, e.correction_group, e.is_correctable, e.state,
           e.is_canonical, e.supersedes_execution_id, e.voided_by_event_id, e.transaction_id, e.broker_trade_id,
           e.flex_order_id, e.ib_perm_id, e.ib_order_id, e.client_id, e.brokerage_order_id, e.order_ref, e.transaction_type,
           e.exec_role, e.conid, e.symbol, e.sec_type, e.underlying_symbol, e.fx_rate_to_base, e.multiplier, e.expiry, e.strike,
           e.put_call, e.executed_at, e.executed_at_text, e.is_time_ambiguous, e.trade_day, e.report_date, e.side, e.quantity,
           e.signed_quantity, e.price, e.cum_quantity, e.exchange, e.liquidity, e.currency, e.commission,
           e.commission_currency, e.taxes, e.broker_realized_pnl, e.notes, e.open_close, e.sources, e.raw, e.fetched_at,
           e.created_at, e.updated_at
      from ibkr.trade_executions e join ibkr.accounts a on a.id = e.account_id;

create view ibkr.v_payloads as
    select p.account_id, p.ib_exec_id, encode(p.payload_hash, 'hex') as payload_hash, p.source, p.kind, p.transaction_id,
           p.observed_at, p.run_id, p.parser_version, p.raw, p.recorded_at
      from ibkr.execution_payloads p;
comment on view ibkr.v_payloads is 'Every text of an execution: its history.';

create view ibkr.v_sync_runs as
    select r.id as run_id, r.job_id, r.source, r.kind, r.is_backfill, r.state, r.requested_from, r.requested_to, r.started_at,
           r.finished_at, r.counts, r.error_class, r.parser_version, r.client_version,
           coalesce((select jsonb_agg(jsonb_build_object(
                         'account_id', c.account_id, 'covered_from', c.covered_from, 'covered_to', c.covered_to,
                         'earliest_seen_at', c.earliest_seen_at, 'latest_seen_at', c.latest_seen_at,
                         'is_complete', c.is_complete) order by c.account_id)
                       from ibkr.sync_coverage c where c.run_id = r.id), '[]') as covered
      from ibkr.sync_runs r;

create view ibkr.v_coverage_days as
    select d.account_id, d.day,
           case when d.settled @> tstzrange(d.from_at, d.to_at) then 'settled'
                when d.reached && tstzrange(d.from_at, d.to_at) then 'provisional'
                else 'gap' end as state
      from (select s.account_id, g.day::date as day, s.settled, s.reached,
                   g.day::timestamp at time zone s.zone as from_at,
                   (g.day + interval '1 day')::timestamp at time zone s.zone as to_at
              from (select a.id as account_id, a.flex_time_zone as zone,
                           min(r.requested_from) as first_at, max(coalesce(c.covered_to, r.requested_to)) as last_at,
                           coalesce(range_agg(tstzrange(c.covered_from, c.covered_to)) filter (
                               where r.source = 'flex' and c.is_complete and c.covered_from is not null), '{}') as settled,
                           coalesce(range_agg(tstzrange(c.covered_from, c.covered_to)) filter (
                               where c.covered_from is not null), '{}') as reached
                      from ibkr.sync_coverage c
                      join ibkr.sync_runs r on r.id = c.run_id and r.kind = 'executions'
                      join ibkr.accounts a on a.id = c.account_id
                     group by a.id, a.flex_time_zone) s
             cross join lateral generate_series(
                 date_trunc('day', s.first_at at time zone s.zone),
                 date_trunc('day', (s.last_at - interval '1 microsecond') at time zone s.zone),
                 interval '1 day') as g(day)) d;
comment on view ibkr.v_coverage_days is 'Per account and day: settled by a statement, provisional from the socket, or a gap.';

create view ibkr.v_anomalies as
    select n.id as anomaly_id, n.account_id, a.code as account_code, n.kind, n.subject, n.details, n.opened_at, n.closed_at,
           n.run_id
      from ibkr.anomalies n join ibkr.accounts a on a.id = n.account_id;

create view ibkr.v_quarantine as
    select id as quarantine_id, source, account_code, reason, detail, raw, state, seen_count, first_seen_at, last_seen_at, run_id,
           decided_by, decided_at
      from ibkr.quarantine;

-- ---- grants: nobody may delete ----

revoke all on all functions in schema ibkr from public;

grant select on ibkr.v_accounts, ibkr.v_trades, ibkr.v_trade_executions, ibkr.v_payloads, ibkr.v_sync_runs,
                ibkr.v_coverage_days, ibkr.v_anomalies, ibkr.v_quarantine
    to ibkr_reader, ibkr_writer, desk_operator;
grant ibkr_reader to tracker_reader;

grant select, insert on ibkr.execution_payloads to ibkr_writer;
grant update (observed_at) on ibkr.execution_payloads to ibkr_writer;
grant select, insert on ibkr.sync_coverage, ibkr.broker_positions to ibkr_writer;
grant select, insert, update on ibkr.accounts, ibkr.account_aliases, ibkr.jobs, ibkr.sync_runs, ibkr.sync_cursors,
                                ibkr.broker_events, ibkr.trades, ibkr.trade_keys, ibkr.trade_executions, ibkr.booked_fills,
                                ibkr.anomalies, ibkr.quarantine, ibkr.order_sizes, ibkr.flex_tokens, ibkr.flex_requests
    to ibkr_writer;
grant execute on function
    ibkr.known(jsonb), ibkr.family_rows(bigint, text[], text[], bigint[], bigint[], bigint[]),
    ibkr.kin_rows(bigint, text[], uuid[], bigint[], bigint[], text[], text[], text[], text[]), ibkr.load(jsonb),
    ibkr.apply(jsonb), ibkr.configure(jsonb), ibkr.put_aside(jsonb), ibkr.begin_run(jsonb), ibkr.open_anomalies(jsonb),
    ibkr.end_run(jsonb)
    to ibkr_writer;

-- ==== 0013_ibkr_jobs.sql =============================================================================================

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

-- ==== 0014_ibkr_reading.sql ==========================================================================================

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

-- ==== 0015_ibkr_pages.sql ============================================================================================

-- What a screen of broker trades still lacked: pages of one status, and the run that stands behind each covered day.
-- Sources: ibkr.md 12, tracker.md 5.

-- A status that few trades have (cancelled, expired) is found without walking all the others.
create index trades_status_idx on ibkr.trades (status, coalesce(last_executed_at, fetched_at) desc, id desc);

create view ibkr.v_day_runs as
    select c.account_id, g.day::date as day, c.run_id, r.source, c.is_complete, r.started_at, c.covered_from, c.covered_to
      from ibkr.sync_coverage c
      join ibkr.sync_runs r on r.id = c.run_id and r.kind = 'executions'
      join ibkr.accounts a on a.id = c.account_id
     cross join lateral generate_series(
         date_trunc('day', c.covered_from at time zone a.flex_time_zone),
         date_trunc('day', (c.covered_to - interval '1 microsecond') at time zone a.flex_time_zone),
         interval '1 day') as g(day)
     where c.covered_from is not null;
comment on view ibkr.v_day_runs is 'Each run of executions with every day, in the account''s statement zone, that its coverage touches.';

grant select on ibkr.v_day_runs to ibkr_reader, ibkr_writer, desk_operator;

-- ==== 0016_ledger_at_scale.sql =======================================================================================

-- Room ledger at a hundred thousand positions: pages of the past read what they show, not the book.

-- Entries by themselves, newest first, with the columns that a page is filtered by, so that a filter is answered inside the
-- index. Only a position's first action is in it.
create index execution_actions_entries
    on ledger.execution_actions (book_id, executed_at desc, position_id desc, ticker, instrument, direction)
    where superseded_at is null and state = 'BOOKED' and action_type = 'ENTRY';

-- What was open at T and is not any more closed after T. `opened_at` is here to be compared without reading the row.
create index positions_by_closed on ledger.positions (book_id, closed_at, opened_at) where status = 'CLOSED';

-- What was learned after K of what was executed by T is told inside the index, as is what was replaced after K.
drop index ledger.execution_actions_by_recorded, ledger.execution_actions_replaced_by_time;
create index execution_actions_by_recorded on ledger.execution_actions (book_id, recorded_at, executed_at);
create index execution_actions_replaced_by_time
    on ledger.execution_actions (book_id, executed_at desc, action_id, superseded_at)
    where superseded_at is not null and state = 'BOOKED';

-- The keys that others refer to are the newest indexes of their tables again (decision 0012).
alter table ledger.execution_actions drop constraint execution_actions_position_fk;
alter table ledger.lots drop constraint lots_position_fk;
alter table ledger.closings drop constraint closings_action_fk;
alter table ledger.positions drop constraint positions_pk, add constraint positions_pk primary key (book_id, position_id);
alter table ledger.execution_actions drop constraint execution_actions_pk,
    add constraint execution_actions_pk primary key (book_id, action_id, version);
alter table ledger.lots add constraint lots_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.execution_actions
    add constraint execution_actions_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.closings
    add constraint closings_action_fk foreign key (book_id, action_id, version) references ledger.execution_actions;

-- ==== 0017_mt5.sql ===================================================================================================

-- Room mt5: linked accounts, every deal they ever had, the trades that follow, and the runs that read them.
--
-- An account costs two messages: mt5.load_account takes its fence (the lease token) first and reads in following statements,
-- mt5.apply_account writes one document. An account that did not change costs a share of one mt5.flush_unchanged. Rules live in
-- Python only; nothing here decides more than which rows differ. Deals are append-only. Tenants are walled by row-level
-- security, forced, on every table that belongs to one. Times: desk time is a parameter; leases and heartbeats are real time.
-- Sources: mt5.md 2, 7, 8, 9, 10.

create schema mt5;
comment on schema mt5 is 'MetaTrader 5 accounts: deals as the broker told them, trades and cash that follow, and the runs that read them.';
grant usage on schema mt5 to mt5_reader, mt5_writer, desk_operator;

create type mt5.contract_kind as enum ('auto', 'v1', 'v0');
create type mt5.epoch_clock as enum ('server', 'utc');
create type mt5.zone_state as enum ('provisional', 'confirmed', 'mismatch');
create type mt5.cash_bucket as enum ('balance', 'credit');
create type mt5.connection_status as enum ('unknown', 'connected', 'degraded', 'error', 'needs_reauth');
create type mt5.backfill_state as enum ('pending', 'running', 'done', 'blocked');
create type mt5.cash_state as enum ('unknown', 'ok', 'gap', 'unavailable');
create type mt5.trade_side as enum ('buy', 'sell');
create type mt5.trade_status as enum ('open', 'close_pending', 'closed');
create type mt5.identity_quality as enum ('deals', 'snapshot', 'paired');
create type mt5.ledger_state as enum ('none', 'held', 'booked');
create type mt5.cash_kind as enum ('deposit', 'withdrawal', 'credit', 'charge', 'correction', 'bonus', 'commission', 'interest',
                                   'dividend', 'tax', 'other');
create type mt5.cash_result as enum ('ok', 'gap', 'reanchored', 'unavailable');
create type mt5.gap_cause as enum ('cash', 'position_volume', 'deal_missing', 'pages', 'floor');
create type mt5.sync_type as enum ('scheduled', 'manual', 'backfill');
create type mt5.run_mode as enum ('inline', 'fanned_out', 'job');
create type mt5.run_status as enum ('running', 'finished', 'deadline', 'skipped', 'failed');
create type mt5.shard_state as enum ('queued', 'running', 'done', 'dead');
create type mt5.sync_status as enum ('success', 'partial', 'failed', 'skipped');
create type mt5.breaker_state as enum ('closed', 'open', 'half_open');

-- ---- what belongs to no tenant: services, servers, symbols ----

create table mt5.service_instances (
    instance_key    text              not null,
    base_url        text              not null,
    is_active       boolean           not null default true,
    contract        mt5.contract_kind not null default 'auto',
    epoch_clock     mt5.epoch_clock   not null default 'server',
    sessions_max    integer           not null default 10,
    rate_per_minute integer,
    constraint service_instances_pk primary key (instance_key),
    constraint service_instances_sessions_ck check (sessions_max between 1 and 1000),
    constraint service_instances_rate_ck check (rate_per_minute > 0)
);
comment on table mt5.service_instances is 'MT5 services that may be asked; their keys are secrets of the environment and never stored.';
comment on column mt5.service_instances.rate_per_minute is 'Requests per minute that the service allows; null: what it publishes itself.';

create table mt5.servers (
    server              text            not null,
    zone_name           text            not null,
    shift_minutes       integer         not null,
    zone_mismatch_polls integer         not null default 0,
    zone_state          mt5.zone_state  not null default 'provisional',
    bonus_bucket        mt5.cash_bucket not null default 'balance',
    constraint servers_pk primary key (server)
);
comment on table mt5.servers is 'Clock rule of a broker''s server: UTC = the wall time minus shift_minutes, read in zone_name.';

create table mt5.symbols (
    server          text        not null,
    symbol          text        not null,
    symbol_norm     text        not null,
    contract_size   numeric,
    digits          smallint,
    currency_profit text,
    fetched_at      timestamptz not null,
    constraint symbols_pk primary key (server, symbol),
    constraint symbols_server_fk foreign key (server) references mt5.servers (server)
);
comment on table mt5.symbols is 'What a symbol is on its server; null: neither the service nor an operator has said so.';

-- ---- accounts ----

create table mt5.trading_accounts (
    id                      uuid                  not null,
    tenant_id               text                  not null default 'desk',
    platform                text                  not null default 'MT5',
    broker_name             text                  not null,
    server                  text                  not null,
    login_number            bigint                not null,
    account_name            text,
    instance_key            text                  not null default 'default',
    mt5_service_account_id  text,
    book_id                 text                  not null,
    is_active               boolean               not null default true,
    shard                   smallint              generated always as (('x' || left(id::text, 4))::bit(16)::integer % 1024) stored,
    currency                text,
    currency_digits         smallint              not null default 2,
    leverage                integer,
    margin_mode             smallint,
    balance                 numeric,
    equity                  numeric,
    margin                  numeric,
    free_margin             numeric,
    margin_level            numeric,
    credit                  numeric,
    floating_profit         numeric,
    info_at                 timestamptz,
    positions_at            timestamptz,
    last_sync_at            timestamptz,
    last_successful_sync_at timestamptz,
    sync_failure_count      integer               not null default 0,
    last_error_code         text,
    last_connection_error   text,
    connection_status       mt5.connection_status not null default 'unknown',
    credentials_version     integer               not null default 1,
    backfill_target         date,
    created_at              timestamptz           not null default statement_timestamp(),
    updated_at              timestamptz           not null default statement_timestamp(),
    constraint trading_accounts_pk primary key (id),
    constraint trading_accounts_identity_uq unique (tenant_id, platform, server, login_number),
    constraint trading_accounts_tenant_uq unique (id, tenant_id),
    constraint trading_accounts_book_uq unique (book_id),
    constraint trading_accounts_server_fk foreign key (server) references mt5.servers (server),
    constraint trading_accounts_instance_fk foreign key (instance_key) references mt5.service_instances (instance_key),
    constraint trading_accounts_platform_ck check (platform = 'MT5'),
    constraint trading_accounts_login_ck check (login_number > 0),
    constraint trading_accounts_mode_ck check (margin_mode in (0, 1, 2)),
    constraint trading_accounts_failures_ck check (sync_failure_count >= 0),
    constraint trading_accounts_error_ck check (length(last_connection_error) <= 500)
) with (fillfactor = 80);
comment on table mt5.trading_accounts is 'One linked (tenant, server, login); linked and removed by functions of operators, deactivated otherwise.';
comment on column mt5.trading_accounts.id is 'uuid5 of tenant, platform, server and login.';
comment on column mt5.trading_accounts.book_id is 'The ledger''s book; a second tenant of the same login gets one of its own.';
comment on column mt5.trading_accounts.shard is 'Logical shard 0 to 1023; tasks of a job take ranges of it.';
comment on column mt5.trading_accounts.margin_level is 'Percent; null when margin is 0.';
comment on column mt5.trading_accounts.last_connection_error is 'Our own words for what failed, never the service''s.';
create index trading_accounts_active_ix on mt5.trading_accounts (instance_key, server, id) where is_active;

create table mt5.account_sync_state (
    account_id               uuid               not null,
    tenant_id                text               not null default 'desk',
    next_due_at              timestamptz        not null default '-infinity',
    last_run_id              uuid,
    lease_run_id             uuid,
    lease_token              bigint             not null default 0,
    lease_until              timestamptz,
    last_manual_at           timestamptz,
    last_deal_at             timestamptz,
    history_until_msc        bigint,
    history_floor_msc        bigint,
    page_from_msc            bigint,
    page_to_msc              bigint,
    page_cursor              text,
    backfill_state           mt5.backfill_state not null default 'pending',
    empty_chunks             integer            not null default 0,
    cash_gap_runs            integer            not null default 0,
    auth_failure_count       integer            not null default 0,
    auth_credentials_version integer,
    state_digest             bytea,
    opening_balance          numeric,
    opening_proven           boolean            not null default false,
    has_open_positions       boolean            not null default false,
    cash_state               mt5.cash_state     not null default 'unknown',
    constraint account_sync_state_pk primary key (account_id),
    constraint account_sync_state_account_fk foreign key (account_id, tenant_id) references mt5.trading_accounts (id, tenant_id),
    constraint account_sync_state_floor_ck check (history_floor_msc <= history_until_msc)
) with (fillfactor = 70);
comment on table mt5.account_sync_state is 'When an account is due, who works it now, and how far its history is read and proven.';
comment on column mt5.account_sync_state.next_due_at is 'Desk time; infinity: not scheduled (inactive, or waits for new credentials).';
comment on column mt5.account_sync_state.lease_token is 'The fence: every claim raises it, and whoever writes must still hold the same, with lease_run_id not taken away.';
comment on column mt5.account_sync_state.lease_until is 'Real time.';
comment on column mt5.account_sync_state.history_until_msc is 'Watermark on the server clock: everything before it is read and passed the cash check.';
create index account_sync_state_due_ix on mt5.account_sync_state (next_due_at, account_id);

-- ---- what the broker said and what follows ----

create table mt5.deals (
    account_id      uuid        not null,
    tenant_id       text        not null default 'desk',
    deal_ticket     bigint      not null,
    revision        integer     not null default 1,
    position_id     bigint      not null,
    order_id        bigint      not null,
    time_server_msc bigint      not null,
    deal_type       smallint    not null,
    entry           smallint    not null,
    reason          smallint,
    symbol          text        not null,
    volume          numeric     not null,
    price           numeric     not null,
    profit          numeric     not null,
    commission      numeric     not null,
    swap            numeric     not null,
    fee             numeric     not null,
    magic           bigint,
    comment         text,
    external_id     text,
    extra           jsonb       not null default '{}',
    withdrawn       boolean     not null default false,
    content_hash    bytea       not null,
    first_seen_run  uuid        not null,
    recorded_at     timestamptz not null default statement_timestamp(),
    constraint deals_pk primary key (account_id, deal_ticket, revision),
    constraint deals_account_fk foreign key (account_id, tenant_id) references mt5.trading_accounts (id, tenant_id),
    constraint deals_ids_ck check (deal_ticket > 0 and position_id >= 0 and revision > 0),
    constraint deals_entry_ck check (entry between 0 and 3),
    constraint deals_volume_ck check (volume >= 0)
);
comment on table mt5.deals is 'Journal: every revision of every deal; the highest revision counts, and counts for nothing when withdrawn.';
comment on column mt5.deals.position_id is '0: a movement of money without a position.';
comment on column mt5.deals.time_server_msc is 'As received: the server''s wall time written as an epoch; UTC is derived, so that a corrected rule can be applied again.';
create index deals_position_ix on mt5.deals (account_id, position_id, time_server_msc, deal_ticket);
create index deals_time_ix on mt5.deals (account_id, time_server_msc, deal_ticket);

create table mt5.trades (
    account_id       uuid                 not null,
    tenant_id        text                 not null default 'desk',
    position_id      bigint               not null,
    episode          integer              not null default 1,
    id               uuid                 not null,
    ticket           bigint               not null,
    symbol           text                 not null,
    symbol_norm      text                 not null,
    type             mt5.trade_side       not null,
    volume           numeric              not null,
    open_volume      numeric              not null,
    open_price       numeric,
    close_price      numeric,
    open_time        timestamptz,
    close_time       timestamptz,
    stop_loss        numeric,
    take_profit      numeric,
    current_price    numeric,
    profit           numeric,
    swap             numeric,
    commission       numeric,
    fee              numeric,
    realized_profit  numeric              not null default 0,
    realized_swap    numeric              not null default 0,
    net_pnl          numeric,
    status           mt5.trade_status     not null,
    comment          text,
    magic            bigint,
    close_reason     smallint,
    entry_complete   boolean              not null,
    identity_quality mt5.identity_quality not null,
    source_trade_id  text,
    pending_polls    integer              not null default 0,
    snapshot_msc     bigint,
    last_deal_msc    bigint,
    ledger_state     mt5.ledger_state     not null default 'none',
    updated_at       timestamptz          not null default statement_timestamp(),
    constraint trades_pk primary key (account_id, position_id, episode),
    constraint trades_id_uq unique (id),
    constraint trades_account_fk foreign key (account_id, tenant_id) references mt5.trading_accounts (id, tenant_id),
    constraint trades_open_volume_ck check (open_volume >= 0),
    constraint trades_closed_ck check (status <> 'closed' or (open_volume = 0 and close_time is not null)),
    constraint trades_entry_ck check (not entry_complete or (open_price is not null and open_time is not null))
) with (fillfactor = 80);
comment on table mt5.trades is 'Derived from deals, open ones refreshed from snapshots: one episode of a position each. A user''s words live elsewhere, keyed by id.';
comment on column mt5.trades.net_pnl is 'Profit, commission, swap and fee of all its deals, costs of the entry included.';
comment on column mt5.trades.updated_at is 'Moves only with another column.';
create index trades_live_ix on mt5.trades (account_id) where status <> 'closed';
create index trades_closed_ix on mt5.trades (account_id, close_time desc) where status = 'closed';

create table mt5.cash_operations (
    account_id  uuid          not null,
    tenant_id   text          not null default 'desk',
    deal_ticket bigint        not null,
    kind        mt5.cash_kind not null,
    amount      numeric       not null,
    occurred_at timestamptz   not null,
    comment     text,
    constraint cash_operations_pk primary key (account_id, deal_ticket),
    constraint cash_operations_account_fk foreign key (account_id, tenant_id) references mt5.trading_accounts (id, tenant_id)
);
comment on table mt5.cash_operations is 'Movements of money without a position, derived from deals; never trades, never profit.';

create table mt5.cash_checks (
    account_id uuid            not null,
    tenant_id  text            not null default 'desk',
    checked_at timestamptz     not null,
    run_id     uuid            not null,
    balance    numeric         not null,
    expected   numeric,
    gap        numeric,
    result     mt5.cash_result not null,
    constraint cash_checks_pk primary key (account_id, checked_at),
    constraint cash_checks_account_fk foreign key (account_id, tenant_id) references mt5.trading_accounts (id, tenant_id)
);
comment on table mt5.cash_checks is 'Whether the stored deals add up to the balance that the service told, each time that was asked.';

create table mt5.history_gaps (
    account_id uuid          not null,
    tenant_id  text          not null default 'desk',
    from_msc   bigint        not null,
    to_msc     bigint        not null,
    opened_at  timestamptz   not null,
    closed_at  timestamptz,
    cause      mt5.gap_cause not null,
    constraint history_gaps_pk primary key (account_id, from_msc, opened_at),
    constraint history_gaps_account_fk foreign key (account_id, tenant_id) references mt5.trading_accounts (id, tenant_id)
);
comment on table mt5.history_gaps is 'Spans of the server clock whose deals are not proven whole.';

create table mt5.missed_deals (
    account_id      uuid        not null,
    tenant_id       text        not null default 'desk',
    deal_ticket     bigint      not null,
    first_missed_at timestamptz not null,
    reads           integer     not null,
    constraint missed_deals_pk primary key (account_id, deal_ticket),
    constraint missed_deals_account_fk foreign key (account_id, tenant_id) references mt5.trading_accounts (id, tenant_id),
    constraint missed_deals_reads_ck check (reads > 0)
);
comment on table mt5.missed_deals is 'Stored deals that complete reads of their time no longer hold, until they are back or withdrawn.';

-- ---- runs ----

create table mt5.sync_runs (
    run_id         uuid           not null,
    sync_type      mt5.sync_type  not null,
    scheduled_for  timestamptz,
    requested_by   text           not null,
    mode           mt5.run_mode   not null,
    status         mt5.run_status not null,
    error_code     text,
    started_at     timestamptz    not null,
    heartbeat_at   timestamptz    not null,
    finished_at    timestamptz,
    duration_ms    integer,
    shards_total   integer        not null default 0,
    shards_done    integer        not null default 0,
    total_accounts integer        not null default 0,
    success_count  integer        not null default 0,
    partial_count  integer        not null default 0,
    failure_count  integer        not null default 0,
    skipped_count  integer        not null default 0,
    deferred_count integer        not null default 0,
    trades_synced  integer        not null default 0,
    constraint sync_runs_pk primary key (run_id)
);
comment on table mt5.sync_runs is 'One trigger each: the scheduler''s slots, manual calls, long readings of the past.';
comment on column mt5.sync_runs.heartbeat_at is 'Real time: a run that is silent for a minute may be taken over.';
create unique index sync_runs_slot_uq on mt5.sync_runs (scheduled_for) where sync_type = 'scheduled';

create table mt5.sync_shards (
    run_id       uuid            not null,
    shard_no     integer         not null,
    instance_key text            not null,
    account_ids  uuid[]          not null,
    continuation integer         not null default 0,
    state        mt5.shard_state not null default 'queued',
    started_at   timestamptz,
    finished_at  timestamptz,
    constraint sync_shards_pk primary key (run_id, shard_no),
    constraint sync_shards_run_fk foreign key (run_id) references mt5.sync_runs (run_id),
    constraint sync_shards_size_ck check (cardinality(account_ids) between 1 and 500)
);
comment on table mt5.sync_shards is 'Parts of a run; a continuation carries on with the accounts that are left.';

create table mt5.sync_logs (
    account_id    uuid            not null,
    tenant_id     text            not null default 'desk',
    id            uuid            not null,
    run_id        uuid            not null,
    sync_type     mt5.sync_type   not null,
    started_at    timestamptz     not null,
    completed_at  timestamptz     not null,
    status        mt5.sync_status not null,
    trades_synced integer         not null default 0,
    error_message text,
    error_code    text,
    duration_ms   integer         not null,
    attempts      integer         not null default 1,
    steps         jsonb           not null default '{}',
    created_at    timestamptz     not null default statement_timestamp(),
    constraint sync_logs_pk primary key (account_id, started_at, id),
    constraint sync_logs_account_fk foreign key (account_id, tenant_id) references mt5.trading_accounts (id, tenant_id),
    constraint sync_logs_duration_ck check (duration_ms >= 0)
) partition by range (started_at);
comment on table mt5.sync_logs is 'One account in one run. One partition per UTC day; nobody is granted a partition, because the parent''s policies would not hold there.';
create index sync_logs_recent_ix on mt5.sync_logs (started_at desc);
create table mt5.sync_logs_default partition of mt5.sync_logs default;
comment on table mt5.sync_logs_default is 'Must stay empty; what falls in here is moved when the partition of its day is made.';

create table mt5.sync_failures_archive (
    account_id    uuid            not null,
    tenant_id     text            not null default 'desk',
    id            uuid            not null,
    run_id        uuid            not null,
    sync_type     mt5.sync_type   not null,
    started_at    timestamptz     not null,
    completed_at  timestamptz     not null,
    status        mt5.sync_status not null,
    trades_synced integer         not null default 0,
    error_message text,
    error_code    text,
    duration_ms   integer         not null,
    attempts      integer         not null default 1,
    steps         jsonb           not null default '{}',
    created_at    timestamptz     not null default statement_timestamp(),
    constraint sync_failures_archive_pk primary key (account_id, started_at, id),
    constraint sync_failures_archive_account_fk
        foreign key (account_id, tenant_id) references mt5.trading_accounts (id, tenant_id)
);
comment on table mt5.sync_failures_archive is 'Failed and partial rows of sync_logs whose day is dropped.';

create table mt5.sync_hours (
    account_id      uuid        not null,
    tenant_id       text        not null default 'desk',
    hour            timestamptz not null,
    runs            integer     not null,
    successes       integer     not null,
    partials        integer     not null,
    failures        integer     not null,
    skips           integer     not null,
    duration_ms_max integer     not null,
    trades_synced   integer     not null,
    duration_ms_sum bigint      not null,
    constraint sync_hours_pk primary key (account_id, hour),
    constraint sync_hours_account_fk foreign key (account_id, tenant_id) references mt5.trading_accounts (id, tenant_id),
    constraint sync_hours_sum_ck check (runs = successes + partials + failures + skips)
);
comment on table mt5.sync_hours is 'Counters per account and hour, also of the successes that large fleets do not log.';

create table mt5.service_breakers (
    key                text              not null,
    state              mt5.breaker_state not null,
    consecutive        integer           not null default 0,
    recent             text              not null default '',
    opened_at          timestamptz,
    probe_at           timestamptz,
    cooldown_seconds   integer           not null default 60,
    probe_token        bigint            not null default 0,
    success_started_at timestamptz,
    last_error_code    text,
    constraint service_breakers_pk primary key (key)
);
comment on table mt5.service_breakers is 'Circuit breakers: service:<instance> and broker:<server>.';

create table mt5.rate_tokens (
    instance_key text    not null,
    slot_second  bigint  not null,
    spent        integer not null,
    constraint rate_tokens_pk primary key (instance_key, slot_second)
);
comment on table mt5.rate_tokens is 'Calls reserved per second; each returns after a minute.';

create table mt5.session_slots (
    instance_key text        not null,
    slot_no      integer     not null,
    holder       uuid,
    lease_until  timestamptz,
    constraint session_slots_pk primary key (instance_key, slot_no)
);
comment on table mt5.session_slots is 'Sessions of a service instance, shared by all processes.';

create table mt5.account_removals (
    account_id   uuid        not null,
    tenant_id    text        not null default 'desk',
    server       text        not null,
    login_number bigint      not null,
    book_id      text        not null,
    removed_at   timestamptz not null,
    removed_by   text        not null,
    reason       text        not null,
    row_counts   jsonb       not null,
    constraint account_removals_pk primary key (account_id, removed_at)
);
comment on table mt5.account_removals is 'The trace of accounts that were removed: who, why, and how many rows of each table. Their book stays in the ledger.';

-- ---- time and partitions ----

-- The time that views count from: desk time where the transaction says it (fillbook.now), else the statement's.
create function mt5.desk_now() returns timestamptz
language sql stable as $$
    select coalesce(nullif(current_setting('fillbook.now', true), '')::timestamptz, statement_timestamp())
$$;

-- Make the partitions of sync_logs from a day on: {now, days} -> {made, astray}. Rows of such a day that wait in the default
-- partition are moved; astray: rows that are still in there. One maker at a time. Runs as the owner, who alone may do this.
create function mt5.make_log_partitions(document jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    first_day constant date := ((document->>'now')::timestamptz at time zone 'UTC')::date;
    days      constant integer := least((document->>'days')::integer, 60);
    name      text;
    lower_at  timestamptz;
    upper_at  timestamptz;
    made      integer := 0;
    astray    bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('mt5.sync_logs', 0));
    for day_no in 0..days loop
        name := 'sync_logs_' || to_char(first_day + day_no, 'YYYYMMDD');
        continue when to_regclass('mt5.' || name) is not null;
        lower_at := (first_day + day_no)::timestamp at time zone 'UTC';
        upper_at := (first_day + day_no + 1)::timestamp at time zone 'UTC';
        if exists (select from mt5.sync_logs_default d where d.started_at >= lower_at and d.started_at < upper_at) then
            execute format('create table mt5.%I (like mt5.sync_logs including defaults including constraints)', name);
            execute format('with moved as (delete from mt5.sync_logs_default where started_at >= %L and started_at < %L returning *) '
                           'insert into mt5.%I select * from moved', lower_at, upper_at, name);
            execute format('alter table mt5.sync_logs attach partition mt5.%I for values from (%L) to (%L)', name, lower_at, upper_at);
        else
            execute format('create table mt5.%I partition of mt5.sync_logs for values from (%L) to (%L)', name, lower_at, upper_at);
        end if;
        made := made + 1;
    end loop;
    select count(*) into astray from mt5.sync_logs_default;
    return jsonb_build_object('made', made, 'astray', astray);
end
$$;

-- Drop the partitions of sync_logs whose days ended before an instant: {before} -> {dropped}. Never one of the last 7 days.
create function mt5.drop_log_partitions(document jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    keep_from constant date := (least((document->>'before')::timestamptz, clock_timestamp() - interval '7 days') at time zone 'UTC')::date;
    name      text;
    dropped   integer := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended('mt5.sync_logs', 0));
    for name in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
                 where i.inhparent = 'mt5.sync_logs'::regclass and c.relname ~ '^sync_logs_\d{8}$'
                   and to_date(right(c.relname, 8), 'YYYYMMDD') < keep_from
                 order by c.relname loop
        execute format('drop table mt5.%I', name);
        dropped := dropped + 1;
    end loop;
    return jsonb_build_object('dropped', dropped);
end
$$;

-- ---- claims ----

-- What a worker needs of accounts that it holds: account, state and clock rule, in the order asked.
-- is_rule_measured: an answer of the server was taken in before, so that its rule is more than a guess.
create function mt5.account_rows(account_ids uuid[]) returns jsonb
language sql stable set enable_seqscan to off as $$
    select coalesce(jsonb_agg(jsonb_build_object(
               'account', jsonb_build_object(
                   'account_id', a.id, 'tenant_id', a.tenant_id, 'server', a.server, 'login', a.login_number,
                   'broker_name', a.broker_name, 'instance_key', a.instance_key, 'service_account_id', a.mt5_service_account_id,
                   'book_id', a.book_id, 'is_active', a.is_active, 'currency', a.currency, 'currency_digits', a.currency_digits,
                   'margin_mode', a.margin_mode, 'sync_failure_count', a.sync_failure_count, 'last_error_code', a.last_error_code,
                   'connection_status', a.connection_status, 'credentials_version', a.credentials_version,
                   'backfill_target', a.backfill_target, 'last_sync_at', a.last_sync_at,
                   'last_successful_sync_at', a.last_successful_sync_at),
               'state', to_jsonb(s) - '{account_id,tenant_id,lease_run_id,lease_until,last_manual_at}'::text[],
               'rule', to_jsonb(r),
               'is_rule_measured', a.info_at is not null or exists (
                   select from mt5.trading_accounts o
                    where o.is_active and o.instance_key = a.instance_key and o.server = a.server and o.info_at is not null))
               order by k.place), '[]')
      from unnest(account_ids) with ordinality as k(id, place)
      join mt5.trading_accounts a on a.id = k.id
      join mt5.account_sync_state s on s.account_id = k.id
      join mt5.servers r on r.server = a.server
$$;

-- Claim named accounts for a run: {run_id, account_ids, lease_seconds} -> {claimed: rows of mt5.account_rows, missed:
-- [{account_id, reason: done | leased | inactive, lease_run_id}]}. Nobody waits: a row that is locked counts as leased.
create function mt5.claim(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    the_run constant uuid := (document->>'run_id')::uuid;
    wanted  constant uuid[] := array(select jsonb_array_elements_text(document->'account_ids')::uuid);
    lease   constant interval := make_interval(secs => (document->>'lease_seconds')::integer);
    held    uuid[];
begin
    with free as (
        select s.account_id
          from mt5.account_sync_state s
         where s.account_id = any (wanted) and s.last_run_id is distinct from the_run
           and (s.lease_until is null or s.lease_until <= clock_timestamp())
           and exists (select from mt5.trading_accounts a where a.id = s.account_id and a.is_active)
         order by s.account_id
           for update of s skip locked),
    taken as (
        update mt5.account_sync_state s
           set lease_run_id = the_run, lease_token = s.lease_token + 1, lease_until = clock_timestamp() + lease
          from free f
         where s.account_id = f.account_id
        returning s.account_id)
    select array_agg(k.id order by k.place) into held
      from unnest(wanted) with ordinality as k(id, place) join taken t on t.account_id = k.id;
    return jsonb_build_object(
        'claimed', mt5.account_rows(coalesce(held, '{}')),
        'missed', coalesce((
            select jsonb_agg(jsonb_build_object(
                       'account_id', k.id,
                       'reason', case when a.is_active is not true then 'inactive' when s.last_run_id = the_run then 'done'
                                      else 'leased' end,
                       'lease_run_id', case when s.lease_until > clock_timestamp() then s.lease_run_id end) order by k.place)
              from unnest(wanted) with ordinality as k(id, place)
              left join mt5.trading_accounts a on a.id = k.id
              left join mt5.account_sync_state s on s.account_id = k.id
             where k.id <> all (coalesce(held, '{}'))), '[]'));
end
$$;

-- Claim whatever is due in a range of shards, longest due first:
-- {run_id, due_before, shard_from, shard_to (both inclusive), tenant_id, rows_max, lease_seconds} -> {claimed, missed: []}.
create function mt5.claim_due(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    the_run constant uuid := (document->>'run_id')::uuid;
    lease   constant interval := make_interval(secs => (document->>'lease_seconds')::integer);
    held    uuid[];
begin
    with due as (
        select s.account_id, s.next_due_at
          from mt5.account_sync_state s
          join mt5.trading_accounts a on a.id = s.account_id
         where s.next_due_at <= (document->>'due_before')::timestamptz and s.last_run_id is distinct from the_run
           and (s.lease_until is null or s.lease_until <= clock_timestamp())
           and a.is_active and a.connection_status::text <> 'needs_reauth' -- the enum's <> would be taken to leave no row
           and a.shard between (document->>'shard_from')::integer and (document->>'shard_to')::integer
           and (document->>'tenant_id' is null or a.tenant_id = document->>'tenant_id')
         order by s.next_due_at, s.account_id
         limit (document->>'rows_max')::integer
           for update of s skip locked),
    taken as (
        update mt5.account_sync_state s
           set lease_run_id = the_run, lease_token = s.lease_token + 1, lease_until = clock_timestamp() + lease
          from due d
         where s.account_id = d.account_id
        returning s.account_id, d.next_due_at)
    select array_agg(t.account_id order by t.next_due_at, t.account_id) into held from taken t;
    return jsonb_build_object('claimed', mt5.account_rows(coalesce(held, '{}')), 'missed', '[]'::jsonb);
end
$$;

-- Claim one account for a call by hand: {account_id, tenant_id, run_id, now, lease_seconds, cooldown_seconds, force} ->
-- {outcome: claimed | not_found | leased | cooling | needs_reauth, claimed: one row or null, lease_run_id, retry_after_seconds}.
create function mt5.claim_by_hand(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    the_account constant uuid := (document->>'account_id')::uuid;
    desk_now    constant timestamptz := (document->>'now')::timestamptz;
    cooldown    constant interval := make_interval(secs => (document->>'cooldown_seconds')::integer);
    state       mt5.account_sync_state;
    is_barred   boolean;
    outcome     text := 'claimed';
begin
    select a.connection_status = 'needs_reauth' into is_barred
      from mt5.trading_accounts a
     where a.id = the_account and a.is_active and (document->>'tenant_id' is null or a.tenant_id = document->>'tenant_id');
    if not found then
        return jsonb_build_object('outcome', 'not_found', 'claimed', null, 'lease_run_id', null, 'retry_after_seconds', null);
    end if;
    select * into state from mt5.account_sync_state s where s.account_id = the_account for update;
    if state.lease_until > clock_timestamp() then
        outcome := 'leased';
    elsif state.last_manual_at + cooldown > desk_now then
        outcome := 'cooling';
    elsif is_barred and not (document->>'force')::boolean then
        outcome := 'needs_reauth';
    else
        update mt5.account_sync_state s
           set lease_run_id = (document->>'run_id')::uuid, lease_token = s.lease_token + 1, last_manual_at = desk_now,
               lease_until = clock_timestamp() + make_interval(secs => (document->>'lease_seconds')::integer)
         where s.account_id = the_account;
    end if;
    return jsonb_build_object(
        'outcome', outcome,
        'claimed', case when outcome = 'claimed' then mt5.account_rows(array[the_account])->0 end,
        'lease_run_id', case when outcome = 'leased' then state.lease_run_id end,
        'retry_after_seconds', case when outcome = 'cooling'
                                    then ceil(extract(epoch from state.last_manual_at + cooldown - desk_now))::integer end);
end
$$;

-- Give claims back that were not used: {claims: [{account_id, lease_token}]} -> {returned}. They stay as due as they were.
create function mt5.hand_back(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    held uuid[];
begin
    held := array(
        select s.account_id
          from jsonb_to_recordset(document->'claims') as r(account_id uuid, lease_token bigint)
          join mt5.account_sync_state s on s.account_id = r.account_id and s.lease_token = r.lease_token
         where s.lease_run_id is not null
         order by s.account_id
           for update of s);
    update mt5.account_sync_state s set lease_run_id = null, lease_until = null where s.account_id = any (held);
    return jsonb_build_object('returned', cardinality(held));
end
$$;

-- ---- the hot path ----

-- Take an account's fence and read what an answer about it touches:
-- {account_id, lease_token, tickets, position_ids, symbols, windows: [{from_msc, to_msc}], spans: [{from_msc, to_msc}],
--  cash: null | {floor_msc, at_msc, near_ms}} ->
-- null when the lease is another's, else {row of mt5.account_rows, symbols, deals, trades, missing, missed, clocks, gaps,
-- last_check, cash}.
-- deals: all revisions of the tickets, of every deal of the positions, of the tickets' stored positions, of live trades, and of
-- missing · trades: live ones and all episodes of those positions · missing: tickets that count inside the windows and are not
-- among those given · missed: what was missing before · clocks: [[ticket, msc]] of deals inside the spans · gaps: open ones ·
-- cash: see mt5.cash_sums. Lock first, read in following statements; always the account before its state, as operators do.
create function mt5.load_account(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    the_account constant uuid := (document->>'account_id')::uuid;
    asked       constant bigint[] := array(select jsonb_array_elements_text(document->'tickets')::bigint);
    names       text[] := array(select jsonb_array_elements_text(document->'symbols'));
    positions   bigint[];
    tickets     bigint[];
    missing     bigint[];
    deals       jsonb;
    trades      jsonb;
    answer      jsonb;
begin
    perform from mt5.trading_accounts a where a.id = the_account for no key update;
    perform from mt5.account_sync_state s
     where s.account_id = the_account and s.lease_token = (document->>'lease_token')::bigint and s.lease_run_id is not null
       for update;
    if not found then
        return null;
    end if;
    positions := array(
        select jsonb_array_elements_text(document->'position_ids')::bigint
        union select d.position_id from unnest(asked) k(ticket)
                join mt5.deals d on d.account_id = the_account and d.deal_ticket = k.ticket where d.position_id > 0
        union select t.position_id from mt5.trades t where t.account_id = the_account and t.status <> 'closed');
    tickets := array(
        select unnest(asked)
        union select d.deal_ticket from unnest(positions) k(id)
                join mt5.deals d on d.account_id = the_account and d.position_id = k.id where k.id > 0);
    missing := array(
        select d.deal_ticket
          from jsonb_to_recordset(document->'windows') as w(from_msc bigint, to_msc bigint)
          join mt5.deals d on d.account_id = the_account and d.time_server_msc >= w.from_msc and d.time_server_msc < w.to_msc
         where not d.withdrawn and d.deal_ticket <> all (asked)
           and not exists (select from mt5.deals n where n.account_id = the_account and n.deal_ticket = d.deal_ticket
                                                     and n.revision > d.revision)
         order by d.deal_ticket);
    select coalesce(jsonb_agg(to_jsonb(d) - '{account_id,tenant_id,content_hash,first_seen_run}'::text[]
                              order by d.deal_ticket, d.revision), '[]'),
           array_cat(names, array_agg(distinct d.symbol))
      into deals, names
      from (select unnest(tickets) union select unnest(missing)) k(ticket)
      join mt5.deals d on d.account_id = the_account and d.deal_ticket = k.ticket;
    select coalesce(jsonb_agg(to_jsonb(t) - '{tenant_id,updated_at}'::text[] order by t.position_id, t.episode), '[]'),
           array_cat(names, array_agg(distinct t.symbol))
      into trades, names
      from unnest(positions) k(id)
      join mt5.trades t on t.account_id = the_account and t.position_id = k.id;
    answer := mt5.account_rows(array[the_account])->0;
    return answer || jsonb_build_object(
        'deals', deals,
        'trades', trades,
        'symbols', coalesce((
            select jsonb_agg(to_jsonb(y) - 'fetched_at' order by y.symbol)
              from mt5.symbols y
             where y.server = answer->'account'->>'server' and y.symbol = any (names)), '[]'),
        'missing', to_jsonb(missing),
        'missed', coalesce((
            select jsonb_agg(to_jsonb(m) - '{account_id,tenant_id}'::text[] order by m.deal_ticket)
              from mt5.missed_deals m where m.account_id = the_account), '[]'),
        'clocks', coalesce((
            select jsonb_agg(jsonb_build_array(d.deal_ticket, d.time_server_msc) order by d.deal_ticket)
              from jsonb_to_recordset(document->'spans') as w(from_msc bigint, to_msc bigint)
              join mt5.deals d on d.account_id = the_account and d.time_server_msc >= w.from_msc and d.time_server_msc < w.to_msc
             where not exists (select from mt5.deals n where n.account_id = the_account and n.deal_ticket = d.deal_ticket
                                                         and n.revision > d.revision)), '[]'),
        'gaps', coalesce((
            select jsonb_agg(to_jsonb(g) - '{account_id,tenant_id}'::text[] order by g.from_msc, g.opened_at)
              from mt5.history_gaps g
             where g.account_id = the_account and g.closed_at is null), '[]'),
        'last_check', (
            select to_jsonb(c) - '{account_id,tenant_id,run_id}'::text[]
              from mt5.cash_checks c where c.account_id = the_account order by c.checked_at desc limit 1),
        'cash', case when jsonb_typeof(document->'cash') = 'object' then mt5.cash_sums(the_account, document->'cash') end);
end
$$;

-- What the stored deals of an account add up to, from the floor on: {floor_msc, at_msc, near_ms} -> {amount, bonus, credit, near,
-- first}: sums of what is near_ms and more before at_msc, amount without the deal types of bonus and credit; the deals within
-- near_ms of it, in order; the first of all. A deal: {deal_ticket, time_msc, deal_type, amount}.
create function mt5.cash_sums(the_account uuid, asked jsonb) returns jsonb
language plpgsql stable set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    floor_msc constant bigint := coalesce((asked->>'floor_msc')::bigint, 0);
    at_msc    constant bigint := (asked->>'at_msc')::bigint;
    near_ms   constant bigint := (asked->>'near_ms')::bigint;
    answer    jsonb;
begin
    with counted as materialized (
        select d.time_server_msc as time_msc, d.deal_ticket, d.deal_type, d.profit + d.commission + d.swap + d.fee as amount
          from mt5.deals d
         where d.account_id = the_account and d.time_server_msc >= floor_msc and d.time_server_msc <= at_msc + near_ms
           and not d.withdrawn
           and not exists (select from mt5.deals n where n.account_id = the_account and n.deal_ticket = d.deal_ticket
                                                     and n.revision > d.revision))
    select jsonb_build_object(
               'amount', coalesce(sum(c.amount) filter (where c.time_msc <= at_msc - near_ms and c.deal_type not in (3, 6)), 0),
               'bonus', coalesce(sum(c.amount) filter (where c.time_msc <= at_msc - near_ms and c.deal_type = 6), 0),
               'credit', coalesce(sum(c.amount) filter (where c.time_msc <= at_msc - near_ms and c.deal_type = 3), 0),
               'near', coalesce(jsonb_agg(to_jsonb(c) order by c.time_msc, c.deal_ticket)
                                filter (where c.time_msc > at_msc - near_ms), '[]'),
               'first', (select to_jsonb(f) from counted f order by f.time_msc, f.deal_ticket limit 1))
      into answer
      from counted c;
    return answer;
end
$$;

-- Count outcomes in their hours, and log those that are to be logged, of the accounts held: rows of {account_id, id, is_logged,
-- sync_type, started_at, completed_at, status, trades_synced, error_message, error_code, duration_ms, attempts, steps}.
create function mt5.log_outcomes(the_run uuid, desk_now timestamptz, outcomes jsonb, held uuid[]) returns void
language plpgsql volatile set enable_seqscan to off as $$
begin
    insert into mt5.sync_logs (account_id, tenant_id, id, run_id, sync_type, started_at, completed_at, status, trades_synced,
                               error_message, error_code, duration_ms, attempts, steps, created_at)
    select r.account_id, a.tenant_id, r.id, the_run, r.sync_type, r.started_at, r.completed_at, r.status, r.trades_synced,
           r.error_message, r.error_code, r.duration_ms, r.attempts, r.steps, desk_now
      from jsonb_to_recordset(outcomes) as r(
               account_id uuid, id uuid, is_logged boolean, sync_type mt5.sync_type, started_at timestamptz,
               completed_at timestamptz, status mt5.sync_status, trades_synced integer, error_message text, error_code text,
               duration_ms integer, attempts integer, steps jsonb)
      join mt5.trading_accounts a on a.id = r.account_id
     where r.is_logged and r.account_id = any (held)
    on conflict on constraint sync_logs_pk do nothing;
    insert into mt5.sync_hours as h (account_id, tenant_id, hour, runs, successes, partials, failures, skips, duration_ms_max,
                                     trades_synced, duration_ms_sum)
    select r.account_id, a.tenant_id, date_trunc('hour', r.started_at, 'UTC'), 1, (r.status = 'success')::integer,
           (r.status = 'partial')::integer, (r.status = 'failed')::integer, (r.status = 'skipped')::integer, r.duration_ms,
           r.trades_synced, r.duration_ms
      from jsonb_to_recordset(outcomes) as r(
               account_id uuid, started_at timestamptz, status mt5.sync_status, trades_synced integer, duration_ms integer)
      join mt5.trading_accounts a on a.id = r.account_id
     where r.account_id = any (held)
     order by r.account_id
    on conflict on constraint sync_hours_pk do update
       set runs = h.runs + 1, successes = h.successes + excluded.successes, partials = h.partials + excluded.partials,
           failures = h.failures + excluded.failures, skips = h.skips + excluded.skips,
           duration_ms_max = greatest(h.duration_ms_max, excluded.duration_ms_max),
           trades_synced = h.trades_synced + excluded.trades_synced,
           duration_ms_sum = h.duration_ms_sum + excluded.duration_ms_sum;
end
$$;

-- Write what follows from an answer about one account; raises lease_token when the lease is another's. Every list is given; rows
-- that would not change stay unwritten, so that updated_at only moves with another column. {account_id, lease_token, run_id, now,
--  deals, trades, trades_removed: [{position_id, episode}], cash_operations, cash_removed: [ticket], cash_check: null | row,
--  missed: null (as it stands) | all rows,
--  gaps_opened, gaps_closed: [{from_msc, opened_at}], symbols, account, state, outcome: null | row of mt5.log_outcomes} ->
-- {deals_inserted, trades_changed, cash_changed}. Without an outcome the account's work goes on and the lease stays.
create function mt5.apply_account(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    the_account    constant uuid := (document->>'account_id')::uuid;
    the_run        constant uuid := (document->>'run_id')::uuid;
    desk_now       constant timestamptz := (document->>'now')::timestamptz;
    is_over        constant boolean := jsonb_typeof(document->'outcome') = 'object';
    the_tenant     text;
    the_server     text;
    deals_inserted integer := 0;
    trades_removed integer := 0;
    trades_changed integer := 0;
    cash_removed   integer := 0;
    cash_changed   integer := 0;
begin
    select a.tenant_id, a.server into the_tenant, the_server
      from mt5.trading_accounts a where a.id = the_account for no key update;
    perform from mt5.account_sync_state s
     where s.account_id = the_account and s.lease_token = (document->>'lease_token')::bigint and s.lease_run_id is not null
       for update;
    if not found then
        raise exception 'another worker holds the account' using errcode = 'P0001', constraint = 'lease_token';
    end if;

    if jsonb_array_length(document->'deals') > 0 then
        insert into mt5.deals (account_id, tenant_id, deal_ticket, revision, position_id, order_id, time_server_msc, deal_type, entry,
                               reason, symbol, volume, price, profit, commission, swap, fee, magic, comment, external_id, extra,
                               withdrawn, content_hash, first_seen_run, recorded_at)
        select the_account, the_tenant, r.deal_ticket, r.revision, r.position_id, r.order_id, r.time_server_msc, r.deal_type,
               r.entry, r.reason, r.symbol, r.volume, r.price, r.profit, r.commission, r.swap, r.fee, r.magic, r.comment,
               r.external_id, r.extra, r.withdrawn, decode(r.content_hash, 'hex'), the_run, r.recorded_at
          from jsonb_to_recordset(document->'deals') as r(
                   deal_ticket bigint, revision integer, position_id bigint, order_id bigint, time_server_msc bigint,
                   deal_type smallint, entry smallint, reason smallint, symbol text, volume numeric, price numeric,
                   profit numeric, commission numeric, swap numeric, fee numeric, magic bigint, comment text, external_id text,
                   extra jsonb, withdrawn boolean, content_hash text, recorded_at timestamptz)
        on conflict on constraint deals_pk do nothing;
        get diagnostics deals_inserted = row_count;
    end if;

    if jsonb_array_length(document->'trades_removed') > 0 then
        delete from mt5.trades t
         using jsonb_to_recordset(document->'trades_removed') as r(position_id bigint, episode integer)
         where t.account_id = the_account and t.position_id = r.position_id and t.episode = r.episode;
        get diagnostics trades_removed = row_count;
    end if;
    if jsonb_array_length(document->'trades') > 0 then
        insert into mt5.trades as t (
                   account_id, tenant_id, position_id, episode, id, ticket, symbol, symbol_norm, type, volume, open_volume,
                   open_price, close_price, open_time, close_time, stop_loss, take_profit, current_price, profit, swap,
                   commission, fee, realized_profit, realized_swap, net_pnl, status, comment, magic, close_reason,
                   entry_complete, identity_quality, source_trade_id, pending_polls, snapshot_msc, last_deal_msc,
                   ledger_state, updated_at)
        select the_account, the_tenant, r.position_id, r.episode, r.id, r.ticket, r.symbol, r.symbol_norm, r.type, r.volume,
               r.open_volume, r.open_price, r.close_price, r.open_time, r.close_time, r.stop_loss, r.take_profit,
               r.current_price, r.profit, r.swap, r.commission, r.fee, r.realized_profit, r.realized_swap, r.net_pnl, r.status,
               r.comment, r.magic, r.close_reason, r.entry_complete, r.identity_quality, r.source_trade_id, r.pending_polls,
               r.snapshot_msc, r.last_deal_msc, r.ledger_state, desk_now
          from jsonb_to_recordset(document->'trades') as r(
                   position_id bigint, episode integer, id uuid, ticket bigint, symbol text, symbol_norm text,
                   type mt5.trade_side, volume numeric, open_volume numeric, open_price numeric, close_price numeric,
                   open_time timestamptz, close_time timestamptz, stop_loss numeric, take_profit numeric,
                   current_price numeric, profit numeric, swap numeric, commission numeric, fee numeric,
                   realized_profit numeric, realized_swap numeric, net_pnl numeric, status mt5.trade_status, comment text,
                   magic bigint, close_reason smallint, entry_complete boolean, identity_quality mt5.identity_quality,
                   source_trade_id text, pending_polls integer, snapshot_msc bigint, last_deal_msc bigint,
                   ledger_state mt5.ledger_state)
        on conflict on constraint trades_pk do update
           set ticket = excluded.ticket, symbol = excluded.symbol, symbol_norm = excluded.symbol_norm, type = excluded.type,
               volume = excluded.volume, open_volume = excluded.open_volume, open_price = excluded.open_price,
               close_price = excluded.close_price, open_time = excluded.open_time, close_time = excluded.close_time,
               stop_loss = excluded.stop_loss, take_profit = excluded.take_profit, current_price = excluded.current_price,
               profit = excluded.profit, swap = excluded.swap, commission = excluded.commission, fee = excluded.fee,
               realized_profit = excluded.realized_profit, realized_swap = excluded.realized_swap, net_pnl = excluded.net_pnl,
               status = excluded.status, comment = excluded.comment, magic = excluded.magic,
               close_reason = excluded.close_reason, entry_complete = excluded.entry_complete,
               identity_quality = excluded.identity_quality, source_trade_id = excluded.source_trade_id,
               pending_polls = excluded.pending_polls, snapshot_msc = excluded.snapshot_msc,
               last_deal_msc = excluded.last_deal_msc, ledger_state = excluded.ledger_state, updated_at = excluded.updated_at
         where (t.ticket, t.symbol, t.symbol_norm, t.type, t.volume, t.open_volume, t.open_price, t.close_price, t.open_time,
                t.close_time, t.stop_loss, t.take_profit, t.current_price, t.profit, t.swap, t.commission, t.fee,
                t.realized_profit, t.realized_swap, t.net_pnl, t.status, t.comment, t.magic, t.close_reason, t.entry_complete,
                t.identity_quality, t.source_trade_id, t.pending_polls, t.snapshot_msc, t.last_deal_msc, t.ledger_state)
               is distinct from
               (excluded.ticket, excluded.symbol, excluded.symbol_norm, excluded.type, excluded.volume, excluded.open_volume,
                excluded.open_price, excluded.close_price, excluded.open_time, excluded.close_time, excluded.stop_loss,
                excluded.take_profit, excluded.current_price, excluded.profit, excluded.swap, excluded.commission, excluded.fee,
                excluded.realized_profit, excluded.realized_swap, excluded.net_pnl, excluded.status, excluded.comment,
                excluded.magic, excluded.close_reason, excluded.entry_complete, excluded.identity_quality,
                excluded.source_trade_id, excluded.pending_polls, excluded.snapshot_msc, excluded.last_deal_msc,
                excluded.ledger_state);
        get diagnostics trades_changed = row_count;
    end if;

    if jsonb_array_length(document->'cash_removed') > 0 then
        delete from mt5.cash_operations o
         where o.account_id = the_account
           and o.deal_ticket in (select k.v::bigint from jsonb_array_elements_text(document->'cash_removed') k(v));
        get diagnostics cash_removed = row_count;
    end if;
    if jsonb_array_length(document->'cash_operations') > 0 then
        insert into mt5.cash_operations as o (account_id, tenant_id, deal_ticket, kind, amount, occurred_at, comment)
        select the_account, the_tenant, r.deal_ticket, r.kind, r.amount, r.occurred_at, r.comment
          from jsonb_to_recordset(document->'cash_operations') as r(
                   deal_ticket bigint, kind mt5.cash_kind, amount numeric, occurred_at timestamptz, comment text)
        on conflict on constraint cash_operations_pk do update
           set kind = excluded.kind, amount = excluded.amount, occurred_at = excluded.occurred_at, comment = excluded.comment
         where (o.kind, o.amount, o.occurred_at, o.comment)
               is distinct from (excluded.kind, excluded.amount, excluded.occurred_at, excluded.comment);
        get diagnostics cash_changed = row_count;
    end if;
    if jsonb_typeof(document->'cash_check') = 'object' then
        insert into mt5.cash_checks (account_id, tenant_id, checked_at, run_id, balance, expected, gap, result)
        select the_account, the_tenant, r.checked_at, the_run, r.balance, r.expected, r.gap, r.result
          from jsonb_to_record(document->'cash_check') as r(
                   checked_at timestamptz, balance numeric, expected numeric, gap numeric, result mt5.cash_result)
        on conflict on constraint cash_checks_pk do nothing;
    end if;

    if jsonb_typeof(document->'missed') = 'array' then
        delete from mt5.missed_deals m
         where m.account_id = the_account
           and not exists (select from jsonb_to_recordset(document->'missed') as r(deal_ticket bigint)
                            where r.deal_ticket = m.deal_ticket);
        insert into mt5.missed_deals as m (account_id, tenant_id, deal_ticket, first_missed_at, reads)
        select the_account, the_tenant, r.deal_ticket, r.first_missed_at, r.reads
          from jsonb_to_recordset(document->'missed') as r(deal_ticket bigint, first_missed_at timestamptz, reads integer)
        on conflict on constraint missed_deals_pk do update
           set first_missed_at = excluded.first_missed_at, reads = excluded.reads
         where (m.first_missed_at, m.reads) is distinct from (excluded.first_missed_at, excluded.reads);
    end if;
    if jsonb_array_length(document->'gaps_closed') > 0 then
        update mt5.history_gaps g set closed_at = desk_now
          from jsonb_to_recordset(document->'gaps_closed') as r(from_msc bigint, opened_at timestamptz)
         where g.account_id = the_account and g.from_msc = r.from_msc and g.opened_at = r.opened_at and g.closed_at is null;
    end if;
    if jsonb_array_length(document->'gaps_opened') > 0 then
        insert into mt5.history_gaps (account_id, tenant_id, from_msc, to_msc, opened_at, cause)
        select the_account, the_tenant, r.from_msc, r.to_msc, r.opened_at, r.cause
          from jsonb_to_recordset(document->'gaps_opened') as r(
                   from_msc bigint, to_msc bigint, opened_at timestamptz, cause mt5.gap_cause)
        on conflict on constraint history_gaps_pk do nothing;
    end if;
    if jsonb_array_length(document->'symbols') > 0 then
        insert into mt5.symbols as y (server, symbol, symbol_norm, contract_size, digits, currency_profit, fetched_at)
        select the_server, r.symbol, r.symbol_norm, r.contract_size, r.digits, r.currency_profit, desk_now
          from jsonb_to_recordset(document->'symbols') as r(
                   symbol text, symbol_norm text, contract_size numeric, digits smallint, currency_profit text)
         order by r.symbol
        on conflict on constraint symbols_pk do update
           set symbol_norm = excluded.symbol_norm, contract_size = coalesce(excluded.contract_size, y.contract_size),
               digits = coalesce(excluded.digits, y.digits), fetched_at = excluded.fetched_at,
               currency_profit = coalesce(excluded.currency_profit, y.currency_profit)
         where (y.symbol_norm, y.contract_size, y.digits, y.currency_profit)
               is distinct from (excluded.symbol_norm, coalesce(excluded.contract_size, y.contract_size),
                                 coalesce(excluded.digits, y.digits), coalesce(excluded.currency_profit, y.currency_profit));
    end if;

    update mt5.trading_accounts a
       set currency = coalesce(i.currency, a.currency), currency_digits = coalesce(i.currency_digits, a.currency_digits),
           leverage = coalesce(i.leverage, a.leverage), margin_mode = coalesce(i.margin_mode, a.margin_mode),
           balance = case when r.info is null then a.balance else i.balance end,
           equity = case when r.info is null then a.equity else i.equity end,
           margin = case when r.info is null then a.margin else i.margin end,
           free_margin = case when r.info is null then a.free_margin else i.margin_free end,
           margin_level = case when r.info is null then a.margin_level else i.margin_level end,
           credit = case when r.info is null then a.credit else i.credit end,
           floating_profit = case when r.info is null then a.floating_profit else i.profit end,
           info_at = coalesce(r.info_at, a.info_at), positions_at = coalesce(r.positions_at, a.positions_at),
           last_sync_at = coalesce(r.last_sync_at, a.last_sync_at),
           last_successful_sync_at = coalesce(r.last_successful_sync_at, a.last_successful_sync_at),
           sync_failure_count = r.sync_failure_count, last_error_code = r.last_error_code,
           last_connection_error = r.last_connection_error, connection_status = r.connection_status, updated_at = desk_now
      from jsonb_to_record(document->'account') as r(
               info jsonb, info_at timestamptz, positions_at timestamptz, last_sync_at timestamptz,
               last_successful_sync_at timestamptz, sync_failure_count integer, last_error_code text,
               last_connection_error text, connection_status mt5.connection_status)
     cross join lateral jsonb_to_record(coalesce(r.info, '{}')) as i(
               balance numeric, equity numeric, margin numeric, margin_free numeric, margin_level numeric, credit numeric,
               profit numeric, leverage integer, currency text, currency_digits smallint, margin_mode smallint)
     where a.id = the_account;

    update mt5.account_sync_state s
       set next_due_at = r.next_due_at, last_deal_at = r.last_deal_at,
           history_until_msc = greatest(s.history_until_msc, r.history_until_msc), history_floor_msc = r.history_floor_msc,
           page_from_msc = r.page_from_msc, page_to_msc = r.page_to_msc, page_cursor = r.page_cursor,
           backfill_state = r.backfill_state, empty_chunks = r.empty_chunks, cash_gap_runs = r.cash_gap_runs,
           auth_failure_count = r.auth_failure_count, auth_credentials_version = r.auth_credentials_version,
           state_digest = decode(r.state_digest, 'hex'), opening_balance = r.opening_balance,
           opening_proven = r.opening_proven, has_open_positions = r.has_open_positions, cash_state = r.cash_state,
           last_run_id = case when is_over then the_run else s.last_run_id end,
           lease_run_id = case when is_over then null else s.lease_run_id end,
           lease_until = case when is_over then null else s.lease_until end
      from jsonb_to_record(document->'state') as r(
               next_due_at timestamptz, last_deal_at timestamptz, history_until_msc bigint, history_floor_msc bigint,
               page_from_msc bigint, page_to_msc bigint, page_cursor text, backfill_state mt5.backfill_state,
               empty_chunks integer, cash_gap_runs integer, auth_failure_count integer, auth_credentials_version integer,
               state_digest text, opening_balance numeric, opening_proven boolean, has_open_positions boolean,
               cash_state mt5.cash_state)
     where s.account_id = the_account;

    if is_over then
        perform mt5.log_outcomes(
            the_run, desk_now,
            jsonb_build_array(document->'outcome' || jsonb_build_object('trades_synced', trades_removed + trades_changed)),
            array[the_account]);
    end if;
    return jsonb_build_object('deals_inserted', deals_inserted, 'trades_changed', trades_removed + trades_changed,
                              'cash_changed', cash_removed + cash_changed);
end
$$;

-- Note that accounts answered what is stored already: {run_id, now, rows: [{lease_token, next_due_at, history_until_msc, and the
-- columns of mt5.log_outcomes}]} -> [account_id] of those whose lease still held; the others were not touched.
create function mt5.flush_unchanged(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    the_run  constant uuid := (document->>'run_id')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    held     uuid[];
begin
    perform from mt5.trading_accounts a
     where a.id in (select r.account_id from jsonb_to_recordset(document->'rows') as r(account_id uuid))
     order by a.id
       for no key update;
    held := array(
        select s.account_id
          from jsonb_to_recordset(document->'rows') as r(account_id uuid, lease_token bigint)
          join mt5.account_sync_state s on s.account_id = r.account_id and s.lease_token = r.lease_token
         where s.lease_run_id is not null
         order by s.account_id
           for update of s);
    update mt5.account_sync_state s
       set next_due_at = r.next_due_at, history_until_msc = greatest(s.history_until_msc, r.history_until_msc),
           last_run_id = the_run, lease_run_id = null, lease_until = null
      from jsonb_to_recordset(document->'rows') as r(account_id uuid, next_due_at timestamptz, history_until_msc bigint)
     where s.account_id = r.account_id and s.account_id = any (held);
    update mt5.trading_accounts a
       set info_at = r.completed_at, positions_at = r.completed_at, last_sync_at = r.completed_at,
           last_successful_sync_at = r.completed_at, sync_failure_count = 0, last_error_code = null,
           last_connection_error = null, connection_status = 'connected', updated_at = desk_now
      from jsonb_to_recordset(document->'rows') as r(account_id uuid, completed_at timestamptz)
     where a.id = r.account_id and a.id = any (held);
    perform mt5.log_outcomes(the_run, desk_now, document->'rows', held);
    return to_jsonb(held);
end
$$;

-- Note accounts that were not tried, once per run: {run_id, now, rows: [{lease_token, next_due_at, and the columns of
-- mt5.log_outcomes}]} -> [account_id] of those noted now. lease_token null: never claimed; somebody else's lease stays as it is.
-- Counters of failures stay untouched; next_due_at null leaves an account as due as it was.
create function mt5.skip_accounts(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    the_run    constant uuid := (document->>'run_id')::uuid;
    desk_now   constant timestamptz := (document->>'now')::timestamptz;
    noted      uuid[];
    untouched  uuid[];
begin
    noted := array(
        select r.account_id
          from jsonb_to_recordset(document->'rows') as r(account_id uuid)
          join mt5.account_sync_state s on s.account_id = r.account_id
         where s.last_run_id is distinct from the_run
           and not exists (select from mt5.sync_logs l
                            where l.account_id = r.account_id and l.run_id = the_run
                              and l.started_at >= (select u.started_at from mt5.sync_runs u where u.run_id = the_run)));
    untouched := array(
        select s.account_id
          from jsonb_to_recordset(document->'rows') as r(account_id uuid, lease_token bigint)
          join mt5.account_sync_state s on s.account_id = r.account_id
         where s.account_id = any (noted)
           and (s.lease_token = r.lease_token and s.lease_run_id is not null
                or r.lease_token is null and (s.lease_until is null or s.lease_until <= clock_timestamp()))
         order by s.account_id
           for update of s skip locked);
    update mt5.account_sync_state s
       set next_due_at = coalesce(r.next_due_at, s.next_due_at), last_run_id = the_run, lease_run_id = null, lease_until = null
      from jsonb_to_recordset(document->'rows') as r(account_id uuid, next_due_at timestamptz)
     where s.account_id = r.account_id and s.account_id = any (untouched);
    perform mt5.log_outcomes(the_run, desk_now, document->'rows', noted);
    return to_jsonb(noted);
end
$$;

-- ---- runs and shards ----

-- Open a run, or learn that its slot has one: {run_id, sync_type, scheduled_for, requested_by, mode, now, stale_seconds} ->
-- {outcome: opened | duplicate | taken_over, run}. A run that failed, or is silent for stale_seconds of real time, is taken over
-- under its own id, so that what it finished stays finished.
create function mt5.open_run(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    outcome text := 'opened';
    run     mt5.sync_runs;
begin
    perform mt5.make_log_partitions(jsonb_build_object('now', document->>'now', 'days', 1));
    insert into mt5.sync_runs (run_id, sync_type, scheduled_for, requested_by, mode, status, started_at, heartbeat_at)
    values ((document->>'run_id')::uuid, (document->>'sync_type')::mt5.sync_type, (document->>'scheduled_for')::timestamptz,
            document->>'requested_by', (document->>'mode')::mt5.run_mode, 'running', (document->>'now')::timestamptz,
            clock_timestamp())
    on conflict do nothing
    returning * into run;
    if not found then
        select * into run from mt5.sync_runs r
         where r.run_id = (document->>'run_id')::uuid
            or (document->>'sync_type' = 'scheduled' and r.sync_type = 'scheduled'
                and r.scheduled_for = (document->>'scheduled_for')::timestamptz)
         limit 1
           for update;
        outcome := 'duplicate';
        if run.status = 'failed'
           or (run.status = 'running'
               and run.heartbeat_at < clock_timestamp() - make_interval(secs => (document->>'stale_seconds')::integer)) then
            outcome := 'taken_over';
            update mt5.sync_runs r
               set status = 'running', error_code = null, finished_at = null, duration_ms = null, heartbeat_at = clock_timestamp()
             where r.run_id = run.run_id
            returning * into run;
        end if;
    end if;
    return jsonb_build_object('outcome', outcome, 'run', to_jsonb(run));
end
$$;

-- Cut a run into shards: {run_id, mode, total_accounts, shards: [{shard_no, instance_key, account_ids}]} -> [shard_no] of those
-- that are new. The total is added with the first of them, so that cutting again changes nothing.
create function mt5.add_shards(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_run constant uuid := (document->>'run_id')::uuid;
    made    integer[];
begin
    perform from mt5.sync_runs r where r.run_id = the_run for update;
    with written as (
        insert into mt5.sync_shards (run_id, shard_no, instance_key, account_ids)
        select the_run, r.shard_no, r.instance_key, r.account_ids
          from jsonb_to_recordset(document->'shards') as r(shard_no integer, instance_key text, account_ids uuid[])
         order by r.shard_no
        on conflict on constraint sync_shards_pk do nothing
        returning shard_no)
    select array_agg(w.shard_no order by w.shard_no) into made from written w;
    if made is not null then
        update mt5.sync_runs r
           set mode = (document->>'mode')::mt5.run_mode, shards_total = r.shards_total + cardinality(made),
               total_accounts = r.total_accounts + (document->>'total_accounts')::integer, heartbeat_at = clock_timestamp()
         where r.run_id = the_run;
    end if;
    return coalesce(to_jsonb(made), '[]');
end
$$;

-- Begin a shard, or begin it again after a crash: {run_id, shard_no, continuation, now} -> {shard, run} or null: it is over, or
-- another continuation has its accounts.
create function mt5.begin_shard(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    shard mt5.sync_shards;
begin
    update mt5.sync_shards s
       set state = 'running', started_at = coalesce(s.started_at, (document->>'now')::timestamptz)
     where s.run_id = (document->>'run_id')::uuid and s.shard_no = (document->>'shard_no')::integer
       and s.continuation = (document->>'continuation')::integer and s.state in ('queued', 'running')
    returning * into shard;
    if not found then
        return null;
    end if;
    return jsonb_build_object('shard', to_jsonb(shard),
                              'run', (select to_jsonb(r) from mt5.sync_runs r where r.run_id = shard.run_id));
end
$$;

-- Add to what a run brought: {total_accounts, success_count, partial_count, failure_count, skipped_count, deferred_count,
-- trades_synced}.
create function mt5.add_totals(the_run uuid, totals jsonb) returns void
language sql volatile as $$
    update mt5.sync_runs r
       set total_accounts = r.total_accounts + t.total_accounts, success_count = r.success_count + t.success_count,
           partial_count = r.partial_count + t.partial_count, failure_count = r.failure_count + t.failure_count,
           skipped_count = r.skipped_count + t.skipped_count, deferred_count = r.deferred_count + t.deferred_count,
           trades_synced = r.trades_synced + t.trades_synced, heartbeat_at = clock_timestamp()
      from jsonb_to_record(totals) as t(total_accounts integer, success_count integer, partial_count integer,
                                        failure_count integer, skipped_count integer, deferred_count integer, trades_synced integer)
     where r.run_id = the_run
$$;

-- End a shard or hand what is left of it to its next continuation: {run_id, shard_no, continuation, state: done | dead | queued,
-- account_ids (those left, for queued), totals, now} -> the run, or null when this continuation was over already. The run ends
-- with its last shard: failed when one of them is dead.
create function mt5.leave_shard(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_run  constant uuid := (document->>'run_id')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    is_left  constant boolean := document->>'state' = 'queued';
    run      mt5.sync_runs;
begin
    perform from mt5.sync_runs r where r.run_id = the_run for update;
    update mt5.sync_shards s
       set state = (document->>'state')::mt5.shard_state,
           continuation = s.continuation + is_left::integer,
           account_ids = case when is_left then array(select jsonb_array_elements_text(document->'account_ids')::uuid)
                              else s.account_ids end,
           finished_at = case when is_left then null else desk_now end
     where s.run_id = the_run and s.shard_no = (document->>'shard_no')::integer
       and s.continuation = (document->>'continuation')::integer and s.state in ('queued', 'running');
    if not found then
        return null;
    end if;
    perform mt5.add_totals(the_run, document->'totals');
    update mt5.sync_runs r set shards_done = r.shards_done + 1 where r.run_id = the_run and not is_left;
    update mt5.sync_runs r
       set status = case when dead.is_any then 'failed' else 'finished' end::mt5.run_status,
           error_code = case when dead.is_any then 'shard_dead' end, finished_at = desk_now,
           duration_ms = extract(epoch from desk_now - r.started_at) * 1000
      from (select exists (select from mt5.sync_shards s where s.run_id = the_run and s.state = 'dead') as is_any) dead
     where r.run_id = the_run and r.status in ('running', 'deadline') and r.shards_done >= r.shards_total and not is_left;
    select * into run from mt5.sync_runs r where r.run_id = the_run;
    return to_jsonb(run);
end
$$;

-- End a run that is worked inline or by a job: {run_id, status, error_code, totals, now} -> the run, or null: it was over.
create function mt5.close_run(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_run  constant uuid := (document->>'run_id')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    run      mt5.sync_runs;
begin
    perform from mt5.sync_runs r where r.run_id = the_run and r.status = 'running' for update;
    if not found then
        return null;
    end if;
    perform mt5.add_totals(the_run, document->'totals');
    update mt5.sync_runs r
       set status = (document->>'status')::mt5.run_status, error_code = document->>'error_code', finished_at = desk_now,
           duration_ms = extract(epoch from desk_now - r.started_at) * 1000
     where r.run_id = the_run
    returning * into run;
    return to_jsonb(run);
end
$$;

-- ---- keeping ----

-- Copy failed and partial logs from before an instant to the archive: {before, rows_max} -> {archived}; again until it is 0.
create function mt5.archive_failures(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    archived integer;
begin
    insert into mt5.sync_failures_archive
    select l.*
      from mt5.sync_logs l
     where l.started_at < (document->>'before')::timestamptz and l.status in ('failed', 'partial')
       and not exists (select from mt5.sync_failures_archive f
                        where f.account_id = l.account_id and f.started_at = l.started_at and f.id = l.id)
     limit (document->>'rows_max')::integer
    on conflict on constraint sync_failures_archive_pk do nothing;
    get diagnostics archived = row_count;
    return jsonb_build_object('archived', archived);
end
$$;

-- Delete old runs with their shards, and rate tokens that have returned: {runs_before, tokens_before (second), rows_max} ->
-- {runs, tokens}; again until both are 0.
create function mt5.purge_runs(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    old_runs uuid[];
    tokens   integer;
begin
    old_runs := array(select r.run_id from mt5.sync_runs r
                       where r.started_at < (document->>'runs_before')::timestamptz and r.status <> 'running'
                       order by r.started_at
                       limit (document->>'rows_max')::integer);
    delete from mt5.sync_shards s where s.run_id = any (old_runs);
    delete from mt5.sync_runs r where r.run_id = any (old_runs);
    delete from mt5.rate_tokens t
     where (t.instance_key, t.slot_second) in (select x.instance_key, x.slot_second from mt5.rate_tokens x
                                                where x.slot_second < (document->>'tokens_before')::bigint
                                                limit (document->>'rows_max')::integer);
    get diagnostics tokens = row_count;
    return jsonb_build_object('runs', cardinality(old_runs), 'tokens', tokens);
end
$$;

-- Delete old counters, cash checks and archived failures of the next accounts: {after: account_id or null, hours_before,
-- checks_before, failures_before, accounts_max} -> {last: account_id or null at the end, hours, checks, failures}.
create function mt5.purge_accounts(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    ids      constant uuid[] := array(
        select a.id from mt5.trading_accounts a
         where document->>'after' is null or a.id > (document->>'after')::uuid
         order by a.id
         limit (document->>'accounts_max')::integer);
    hours    integer;
    checks   integer;
    failures integer;
begin
    delete from mt5.sync_hours h where h.account_id = any (ids) and h.hour < (document->>'hours_before')::timestamptz;
    get diagnostics hours = row_count;
    delete from mt5.cash_checks c where c.account_id = any (ids) and c.checked_at < (document->>'checks_before')::timestamptz;
    get diagnostics checks = row_count;
    delete from mt5.sync_failures_archive f
     where f.account_id = any (ids) and f.started_at < (document->>'failures_before')::timestamptz;
    get diagnostics failures = row_count;
    return jsonb_build_object('last', ids[cardinality(ids)], 'hours', hours, 'checks', checks, 'failures', failures);
end
$$;

-- ---- operators ----

-- Link an account, or link it again: {account_id, tenant_id, server, login, broker_name, account_name, instance_key, base_url,
-- service_account_id, book_id, spare_book_id, backfill_target, has_new_credentials, now} -> {account_id, book_id, is_new}.
-- book_id taken by another tenant: spare_book_id. A server and (where base_url is given) an instance that are not known are
-- made; the server's clock rule is a guess until it is measured. Runs as the owner, walled in the tenant it was given.
create function mt5.link_account(document jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    the_account constant uuid := (document->>'account_id')::uuid;
    the_tenant  constant text := document->>'tenant_id';
    desk_now    constant timestamptz := (document->>'now')::timestamptz;
    is_renewed  constant boolean := (document->>'has_new_credentials')::boolean;
    was_tenant  constant text := coalesce(current_setting('fillbook.tenant_id', true), '');
    book        text;
    is_new      boolean := false;
begin
    perform set_config('fillbook.tenant_id', the_tenant, true);
    insert into mt5.servers (server, zone_name, shift_minutes) values (document->>'server', 'UTC', 0) on conflict do nothing;
    if document->>'base_url' is not null then
        insert into mt5.service_instances (instance_key, base_url)
        values (document->>'instance_key', document->>'base_url')
        on conflict do nothing;
    end if;
    update mt5.trading_accounts a
       set is_active = true, instance_key = document->>'instance_key', broker_name = document->>'broker_name',
           mt5_service_account_id = coalesce(document->>'service_account_id', a.mt5_service_account_id),
           account_name = coalesce(document->>'account_name', a.account_name),
           backfill_target = coalesce((document->>'backfill_target')::date, a.backfill_target),
           credentials_version = a.credentials_version + is_renewed::integer,
           connection_status = case when is_renewed then 'unknown' else a.connection_status end, updated_at = desk_now
     where a.id = the_account
    returning a.book_id into book;
    if found then
        update mt5.account_sync_state s set next_due_at = '-infinity', auth_failure_count = 0
         where s.account_id = the_account and is_renewed;
    else
        is_new := true;
        foreach book in array array[document->>'book_id', document->>'spare_book_id'] loop
            insert into mt5.trading_accounts (id, tenant_id, broker_name, server, login_number, account_name, instance_key,
                                              mt5_service_account_id, book_id, backfill_target, created_at, updated_at)
            values (the_account, the_tenant, document->>'broker_name', document->>'server', (document->>'login')::bigint,
                    document->>'account_name', document->>'instance_key', document->>'service_account_id', book,
                    (document->>'backfill_target')::date, desk_now, desk_now)
            on conflict on constraint trading_accounts_book_uq do nothing;
            exit when found;
        end loop;
        insert into mt5.account_sync_state (account_id, tenant_id) values (the_account, the_tenant);
    end if;
    perform set_config('fillbook.tenant_id', was_tenant, true);
    return jsonb_build_object('account_id', the_account, 'book_id', book, 'is_new', is_new);
end
$$;

-- An account follows what an operator changed of it, by function or by hand: inactive ones are not scheduled, active ones are due
-- at once, and another target takes the reading of the past up again.
create function mt5.follow_account() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    was_tenant constant text := coalesce(current_setting('fillbook.tenant_id', true), '');
begin
    perform set_config('fillbook.tenant_id', new.tenant_id, true);
    update mt5.account_sync_state s
       set next_due_at = case when new.is_active = old.is_active then s.next_due_at
                              when new.is_active then '-infinity' else 'infinity' end,
           backfill_state = case when new.backfill_target is distinct from old.backfill_target then 'pending'
                                 else s.backfill_state end
     where s.account_id = new.id;
    perform set_config('fillbook.tenant_id', was_tenant, true);
    return null;
end
$$;
create trigger trading_accounts_follow after update of is_active, backfill_target on mt5.trading_accounts
    for each row when (old.is_active is distinct from new.is_active or old.backfill_target is distinct from new.backfill_target)
    execute function mt5.follow_account();

-- Stop syncing an account: {account_id, now} -> {is_found}. Nothing is deleted; linking it again takes it up.
create function mt5.deactivate_account(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    update mt5.trading_accounts a set is_active = false, updated_at = (document->>'now')::timestamptz
     where a.id = (document->>'account_id')::uuid;
    return jsonb_build_object('is_found', found);
end
$$;

-- Give an account another label: {account_id, account_name, now} -> {is_found}.
create function mt5.rename_account(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    update mt5.trading_accounts a set account_name = document->>'account_name', updated_at = (document->>'now')::timestamptz
     where a.id = (document->>'account_id')::uuid;
    return jsonb_build_object('is_found', found);
end
$$;

-- Say how far back an account is to be read: {account_id, backfill_target, now} -> {is_found}; null: 30 days before linking.
create function mt5.set_backfill_target(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    update mt5.trading_accounts a
       set backfill_target = (document->>'backfill_target')::date, updated_at = (document->>'now')::timestamptz
     where a.id = (document->>'account_id')::uuid;
    return jsonb_build_object('is_found', found);
end
$$;

-- Enter what the service does not know of a symbol: {server, symbol, symbol_norm, contract_size, digits, currency_profit, now} ->
-- null.
create function mt5.set_symbol(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    insert into mt5.symbols (server, symbol, symbol_norm, contract_size, digits, currency_profit, fetched_at)
    values (document->>'server', document->>'symbol', document->>'symbol_norm', (document->>'contract_size')::numeric,
            (document->>'digits')::smallint, document->>'currency_profit', (document->>'now')::timestamptz)
    on conflict on constraint symbols_pk do update
       set contract_size = excluded.contract_size, digits = excluded.digits, currency_profit = excluded.currency_profit,
           fetched_at = excluded.fetched_at;
    return null;
end
$$;

-- Confirm a server's clock rule, or enter another: {server, zone_name, shift_minutes, bonus_bucket} -> {is_found}.
create function mt5.confirm_clock(document jsonb) returns jsonb
language plpgsql volatile as $$
begin
    update mt5.servers v
       set zone_name = document->>'zone_name', shift_minutes = (document->>'shift_minutes')::integer, zone_state = 'confirmed',
           zone_mismatch_polls = 0, bonus_bucket = coalesce((document->>'bonus_bucket')::mt5.cash_bucket, v.bonus_bucket)
     where v.server = document->>'server';
    return jsonb_build_object('is_found', found);
end
$$;

-- Remove an inactive account with everything that was read of it, and leave a trace: {account_id, tenant_id, reason, now} ->
-- {outcome: removed | not_found | active | leased, row_counts}. Runs as the owner, walled in the tenant it was given; the
-- ledger's book stays, because journals are never taken back.
create function mt5.remove_account(document jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    the_account constant uuid := (document->>'account_id')::uuid;
    was_tenant  constant text := coalesce(current_setting('fillbook.tenant_id', true), '');
    account     mt5.trading_accounts;
    is_leased   boolean;
    name        text;
    removed     bigint;
    counts      jsonb := '{}';
    outcome     text := 'removed';
begin
    perform set_config('fillbook.tenant_id', document->>'tenant_id', true);
    select * into account from mt5.trading_accounts a
     where a.id = the_account and a.tenant_id = document->>'tenant_id' for update;
    select s.lease_until > clock_timestamp() into is_leased
      from mt5.account_sync_state s where s.account_id = account.id for update;
    if account.id is null then
        outcome := 'not_found';
    elsif account.is_active then
        outcome := 'active';
    elsif is_leased then
        outcome := 'leased';
    else
        foreach name in array array['sync_logs', 'sync_failures_archive', 'sync_hours', 'missed_deals', 'history_gaps', 'cash_checks',
                                    'cash_operations', 'trades', 'deals', 'account_sync_state'] loop
            execute format('delete from mt5.%I where account_id = $1', name) using the_account;
            get diagnostics removed = row_count;
            counts := counts || jsonb_build_object(name, removed);
        end loop;
        delete from mt5.trading_accounts a where a.id = the_account;
        insert into mt5.account_removals (account_id, tenant_id, server, login_number, book_id, removed_at, removed_by, reason,
                                          row_counts)
        values (the_account, account.tenant_id, account.server, account.login_number, account.book_id,
                (document->>'now')::timestamptz, session_user, document->>'reason', counts);
    end if;
    perform set_config('fillbook.tenant_id', was_tenant, true);
    return jsonb_build_object('outcome', outcome, 'row_counts', counts);
end
$$;

-- ---- tenants: row-level security, forced ----

do $$
declare
    name text;
begin
    foreach name in array array['trading_accounts', 'account_sync_state', 'deals', 'trades', 'cash_operations', 'cash_checks',
                                'history_gaps', 'missed_deals', 'sync_logs', 'sync_failures_archive', 'sync_hours', 'account_removals'] loop
        execute format('alter table mt5.%I enable row level security', name);
        execute format('alter table mt5.%I force row level security', name);
        execute format('create policy %I on mt5.%I '
                       'using (tenant_id = nullif(current_setting(''fillbook.tenant_id'', true), '''')) '
                       'with check (tenant_id = nullif(current_setting(''fillbook.tenant_id'', true), ''''))',
                       name || '_tenant', name);
        execute format('create policy %I on mt5.%I to mt5_writer using (true) with check (true)', name || '_writer', name);
        execute format('create policy %I on mt5.%I for select to desk_operator using (true)', name || '_operator', name);
        execute format('grant select on mt5.%I to mt5_reader, desk_operator', name);
        execute format('grant select, insert on mt5.%I to mt5_writer', name);
    end loop;
end
$$;
create policy trading_accounts_operator_update on mt5.trading_accounts for update to desk_operator using (true) with check (true);

-- ---- views: what may be asked ----

create view mt5.recent_sync_executions with (security_invoker = true) as
    select l.account_id, a.login_number, a.broker_name, l.sync_type, l.status, l.trades_synced, l.duration_ms, l.error_message,
           l.started_at, l.tenant_id, l.id, l.run_id, l.completed_at, l.error_code, l.attempts
      from mt5.sync_logs l join mt5.trading_accounts a on a.id = l.account_id
     order by l.started_at desc;
comment on view mt5.recent_sync_executions is 'Logged outcomes, newest first.';

create view mt5.account_success_24h with (security_invoker = true) as
    select h.account_id, sum(h.runs) as total_syncs, sum(h.successes) as successes, sum(h.partials + h.failures) as failures,
           round(100.0 * sum(h.successes) / sum(h.runs), 2) as success_rate_pct,
           round(sum(h.duration_ms_sum)::numeric / sum(h.runs)) as avg_duration_ms, h.tenant_id
      from mt5.sync_hours h
     where h.hour > mt5.desk_now() - interval '24 hours'
     group by h.account_id, h.tenant_id
     order by failures desc, h.account_id;
comment on view mt5.account_success_24h is 'The last 24 hours by the hour, unlogged successes included; a partial outcome is a failure.';

create view mt5.accounts_with_failures with (security_invoker = true) as
    select a.id, a.login_number, a.broker_name, a.sync_failure_count, a.last_connection_error, a.last_sync_at,
           a.last_successful_sync_at, a.tenant_id, a.last_error_code
      from mt5.trading_accounts a
     where a.is_active and a.sync_failure_count > 0
     order by a.sync_failure_count desc, a.id;

create view mt5.sync_performance_by_hour with (security_invoker = true) as
    select extract(hour from h.hour at time zone 'UTC')::integer as hour, sum(h.runs) as sync_count,
           round(sum(h.duration_ms_sum)::numeric / sum(h.runs)) as avg_duration_ms, max(h.duration_ms_max) as max_duration_ms,
           sum(h.trades_synced) as total_trades_synced, h.tenant_id
      from mt5.sync_hours h
     where h.hour > mt5.desk_now() - interval '7 days'
     group by 1, h.tenant_id
     order by 1;
comment on view mt5.sync_performance_by_hour is 'Seven days by UTC hour of the day.';

create view mt5.recent_sync_failures with (security_invoker = true) as
    select l.account_id, a.login_number, a.broker_name, l.sync_type, l.status, l.error_code, l.error_message, l.attempts,
           l.duration_ms, l.started_at, l.steps, l.tenant_id, l.run_id
      from mt5.sync_logs l join mt5.trading_accounts a on a.id = l.account_id
     where l.status in ('failed', 'partial') and l.started_at > mt5.desk_now() - interval '24 hours'
     order by l.started_at desc;

create view mt5.account_sync_health with (security_invoker = true) as
    select a.id as account_id, a.tenant_id, a.platform, a.broker_name, a.server, a.login_number, a.account_name, a.book_id,
           a.is_active, a.currency, a.balance, a.equity, a.margin, a.free_margin, a.margin_level, a.credit, a.floating_profit,
           a.info_at, a.positions_at, a.last_sync_at, a.last_successful_sync_at, a.sync_failure_count, a.last_error_code,
           a.last_connection_error, a.connection_status,
           case when isfinite(s.next_due_at) then s.next_due_at end as next_due_at,
           coalesce(h.successes, 0) as successes_24h, coalesce(h.partials, 0) as partials_24h,
           coalesce(h.failures, 0) as failures_24h, coalesce(h.skips, 0) as skips_24h,
           extract(epoch from mt5.desk_now() - a.last_successful_sync_at)::bigint as lag_seconds,
           s.cash_state, s.has_open_positions, s.last_deal_at, s.backfill_state, s.history_floor_msc, s.history_until_msc,
           (to_timestamp(s.history_floor_msc / 1000.0) at time zone 'UTC')::date as backfill_floor,
           case when s.backfill_state = 'done' then 100
                when s.history_floor_msc is null then 0
                else least(100, round(100.0 * (s.history_until_msc - s.history_floor_msc) / nullif(
                         s.history_until_msc - (extract(epoch from greatest(
                             coalesce(a.backfill_target, (a.created_at at time zone 'UTC')::date - 30), '2015-01-01'))
                             * 1000)::bigint, 0), 1)) end as backfill_pct
      from mt5.trading_accounts a
      join mt5.account_sync_state s on s.account_id = a.id
      left join lateral (
          select sum(x.successes) as successes, sum(x.partials) as partials, sum(x.failures) as failures, sum(x.skips) as skips
            from mt5.sync_hours x
           where x.account_id = a.id and x.hour > mt5.desk_now() - interval '24 hours') h on true;
comment on view mt5.account_sync_health is 'One row per account: what is stored, how fresh it is, how far its past is read.';

create view mt5.coverage_days with (security_invoker = true) as
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
                        (mt5.desk_now() at time zone 'UTC')::date) as last_day
          from mt5.trading_accounts a join mt5.account_sync_state s on s.account_id = a.id),
    days as (
        select n.*, g.day::date as day, (extract(epoch from g.day) * 1000)::bigint as from_msc,
               (extract(epoch from g.day) * 1000)::bigint + 86400000 as to_msc
          from span n
         cross join lateral generate_series(n.first_day::timestamp, n.last_day::timestamp, interval '1 day') as g(day)),
    judged as (
        select d.*, p.cause,
               case when p.cause is not null then 'gap'
                    when extract(isodow from d.day) >= 6
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
                          order by k.checked_at desc limit 1) c on true;
comment on view mt5.coverage_days is 'Per account and day of the server clock: proven, provisional (younger than 48 h or not checked), gap, unknown, closed (a weekend without deals); and the last check that says so.';

create view mt5.fleet_freshness with (security_invoker = true) as
    select a.tenant_id, count(*) as active_accounts,
           count(*) filter (where a.last_successful_sync_at > mt5.desk_now() - interval '10 minutes') as fresh_accounts,
           round(100.0 * count(*) filter (where a.last_successful_sync_at > mt5.desk_now() - interval '10 minutes') / count(*), 2)
               as fresh_pct,
           min(a.last_successful_sync_at) as oldest_success_at
      from mt5.trading_accounts a
     where a.is_active
     group by a.tenant_id;
comment on view mt5.fleet_freshness is 'Share of active accounts whose last success is younger than 10 minutes.';

create view mt5.account_trades with (security_invoker = true) as
    select t.id, t.account_id, t.tenant_id, a.book_id, a.platform, a.broker_name, a.server, a.login_number, a.account_name,
           a.currency, t.position_id, t.episode, t.ticket, t.symbol, t.symbol_norm, t.type, t.volume, t.open_volume, t.open_price,
           t.close_price, t.open_time, t.close_time, t.stop_loss, t.take_profit, t.current_price, t.profit, t.swap, t.commission,
           t.fee, t.realized_profit, t.realized_swap, t.net_pnl, t.status, t.comment, t.magic, t.close_reason, t.entry_complete,
           t.identity_quality, t.pending_polls, t.ledger_state, t.updated_at
      from mt5.trades t join mt5.trading_accounts a on a.id = t.account_id;
comment on view mt5.account_trades is 'Trades with the account and the book that they belong to.';

create view mt5.ledger_differences with (security_invoker = true) as
    with compared as (
        select t.account_id, t.tenant_id, a.book_id, t.position_id, t.episode, t.symbol, t.net_pnl, b.realized_pnl_base,
               coalesce(b.closing_count, 0) as closing_count,
               case when not t.entry_complete then 'entry_missing'
                    when b.action_count > 0 and b.is_unknown then 'money_unknown'
                    when a.margin_mode <> 2 and b.entry_count > 1 and b.currency is distinct from a.currency
                    then 'average_entry_in_foreign_currency' end as not_comparable,
               0.5 * power(10::numeric, -a.currency_digits) * greatest(coalesce(b.closing_count, 0), 1) as tolerance
          from mt5.trades t
          join mt5.trading_accounts a on a.id = t.account_id
          left join (
              select x.book_id, x.meta->>'position_id' as position_id, x.meta->>'episode' as episode,
                     sum(x.realized_pnl_base) as realized_pnl_base, count(*) as action_count, min(x.currency) as currency,
                     count(*) filter (where x.action_type in ('ENTRY', 'ADD_ENTRY')) as entry_count,
                     count(*) filter (where x.action_type not in ('ENTRY', 'ADD_ENTRY')) as closing_count,
                     bool_or(x.realized_pnl_base is null and x.action_type not in ('ENTRY', 'ADD_ENTRY')) as is_unknown
                from ledger.v_actions x
               where x.book_id like 'mt5:%'
               group by 1, 2, 3) b
            on b.book_id = a.book_id and b.position_id = t.position_id::text and b.episode = t.episode::text
         where t.status = 'closed' and t.ledger_state = 'booked')
    select c.account_id, c.tenant_id, c.book_id, c.position_id, c.episode, c.symbol, c.net_pnl, c.realized_pnl_base,
           c.realized_pnl_base - c.net_pnl as difference, c.closing_count, c.not_comparable
      from compared c
     where c.realized_pnl_base is null or c.net_pnl is null
        or abs(c.realized_pnl_base - c.net_pnl) > c.tolerance;
comment on view mt5.ledger_differences is 'Flat episodes whose book says another result than their deals. A row that names a reason in not_comparable is no error; no other row may exist.';

-- ---- grants ----

revoke all on all functions in schema mt5 from public;

grant select on mt5.recent_sync_executions, mt5.account_success_24h, mt5.accounts_with_failures, mt5.sync_performance_by_hour,
                mt5.recent_sync_failures, mt5.account_sync_health, mt5.coverage_days, mt5.fleet_freshness, mt5.account_trades,
                mt5.ledger_differences
    to mt5_reader, mt5_writer, desk_operator;
grant execute on function mt5.desk_now() to mt5_reader, mt5_writer, desk_operator;
grant usage on schema ledger to mt5_reader;
grant select on ledger.v_actions to mt5_reader;
grant mt5_reader to tracker_reader;

grant select on mt5.service_instances, mt5.servers, mt5.symbols, mt5.sync_runs, mt5.sync_shards, mt5.service_breakers,
                mt5.rate_tokens, mt5.session_slots
    to mt5_writer, desk_operator;
grant insert, update on mt5.service_instances, mt5.servers, mt5.symbols, mt5.sync_runs, mt5.sync_shards, mt5.service_breakers,
                        mt5.rate_tokens, mt5.session_slots, mt5.trades, mt5.cash_operations, mt5.sync_hours, mt5.history_gaps, mt5.missed_deals
    to mt5_writer;
grant update on mt5.account_sync_state to mt5_writer;
grant delete on mt5.trades, mt5.cash_operations, mt5.missed_deals, mt5.cash_checks, mt5.sync_failures_archive, mt5.sync_hours, mt5.sync_runs,
                mt5.sync_shards, mt5.rate_tokens, mt5.session_slots
    to mt5_writer;
revoke insert on mt5.trading_accounts, mt5.account_sync_state, mt5.account_removals from mt5_writer;
grant update (currency, currency_digits, leverage, margin_mode, balance, equity, margin, free_margin, margin_level, credit,
              floating_profit, info_at, positions_at, last_sync_at, last_successful_sync_at, sync_failure_count, last_error_code,
              last_connection_error, connection_status, updated_at)
    on mt5.trading_accounts to mt5_writer;

grant update (account_name, is_active, backfill_target, updated_at) on mt5.trading_accounts to desk_operator;
grant insert on mt5.symbols to desk_operator;
grant update (contract_size, digits, currency_profit, fetched_at) on mt5.symbols to desk_operator;
grant update (zone_name, shift_minutes, zone_mismatch_polls, zone_state, bonus_bucket) on mt5.servers to desk_operator;

grant execute on function
    mt5.make_log_partitions(jsonb), mt5.drop_log_partitions(jsonb), mt5.account_rows(uuid[]), mt5.claim(jsonb),
    mt5.claim_due(jsonb), mt5.claim_by_hand(jsonb), mt5.hand_back(jsonb), mt5.load_account(jsonb), mt5.cash_sums(uuid, jsonb),
    mt5.log_outcomes(uuid, timestamptz, jsonb, uuid[]), mt5.apply_account(jsonb), mt5.flush_unchanged(jsonb),
    mt5.skip_accounts(jsonb), mt5.open_run(jsonb), mt5.add_shards(jsonb), mt5.begin_shard(jsonb), mt5.add_totals(uuid, jsonb),
    mt5.leave_shard(jsonb), mt5.close_run(jsonb), mt5.archive_failures(jsonb), mt5.purge_runs(jsonb), mt5.purge_accounts(jsonb)
    to mt5_writer;
grant execute on function
    mt5.link_account(jsonb), mt5.deactivate_account(jsonb), mt5.rename_account(jsonb), mt5.set_backfill_target(jsonb),
    mt5.set_symbol(jsonb), mt5.confirm_clock(jsonb), mt5.remove_account(jsonb)
    to desk_operator;

-- ==== 0018_mt5_pages.sql =============================================================================================

-- What a screen of linked MT5 accounts still lacked: pages of trades and runs that walk an index from their place on, and the
-- little that says of every account of a large fleet how it is followed.
--
-- Row-level security lets a comparison reach an index only when nothing in it could tell of other tenants' rows. That holds for
-- case, not for coalesce, and not for enums: hence the expression below. A trade whose opening is not known stands behind all
-- others, at 1970: no deal can be that old. Runs come in no order, so that a page of them ends where the page ends.
-- Sources: tracker.md 5, 6.

create index trades_account_page_ix on mt5.trades
    (account_id, (case when open_time is null then '1970-01-01 00:00:00+00'::timestamptz else open_time end) desc, id desc);
create index trades_tenant_page_ix on mt5.trades
    (tenant_id, (case when open_time is null then '1970-01-01 00:00:00+00'::timestamptz else open_time end) desc, id desc);

create view mt5.v_account_runs with (security_invoker = true) as
    select l.account_id, l.tenant_id, l.id, l.run_id, l.sync_type, l.status, l.started_at, l.completed_at, l.trades_synced,
           l.attempts, l.error_code, l.error_message, l.duration_ms
      from mt5.sync_logs l;
comment on view mt5.v_account_runs is 'Logged outcomes of accounts, in no order.';

create view mt5.v_account_states with (security_invoker = true) as
    select a.id as account_id, a.tenant_id, a.book_id, a.is_active, a.connection_status, a.sync_failure_count,
           a.last_successful_sync_at, case when isfinite(s.next_due_at) then s.next_due_at end as next_due_at
      from mt5.trading_accounts a join mt5.account_sync_state s on s.account_id = a.id;
comment on view mt5.v_account_states is 'How each account is followed, without counters: next_due_at null: due at once, or not scheduled.';

grant select on mt5.v_account_runs, mt5.v_account_states to mt5_reader, mt5_writer, desk_operator;

-- ==== 0019_mt5_gaps.sql ==============================================================================================

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

-- ==== 0020_mt5_close_by.sql ==========================================================================================

-- A close-by is compared as what it is: two positions closed against each other under one order.
--
-- The broker books the result of the pair on either of its two deals; the book, which knows prices alone, splits it by them. So
-- a position's result may differ from the broker's while the pair's may not. What a side's book says above its deal is set
-- against the other side's, and what the two leave over is the difference of both. Where the profit currency is another, a
-- side's rate is implied by its own result, so that nothing moves between sides: either both agree, or one of them has no rate.
-- Sources: mt5 specification, 5 and 10; decision 0031.

create index deals_close_by_ix on mt5.deals (account_id, order_id) where entry = 3;

create or replace view mt5.ledger_differences with (security_invoker = true) as
    with booked as (
        select x.book_id, x.meta->>'position_id' as position_id, x.meta->>'episode' as episode, x.meta->>'order' as order_id,
               x.currency, x.realized_pnl_gross, x.realized_pnl_base, x.action_type not in ('ENTRY', 'ADD_ENTRY') as is_closing
          from ledger.v_actions x
         where x.book_id like 'mt5:%'),
    lives as (
        select b.book_id, b.position_id, b.episode, sum(b.realized_pnl_base) as realized_pnl_base, count(*) as action_count,
               min(b.currency) as currency, count(*) filter (where not b.is_closing) as entry_count,
               count(*) filter (where b.is_closing) as closing_count,
               bool_or(b.realized_pnl_base is null and b.is_closing) as is_unknown
          from booked b
         group by 1, 2, 3),
    told as (
        select d.account_id, d.order_id, d.position_id, sum(d.profit) as profit
          from mt5.deals d
         where d.entry = 3 and d.deal_type in (0, 1) and d.volume > 0 and not d.withdrawn
           and not exists (select from mt5.deals n
                            where n.account_id = d.account_id and n.deal_ticket = d.deal_ticket and n.revision > d.revision)
         group by 1, 2, 3),
    sides as (
        select t.account_id, t.order_id, t.position_id, b.episode, b.closing_count,
               case when b.is_unknown then null
                    when b.gross = 0 then -t.profit
                    when b.currency = a.currency then b.gross - t.profit
                    else 0 end as above
          from told t
          join mt5.trading_accounts a on a.id = t.account_id
          left join (
              select x.book_id, x.order_id, x.position_id, x.episode, min(x.currency) as currency,
                     sum(x.realized_pnl_gross) as gross, bool_or(x.realized_pnl_base is null) as is_unknown,
                     count(*) as closing_count
                from booked x
               where x.is_closing
               group by 1, 2, 3, 4) b
            on b.book_id = a.book_id and b.order_id = t.order_id::text and b.position_id = t.position_id::text),
    pairs as (
        select s.account_id, s.order_id, sum(s.above) as left_over, sum(s.closing_count) as closing_count,
               bool_or(s.above is null) as is_unknown
          from sides s
         group by 1, 2),
    moved as (
        select s.account_id, s.position_id, s.episode, sum(s.above - p.left_over) as amount,
               sum(p.closing_count - s.closing_count) as other_closings, bool_or(p.is_unknown) as is_unknown
          from sides s
          join pairs p on p.account_id = s.account_id and p.order_id = s.order_id
         where s.episode is not null
         group by 1, 2, 3),
    compared as (
        select t.account_id, t.tenant_id, a.book_id, t.position_id, t.episode, t.symbol, t.net_pnl, b.realized_pnl_base,
               coalesce(b.closing_count, 0) as closing_count, coalesce(m.amount, 0) as close_by_moved,
               case when not t.entry_complete then 'entry_missing'
                    when b.action_count > 0 and b.is_unknown then 'money_unknown'
                    when m.is_unknown then 'close_by_side_unknown'
                    when a.margin_mode <> 2 and b.entry_count > 1 and b.currency is distinct from a.currency
                    then 'average_entry_in_foreign_currency' end as not_comparable,
               0.5 * power(10::numeric, -a.currency_digits)
                   * greatest(coalesce(b.closing_count, 0) + coalesce(m.other_closings, 0), 1) as tolerance
          from mt5.trades t
          join mt5.trading_accounts a on a.id = t.account_id
          left join lives b
            on b.book_id = a.book_id and b.position_id = t.position_id::text and b.episode = t.episode::text
          left join moved m
            on m.account_id = t.account_id and m.position_id = t.position_id and m.episode = t.episode::text
         where t.status = 'closed' and t.ledger_state = 'booked')
    select c.account_id, c.tenant_id, c.book_id, c.position_id, c.episode, c.symbol, c.net_pnl, c.realized_pnl_base,
           c.realized_pnl_base - c.close_by_moved - c.net_pnl as difference, c.closing_count, c.not_comparable, c.close_by_moved
      from compared c
     where c.realized_pnl_base is null or c.net_pnl is null
        or abs(c.realized_pnl_base - c.close_by_moved - c.net_pnl) > c.tolerance;
comment on view mt5.ledger_differences is 'Flat episodes whose book says another result than their deals, after what a close-by booked on its other side (close_by_moved). A row that names a reason in not_comparable is no error; no other row may exist.';

-- ==== 0021_mt5_speed.sql =============================================================================================

-- An account is read in steps that cannot go wrong where nothing was ever counted, and no more of it than an answer changes.
--
-- On a young table, and in a session whose plans are as old as it is, every index that begins with account_id costs the planner
-- the same, and a join of a handful of keys may read the account once per key. So a key is looked up row by row, in a sub-select
-- whose order only the wanted index has (a span of one key instead of the key itself, where an equal key would leave an order that
-- another index has too): such a one is neither flattened into a join nor answered by another index (decision 0032). What an answer tells as it is stored is found by its hash, and not read.
-- Sources: mt5 specification, 2 and 7; performance.md, 1.

-- Take an account's fence and read what an answer about it touches:
-- {account_id, lease_token, tickets, told_tickets, told_positions, told_hashes, position_ids, symbols,
--  windows: [{from_msc, to_msc}], spans: [{from_msc, to_msc}], cash: null | {floor_msc, at_msc, near_ms}} ->
-- null when the lease is another's, else {row of mt5.account_rows, symbols, same, deals, trades, missing, missed, clocks, gaps,
-- last_check, cash}.
-- told_…: deals of an answer, with position and hash of content · same: those whose newest revision says just that and counts;
-- the others are read as if they and their positions stood among tickets and position_ids ·
-- deals: all revisions of the tickets, of every deal of the positions, of the tickets' stored positions, of live trades, and of
-- missing · trades: live ones and all episodes of those positions · missing: tickets that count inside the windows and are not
-- among those given · missed: what was missing before · clocks: [[ticket, msc]] of deals inside the spans · gaps: open ones ·
-- cash: see mt5.cash_sums. Lock first, read in following statements; always the account before its state, as operators do.
create or replace function mt5.load_account(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    the_account constant uuid := (document->>'account_id')::uuid;
    asked       bigint[] := array(select jsonb_array_elements_text(document->'tickets')::bigint);
    names       text[] := array(select jsonb_array_elements_text(document->'symbols'));
    same        bigint[];
    positions   bigint[];
    tickets     bigint[];
    missing     bigint[];
    deals       jsonb;
    trades      jsonb;
    answer      jsonb;
begin
    perform from mt5.trading_accounts a where a.id = the_account for no key update;
    perform from mt5.account_sync_state s
     where s.account_id = the_account and s.lease_token = (document->>'lease_token')::bigint and s.lease_run_id is not null
       for update;
    if not found then
        return null;
    end if;
    same := array(
        select k.ticket::bigint
          from rows from (jsonb_array_elements_text(document->'told_tickets'), jsonb_array_elements_text(document->'told_hashes'))
               as k(ticket, content_hash)
         cross join lateral (select x.content_hash, x.withdrawn from mt5.deals x
                              where x.account_id = the_account and x.deal_ticket = k.ticket::bigint
                              order by x.revision desc limit 1) d
         where not d.withdrawn and d.content_hash = decode(k.content_hash, 'hex'));
    with other as materialized (
        select k.ticket::bigint as ticket, k.position::bigint as position_id
          from rows from (jsonb_array_elements_text(document->'told_tickets'),
                          jsonb_array_elements_text(document->'told_positions')) as k(ticket, position)
         where k.ticket::bigint not in (select unnest(same)))
    select asked || array(select o.ticket from other o),
           array(select jsonb_array_elements_text(document->'position_ids')::bigint
                 union select o.position_id from other o where o.position_id > 0)
      into asked, positions;
    positions := array(
        select unnest(positions)
        union select d.position_id
                from unnest(asked) k(ticket)
               cross join lateral (select x.position_id from mt5.deals x
                                    where x.account_id = the_account and x.deal_ticket = k.ticket order by x.revision) d
               where d.position_id > 0
        union select t.position_id from mt5.trades t where t.account_id = the_account and t.status <> 'closed');
    tickets := array(
        select unnest(asked)
        union select d.deal_ticket
                from unnest(positions) k(id)
               cross join lateral (select x.deal_ticket from mt5.deals x
                                    where x.account_id = the_account and x.position_id between k.id and k.id
                                    order by x.position_id, x.time_server_msc, x.deal_ticket) d
               where k.id > 0);
    missing := array(
        select d.deal_ticket
          from jsonb_to_recordset(document->'windows') as w(from_msc bigint, to_msc bigint)
         cross join lateral (select x.deal_ticket, x.revision, x.withdrawn from mt5.deals x
                              where x.account_id = the_account and x.time_server_msc >= w.from_msc and x.time_server_msc < w.to_msc
                              order by x.time_server_msc, x.deal_ticket) d
         where not d.withdrawn and d.deal_ticket not in (select unnest(asked)) and d.deal_ticket not in (select unnest(same))
           and d.revision = (select n.revision from mt5.deals n
                              where n.account_id = the_account and n.deal_ticket = d.deal_ticket order by n.revision desc limit 1)
         order by d.deal_ticket);
    select coalesce(jsonb_agg(to_jsonb(d) order by d.deal_ticket, d.revision), '[]'), array_cat(names, array_agg(distinct d.symbol))
      into deals, names
      from (select unnest(tickets) union select unnest(missing)) k(ticket)
     cross join lateral (select x.deal_ticket, x.revision, x.position_id, x.order_id, x.time_server_msc, x.deal_type, x.entry,
                                x.reason, x.symbol, x.volume, x.price, x.profit, x.commission, x.swap, x.fee, x.magic, x.comment,
                                x.external_id, x.extra, x.withdrawn, x.recorded_at
                           from mt5.deals x
                          where x.account_id = the_account and x.deal_ticket = k.ticket order by x.revision) d;
    select coalesce(jsonb_agg(to_jsonb(t) - '{tenant_id,updated_at}'::text[] order by t.position_id, t.episode), '[]'),
           array_cat(names, array_agg(distinct t.symbol))
      into trades, names
      from unnest(positions) k(id)
     cross join lateral (select x.* from mt5.trades x
                          where x.account_id = the_account and x.position_id = k.id order by x.episode) t;
    answer := mt5.account_rows(array[the_account])->0;
    return answer || jsonb_build_object(
        'same', to_jsonb(same),
        'deals', deals,
        'trades', trades,
        'symbols', coalesce((
            select jsonb_agg(to_jsonb(y) - 'fetched_at' order by y.symbol)
              from mt5.symbols y
             where y.server = answer->'account'->>'server' and y.symbol = any (names)), '[]'),
        'missing', to_jsonb(missing),
        'missed', coalesce((
            select jsonb_agg(to_jsonb(m) - '{account_id,tenant_id}'::text[] order by m.deal_ticket)
              from mt5.missed_deals m where m.account_id = the_account), '[]'),
        'clocks', coalesce((
            select jsonb_agg(jsonb_build_array(d.deal_ticket, d.time_server_msc) order by d.deal_ticket)
              from jsonb_to_recordset(document->'spans') as w(from_msc bigint, to_msc bigint)
             cross join lateral (
                   select x.deal_ticket, x.time_server_msc, x.revision from mt5.deals x
                    where x.account_id = the_account and x.time_server_msc >= w.from_msc and x.time_server_msc < w.to_msc
                    order by x.time_server_msc, x.deal_ticket) d
             where d.revision = (select n.revision from mt5.deals n
                                  where n.account_id = the_account and n.deal_ticket = d.deal_ticket
                                  order by n.revision desc limit 1)), '[]'),
        'gaps', coalesce((
            select jsonb_agg(to_jsonb(g) - '{account_id,tenant_id}'::text[] order by g.from_msc, g.opened_at)
              from mt5.history_gaps g
             where g.account_id = the_account and g.closed_at is null), '[]'),
        'last_check', (
            select to_jsonb(c) - '{account_id,tenant_id,run_id}'::text[]
              from mt5.cash_checks c where c.account_id = the_account order by c.checked_at desc limit 1),
        'cash', case when jsonb_typeof(document->'cash') = 'object' then mt5.cash_sums(the_account, document->'cash') end);
end
$$;

-- What the stored deals of an account add up to, from the floor on: {floor_msc, at_msc, near_ms} -> {amount, bonus, credit, near,
-- first}: sums of what is near_ms and more before at_msc, amount without the deal types of bonus and credit; the deals within
-- near_ms of it, in order; the first of all. A deal: {deal_ticket, time_msc, deal_type, amount}. One walk of the account's deals by
-- time; nothing is kept but what is near.
create or replace function mt5.cash_sums(the_account uuid, asked jsonb) returns jsonb
language plpgsql stable set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    floor_msc constant bigint := coalesce((asked->>'floor_msc')::bigint, 0);
    at_msc    constant bigint := (asked->>'at_msc')::bigint;
    near_ms   constant bigint := (asked->>'near_ms')::bigint;
    answer    jsonb;
begin
    select jsonb_build_object(
               'amount', coalesce(sum(c.amount) filter (where c.time_msc <= at_msc - near_ms and c.deal_type not in (3, 6)), 0),
               'bonus', coalesce(sum(c.amount) filter (where c.time_msc <= at_msc - near_ms and c.deal_type = 6), 0),
               'credit', coalesce(sum(c.amount) filter (where c.time_msc <= at_msc - near_ms and c.deal_type = 3), 0),
               'near', coalesce(jsonb_agg(jsonb_build_object('deal_ticket', c.deal_ticket, 'time_msc', c.time_msc,
                                                             'deal_type', c.deal_type, 'amount', c.amount)
                                          order by c.time_msc, c.deal_ticket)
                                filter (where c.time_msc > at_msc - near_ms), '[]'))
      into answer
      from (select d.time_server_msc as time_msc, d.deal_ticket, d.revision, d.withdrawn, d.deal_type,
                   d.profit + d.commission + d.swap + d.fee as amount
              from mt5.deals d
             where d.account_id = the_account and d.time_server_msc >= floor_msc and d.time_server_msc <= at_msc + near_ms
             order by d.time_server_msc, d.deal_ticket) c
     where not c.withdrawn
       and c.revision = (select n.revision from mt5.deals n
                          where n.account_id = the_account and n.deal_ticket = c.deal_ticket order by n.revision desc limit 1);
    return answer || jsonb_build_object('first', (
        select jsonb_build_object('deal_ticket', d.deal_ticket, 'time_msc', d.time_server_msc, 'deal_type', d.deal_type,
                                  'amount', d.profit + d.commission + d.swap + d.fee)
          from mt5.deals d
         where d.account_id = the_account and d.time_server_msc >= floor_msc and d.time_server_msc <= at_msc + near_ms
           and not d.withdrawn
           and d.revision = (select n.revision from mt5.deals n
                              where n.account_id = the_account and n.deal_ticket = d.deal_ticket order by n.revision desc limit 1)
         order by d.time_server_msc, d.deal_ticket
         limit 1));
end
$$;

-- ==== 0022_replay.sql ================================================================================================

-- Room replay: any stored day run again, in a book of its own, beside the live one.
--
-- A run's decisions, states and plans live in the tables of signal, its fills, lots and positions in those of ledger, under the
-- book replay:<run_id>; every key of these tables leads with the book already, so equal ids in two books never meet. Here are the
-- runs themselves, where they stood after each bucket, and what came of comparing two. Leases run on real time, because desk
-- time may run hundreds of times faster. A bucket is its start in ms UTC. Sources: replay.md 2, 4, 5, 11.

create schema replay;
comment on schema replay is 'Runs of stored days: records, checkpoints, comparisons.';

create type replay.run_kind as enum ('bucket', 'day', 'range', 'parity', 'catch_up');
create type replay.run_status as enum ('planned', 'running', 'paused', 'done', 'failed', 'cancelled');

create table replay.run_records (
    run_id         uuid        not null,
    name           text,
    kind           replay.run_kind not null,
    book_id        text        not null,
    date_from      date        not null,
    date_to        date        not null,
    ticker         text,
    script_version text        not null,
    session        text        not null,
    inputs         text        not null,
    start_from     text        not null,
    facts          text        not null,
    profile        text        not null,
    config         jsonb       not null,
    config_digest  text        not null,
    code_version   text        not null,
    accepted_code  text[]      not null default '{}',
    input_digest   text,
    mode           text        not null default 'full',
    status         replay.run_status not null,
    cursor         text,
    open_bucket    jsonb,
    rows           bigint      not null default 0,
    conflicts      bigint      not null default 0,
    trades_created bigint      not null default 0,
    trades_purged  bigint      not null default 0,
    gaps           jsonb,
    result_hash    text,
    state_hash     text,
    ticker_pass    boolean     not null default false,
    pass_ticker    text,
    pass_cursor    text,
    parent_run_id  uuid,
    earlier        jsonb,
    error          text,
    attempts       integer     not null default 0,
    lease_token    uuid,
    lease_until    timestamptz,
    pinned         boolean     not null default false,
    created_by     text        not null,
    created_at     timestamptz not null,
    started_at     timestamptz,
    finished_at    timestamptz,
    wall_seconds   numeric(12, 3) not null default 0,
    constraint run_records_pk primary key (run_id),
    constraint run_records_name_key unique (name),
    constraint run_records_name_form check (name ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
    constraint run_records_book check (book_id = case kind when 'catch_up' then 'live' else 'replay:' || run_id end),
    constraint run_records_dates check (date_from <= date_to and date_to - date_from < 366),
    constraint run_records_session check (session in ('regular', 'all')),
    constraint run_records_inputs check (inputs in ('all', 'as_decided')),
    constraint run_records_start check (start_from in ('empty', 'live')),
    constraint run_records_facts check (facts in ('own', 'recorded')),
    constraint run_records_mode check (mode in ('full', 'incremental')),
    constraint run_records_pass check ((pass_ticker is null) = (pass_cursor is null))
);
comment on table replay.run_records is 'One row per run: its scope, everything its outcome depends on, and how far it is.';
comment on column replay.run_records.cursor is 'Place of the last row handled: ts|ticker|received_at (us)|receipt_id.';
comment on column replay.run_records.open_bucket is 'The unfinished bucket: rows, conflicts, actions, hash so far, ids handled.';
comment on column replay.run_records.pass_cursor is 'Where the ticker that is run again on its own stands; null when none is.';
comment on column replay.run_records.earlier is 'How it ended before it was purged: {input_digest, hash, code_version}; the same again must end the same.';
comment on column replay.run_records.lease_until is 'Real time until which the holder of lease_token alone writes.';
create index run_records_by_age on replay.run_records (created_at, run_id);
create index run_records_waiting on replay.run_records (created_at, run_id) where status in ('planned', 'running');

create table replay.checkpoints (
    run_id       uuid        not null,
    bucket       bigint      not null,
    rows         integer     not null,
    conflicts    integer     not null,
    actions      integer     not null,
    input_digest text        not null,
    bucket_hash  text        not null,
    state_digest text        not null,
    result_hash  text        not null,
    states       bytea       not null,
    recorded_at  timestamptz not null,
    constraint checkpoints_pk primary key (run_id, bucket),
    constraint checkpoints_run foreign key (run_id) references replay.run_records on delete cascade,
    constraint checkpoints_bucket check (bucket % 300000 = 0),
    constraint checkpoints_states_size check (octet_length(states) <= 2097152)
);
comment on table replay.checkpoints is 'Where a run stood when a bucket that held rows was finished.';
comment on column replay.checkpoints.states is 'gzip JSON: each ticker''s state and open plan.';

create table replay.comparisons (
    comparison_id uuid        not null,
    a             text        not null,
    b             text        not null,
    identical     boolean     not null,
    totals        jsonb       not null,
    positions     jsonb       not null,
    tickers       integer     not null,
    divergent     integer     not null,
    recorded_at   timestamptz not null,
    constraint comparisons_pk primary key (comparison_id),
    constraint comparisons_identical check (not identical or divergent = 0)
);
comment on table replay.comparisons is 'What came of comparing two runs; a and b are run ids, or live.';
create index comparisons_by_age on replay.comparisons (recorded_at, comparison_id);

create table replay.divergences (
    comparison_id uuid        not null,
    ticker        text        not null,
    ts            timestamptz not null,
    receipt_id    uuid,
    field         text        not null,
    value_a       jsonb,
    value_b       jsonb,
    cause         text        not null,
    rule          text,
    detail        jsonb,
    later_count   integer     not null,
    constraint divergences_pk primary key (comparison_id, ticker),
    constraint divergences_comparison foreign key (comparison_id) references replay.comparisons on delete cascade,
    constraint divergences_cause check (cause in ('input', 'start', 'config', 'facts', 'code'))
);
comment on table replay.divergences is 'The first difference of each ticker of a comparison, and how many came after it.';

-- ---- who may do what: by book, as everywhere ----

alter table replay.run_records enable row level security;
alter table replay.run_records force row level security;
create policy run_records_read on replay.run_records for select using (true);
create policy run_records_replay on replay.run_records for all to replay_writer
    using (book_id like 'replay:%') with check (book_id like 'replay:%');
create policy run_records_catch_up on replay.run_records for all to replay_catch_up
    using (book_id = 'live') with check (book_id = 'live');

create view replay.v_runs as
    select run_id, name, kind, book_id, date_from, date_to, ticker, script_version, session, inputs, start_from, facts, profile,
           config_digest, code_version, accepted_code, input_digest, status, cursor, rows, conflicts, trades_created, trades_purged,
           gaps, result_hash, state_hash, ticker_pass, parent_run_id, error, pinned, created_by, created_at, started_at, finished_at,
           wall_seconds, case when wall_seconds > 0 then round(rows / wall_seconds, 1) end as rows_per_second
      from replay.run_records;
comment on view replay.v_runs is 'Runs as people see them.';

create view replay.v_buckets as
    select c.run_id, r.book_id, c.bucket, c.rows, c.conflicts, c.actions, c.input_digest, c.state_digest, c.result_hash, c.recorded_at
      from replay.checkpoints c join replay.run_records r using (run_id);
comment on view replay.v_buckets is 'Progress of runs, bucket by bucket.';

create view replay.v_comparison as
    select c.comparison_id, c.a, c.b, c.identical, c.totals, c.positions, c.tickers, c.divergent, c.recorded_at,
           (select jsonb_agg(to_jsonb(d) - 'comparison_id' order by d.ts, d.ticker)
              from replay.divergences d where d.comparison_id = c.comparison_id) as divergences
      from replay.comparisons c;
comment on view replay.v_comparison is 'Comparisons with the first difference of each ticker, the earliest first.';

grant usage on schema replay to replay_reader, replay_writer, replay_catch_up, tracker_reader, desk_operator;
grant usage on type replay.run_kind, replay.run_status to replay_reader, replay_writer, replay_catch_up, tracker_reader, desk_operator;
grant select on replay.v_runs, replay.v_buckets, replay.v_comparison to replay_reader, replay_writer, tracker_reader, desk_operator;
grant select, insert, update, delete on replay.run_records, replay.checkpoints, replay.comparisons, replay.divergences
    to replay_writer;
grant select, insert, update on replay.run_records to replay_catch_up;
grant select, insert on replay.checkpoints to replay_catch_up;

-- ---- what signal gives to a replay ----

alter table signal.state_snapshots add column plan jsonb;
comment on column signal.state_snapshots.plan is 'The open plan as it was before that receipt; null: none, or written before plans were kept here.';

create view signal.v_inputs as
    select receipt_id, ticker, ts, bucket_5m, received_at, payload_hash, script_version, result, decision_input
      from signal.receipts;
comment on view signal.v_inputs is 'What the rules read of each receipt, without its body.';

create view signal.v_snapshots as
    select book_id, session_date, ticker, state, plan from signal.state_snapshots;
comment on view signal.v_snapshots is 'States as they were before the first decided receipt of a session date.';

create view signal.v_states as
    select book_id, ticker, version, state, last_ts from signal.ticker_states where state is not null;
comment on view signal.v_states is 'What the rules remember of each ticker now.';

-- As before, and a page may open a plan that it closes again, or change one that it then closes: changes come before ends, ends
-- before openings. A snapshot keeps the open plan beside the state.
create or replace function signal.apply(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    written bigint := 0;
begin
    -- What is not named is not touched: a statement without rows still costs, and a replay may not write receipts at all.
    if document ? 'receipts' then
        insert into signal.receipts (receipt_id, ticker, ts, time_close, received_at, recorded_at, payload_hash,
                                     script_version, payload, decision_input, repairs, processed_at, result)
        select * from jsonb_to_recordset(document->'receipts') as r(
            receipt_id uuid, ticker text, ts timestamptz, time_close timestamptz, received_at timestamptz,
            recorded_at timestamptz, payload_hash text, script_version text, payload text, decision_input text,
            repairs text[], processed_at timestamptz, result signal.receipt_result);
    end if;

    if document ? 'seen' then
        update signal.ticker_states s set newest_ts = greatest(s.newest_ts, r.newest_ts)
          from jsonb_to_recordset(document->'seen') as r(book_id text, ticker text, newest_ts timestamptz)
         where s.book_id = r.book_id and s.ticker = r.ticker;
    end if;

    if document ? 'snapshots' then
        insert into signal.state_snapshots (book_id, session_date, ticker, state, plan)
        select * from jsonb_to_recordset(document->'snapshots') as r(
            book_id text, session_date date, ticker text, state jsonb, plan jsonb)
            on conflict on constraint state_snapshots_pk do nothing;
    end if;

    if document ? 'states' then
        update signal.ticker_states s
           set version = r.version, lane = r.lane, rule = r.rule, reason = r.reason, badges = r.badges, blocks = r.blocks,
               lane_since = r.lane_since, side = r.side, score = r.score, last_price = r.last_price,
               day_change_percent = r.day_change_percent, last_ts = r.last_ts, last_receipt_id = r.last_receipt_id,
               newest_ts = greatest(s.newest_ts, r.last_ts), state = r.state, updated_at = r.updated_at
          from jsonb_to_recordset(document->'states') as r(
                   book_id text, ticker text, version bigint, lane signal.lane, rule text, reason text, badges text[],
                   blocks jsonb, lane_since timestamptz, side text, score numeric, last_price numeric,
                   day_change_percent numeric, last_ts timestamptz, last_receipt_id uuid, state jsonb,
                   updated_at timestamptz, loaded_version bigint)
         where s.book_id = r.book_id and s.ticker = r.ticker and s.version = r.loaded_version;
        get diagnostics written = row_count;
        if written <> jsonb_array_length(document->'states') then
            raise exception 'a ticker moved on since it was read'
                using errcode = 'P0001', constraint = 'ticker_states_version';
        end if;
    end if;

    if document ? 'decisions' then
        insert into signal.decisions (book_id, ticker, ts, receipt_id, version, lane, computed_lane, rule, reason, badges,
                                      side, score, blocks, intents, account, trace, profile, config_digest, action_ids,
                                      recorded_at)
        select * from jsonb_to_recordset(document->'decisions') as r(
            book_id text, ticker text, ts timestamptz, receipt_id uuid, version bigint, lane signal.lane,
            computed_lane signal.lane, rule text, reason text, badges text[], side text, score numeric, blocks jsonb,
            intents jsonb, account jsonb, trace jsonb, profile text, config_digest text, action_ids uuid[],
            recorded_at timestamptz);
    end if;

    if document ? 'moves' then
        insert into signal.lane_history (book_id, ticker, seq, from_lane, lane, rule, reason, badges, blocks, price, score,
                                         entered_at, receipt_id, action_ids)
        select r.book_id, r.ticker,
               coalesce((select max(h.seq) from signal.lane_history h
                          where h.book_id = r.book_id and h.ticker = r.ticker), 0)
                   + row_number() over (partition by r.book_id, r.ticker order by r.entered_at),
               r.from_lane, r.lane, r.rule, r.reason, r.badges, r.blocks, r.price, r.score, r.entered_at, r.receipt_id,
               r.action_ids
          from jsonb_to_recordset(document->'moves') as r(
                   book_id text, ticker text, from_lane signal.lane, lane signal.lane, rule text, reason text,
                   badges text[], blocks jsonb, price numeric, score numeric, entered_at timestamptz, receipt_id uuid,
                   action_ids uuid[]);
    end if;

    if document ? 'plans_changed' then
        update signal.plans p
           set stop = r.stop, tiers_taken = r.tiers_taken, adds = r.adds, cycles_used = r.cycles_used
          from jsonb_to_recordset(document->'plans_changed') as r(
                   book_id text, position_id uuid, stop numeric, tiers_taken smallint, adds smallint, cycles_used text[])
         where p.book_id = r.book_id and p.position_id = r.position_id and p.closed_at is null;
    end if;

    -- A flip closes one plan and opens the next of the same ticker: clear before set.
    if document ? 'plans_closed' then
        update signal.plans p set closed_at = r.closed_at, close_reason = r.close_reason
          from jsonb_to_recordset(document->'plans_closed') as r(
                   book_id text, position_id uuid, closed_at timestamptz, close_reason text)
         where p.book_id = r.book_id and p.position_id = r.position_id and p.closed_at is null;
    end if;

    if document ? 'plans_opened' then
        insert into signal.plans (book_id, position_id, ticker, side, plan, stop, tiers_taken, adds, cycles_used, sector,
                                  opened_at, profile, config_digest, closed_at, close_reason)
        select * from jsonb_to_recordset(document->'plans_opened') as r(
            book_id text, position_id uuid, ticker text, side text, plan jsonb, stop numeric, tiers_taken smallint,
            adds smallint, cycles_used text[], sector text, opened_at timestamptz, profile text, config_digest text,
            closed_at timestamptz, close_reason text);
    end if;

    if document ? 'stops' then
        insert into signal.stop_history (book_id, position_id, ts, old_stop, new_stop, rule, receipt_id)
        select * from jsonb_to_recordset(document->'stops') as r(
            book_id text, position_id uuid, ts timestamptz, old_stop numeric, new_stop numeric, rule text,
            receipt_id uuid);
    end if;

    if document ? 'events' then
        perform outbox.enqueue(document->'events');
    end if;
    return to_jsonb(written);
end
$$;

-- Lock many tickers of a book, always in one order, and read what a page of receipts is decided from:
-- {book_id, tickers} -> {states: [[ticker, version, state]], plans: [[ticker, plan]]}, of all tickers of the book and the named
-- ones, which are made where they are new: limits count every open plan, a checkpoint keeps every state.
create function signal.load_page(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_book constant text := document->>'book_id';
begin
    insert into signal.ticker_states (book_id, ticker)
    select the_book, name from jsonb_array_elements_text(document->'tickers') as name order by name
        on conflict on constraint ticker_states_pk do nothing;
    perform from signal.ticker_states where book_id = the_book order by ticker for update;
    return jsonb_build_object(
        'states', (select jsonb_agg(jsonb_build_array(s.ticker, s.version, s.state))
                     from signal.ticker_states s where s.book_id = the_book),
        'plans', (select jsonb_agg(jsonb_build_array(p.ticker, jsonb_build_object(
                             'position_id', p.position_id, 'plan', p.plan, 'stop', p.stop::text, 'tiers_taken', p.tiers_taken,
                             'adds', p.adds, 'cycles_used', p.cycles_used, 'sector', p.sector)))
                    from signal.plans p where p.book_id = the_book and p.closed_at is null));
end
$$;
comment on function signal.load_page(jsonb) is '{book_id, tickers} -> {states, plans} of the whole book; locks its tickers.';

-- Take a replay book back to an instant, whole or one ticker of it: {book_id, from, until, ticker, snapshots_from, states:
-- [{ticker, state}], plans: [{position_id, stop, tiers_taken, adds, cycles_used}]}. What was decided from then on goes, before
-- ``until`` where that is given: then the states stay, because what follows is kept. Else the states of then are given, as the
-- open plans always are. What a row of ticker_states shows is the last decision that is left. Deleting is granted for replay books
-- alone.
create function signal.rewind(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_book   constant text := document->>'book_id';
    the_start  constant timestamptz := (document->>'from')::timestamptz;
    the_end    constant timestamptz := coalesce((document->>'until')::timestamptz, 'infinity');
    the_ticker constant text := document->>'ticker';
    deleted    bigint;
begin
    delete from signal.stop_history s using signal.plans p
     where s.book_id = the_book and s.ts >= the_start and s.ts < the_end and p.book_id = s.book_id
       and p.position_id = s.position_id and (the_ticker is null or p.ticker = the_ticker);
    delete from signal.plans
     where book_id = the_book and opened_at >= the_start and opened_at < the_end
       and (the_ticker is null or ticker = the_ticker);
    delete from signal.lane_history
     where book_id = the_book and entered_at >= the_start and entered_at < the_end
       and (the_ticker is null or ticker = the_ticker);
    delete from signal.state_snapshots
     where book_id = the_book and session_date >= (document->>'snapshots_from')::date
       and (the_ticker is null or ticker = the_ticker);
    delete from signal.decisions
     where book_id = the_book and ts >= the_start and ts < the_end and (the_ticker is null or ticker = the_ticker);
    get diagnostics deleted = row_count;
    update signal.plans p
       set stop = r.stop, tiers_taken = r.tiers_taken, adds = r.adds, cycles_used = r.cycles_used, closed_at = null,
           close_reason = null
      from jsonb_to_recordset(document->'plans') as r(
               position_id uuid, stop numeric, tiers_taken smallint, adds smallint, cycles_used text[])
     where p.book_id = the_book and p.position_id = r.position_id;
    if isfinite(the_end) then
        return to_jsonb(deleted);
    end if;
    delete from signal.ticker_states where book_id = the_book and (the_ticker is null or ticker = the_ticker);
    insert into signal.ticker_states (book_id, ticker, version, lane, rule, reason, badges, blocks, lane_since, side, score,
                                      last_price, last_ts, last_receipt_id, newest_ts, state, updated_at)
    select the_book, r.ticker, (r.state->>'version')::bigint, coalesce(d.lane, (r.state->'shown'->>'lane')::signal.lane),
           coalesce(d.rule, ''), coalesce(d.reason, r.state->'shown'->>'reason', ''), coalesce(d.badges, '{}'),
           coalesce(d.blocks, '[]'), to_timestamp((r.state->'shown'->>'since')::numeric / 1000), d.side, d.score,
           (r.state->>'last_price')::numeric, l.at, d.receipt_id, l.at, r.state, d.recorded_at
      from jsonb_to_recordset(document->'states') as r(ticker text, state jsonb)
     cross join lateral (select to_timestamp((r.state->>'last_ts')::numeric / 1000) as at) as l
      left join lateral (select * from signal.decisions d where d.book_id = the_book and d.ticker = r.ticker
                          order by d.ts desc limit 1) as d on true;
    return to_jsonb(deleted);
end
$$;
comment on function signal.rewind(jsonb) is 'Takes a replay book back to an instant; answers how many decisions went.';

-- A stretch in the middle of a replay book was decided again and what follows it was kept: count on from it.
-- {book_id, from, after, snapshots_after, shifts: [{ticker, shift}], plans: [{position_id, stop, tiers_taken, adds, cycles_used,
-- closed_at, close_reason}]}: moves from ``from`` on are numbered anew; decisions from ``after`` on, later snapshots and the state of
-- a ticker whose stretch grew by ``shift`` decisions carry on its count; plans that were open at the end stand as they came to.
create function signal.renumber(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_book  constant text := document->>'book_id';
    the_start constant timestamptz := (document->>'from')::timestamptz;
    moves     signal.lane_history[];
    shifted   signal.decisions[];
begin
    moves := array(select h from signal.lane_history h where h.book_id = the_book and h.entered_at >= the_start);
    delete from signal.lane_history where book_id = the_book and entered_at >= the_start;
    insert into signal.lane_history (book_id, ticker, seq, from_lane, lane, rule, reason, badges, blocks, price, score,
                                     entered_at, receipt_id, action_ids)
    select m.book_id, m.ticker,
           coalesce((select max(h.seq) from signal.lane_history h where h.book_id = the_book and h.ticker = m.ticker), 0)
               + row_number() over (partition by m.ticker order by m.entered_at),
           m.from_lane, m.lane, m.rule, m.reason, m.badges, m.blocks, m.price, m.score, m.entered_at, m.receipt_id, m.action_ids
      from unnest(moves) as m;
    shifted := array(select d from signal.decisions d
                       join jsonb_to_recordset(document->'shifts') as r(ticker text, shift bigint) using (ticker)
                      where d.book_id = the_book and d.ts >= (document->>'after')::timestamptz);
    delete from signal.decisions d using jsonb_to_recordset(document->'shifts') as r(ticker text, shift bigint)
     where d.book_id = the_book and d.ticker = r.ticker and d.ts >= (document->>'after')::timestamptz;
    insert into signal.decisions (book_id, ticker, ts, receipt_id, version, lane, computed_lane, rule, reason, badges, side,
                                  score, blocks, intents, account, trace, profile, config_digest, action_ids, recorded_at)
    select d.book_id, d.ticker, d.ts, d.receipt_id, d.version + r.shift, d.lane, d.computed_lane, d.rule, d.reason, d.badges,
           d.side, d.score, d.blocks, d.intents, d.account, d.trace, d.profile, d.config_digest, d.action_ids, d.recorded_at
      from unnest(shifted) as d
      join jsonb_to_recordset(document->'shifts') as r(ticker text, shift bigint) on r.ticker = d.ticker;
    update signal.state_snapshots s
       set state = jsonb_set(s.state, '{version}', to_jsonb((s.state->>'version')::bigint + r.shift))
      from jsonb_to_recordset(document->'shifts') as r(ticker text, shift bigint)
     where s.book_id = the_book and s.ticker = r.ticker and s.state is not null
       and s.session_date > (document->>'snapshots_after')::date;
    update signal.plans p
       set stop = r.stop, tiers_taken = r.tiers_taken, adds = r.adds, cycles_used = r.cycles_used, closed_at = r.closed_at,
           close_reason = r.close_reason
      from jsonb_to_recordset(document->'plans') as r(
               position_id uuid, stop numeric, tiers_taken smallint, adds smallint, cycles_used text[], closed_at timestamptz,
               close_reason text)
     where p.book_id = the_book and p.position_id = r.position_id;
    update signal.ticker_states s
       set version = s.version + r.shift, state = jsonb_set(s.state, '{version}', to_jsonb(s.version + r.shift))
      from jsonb_to_recordset(document->'shifts') as r(ticker text, shift bigint)
     where s.book_id = the_book and s.ticker = r.ticker and s.state is not null;
    return to_jsonb(cardinality(moves));
end
$$;
comment on function signal.renumber(jsonb) is 'Counts on from a stretch of a replay book that was decided again.';

-- Everything a replay book has in this room: {book_id} -> decisions deleted.
create function signal.forget_book(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_book constant text := document->>'book_id';
    deleted  bigint;
begin
    delete from signal.stop_history where book_id = the_book;
    delete from signal.plans where book_id = the_book;
    delete from signal.lane_history where book_id = the_book;
    delete from signal.state_snapshots where book_id = the_book;
    delete from signal.ticker_states where book_id = the_book;
    delete from signal.decisions where book_id = the_book;
    get diagnostics deleted = row_count;
    return to_jsonb(deleted);
end
$$;
comment on function signal.forget_book(jsonb) is '{book_id} -> decisions deleted; deleting is granted for replay books alone.';

grant select on signal.v_inputs, signal.v_snapshots, signal.v_states to signal_reader, replay_writer, desk_operator;
grant select on signal.v_receipts, signal.v_decisions, signal.v_plans, signal.v_coverage, signal.v_stop_moves, signal.v_lane_moves,
                signal.v_quarantine, signal.v_freshness
    to replay_writer;
grant execute on function signal.load_page(jsonb) to replay_writer, signal_writer;
grant update on signal.state_snapshots to replay_writer;
grant execute on function signal.rewind(jsonb), signal.renumber(jsonb), signal.forget_book(jsonb) to replay_writer;

-- ---- what ledger gives to a replay ----

-- A run that is deleted takes its book along; emptied first, as when it is cleared.
create function ledger.drop_replay_book(book_id text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    dropped constant text := book_id;
    cleared jsonb;
begin
    cleared := ledger.clear_replay_book(dropped);
    delete from ledger.books b where b.book_id = dropped;
    return cleared;
end
$$;
comment on function ledger.drop_replay_book(text) is 'Removes a replay book and everything in it; raises for any other.';
revoke all on function ledger.drop_replay_book(text) from public;
grant execute on function ledger.drop_replay_book(text) to replay_writer;

-- Catching up after an outage decides stored receipts in the live book (replay.md 2.3); whoever may, is a live writer.
grant signal_writer, outbox_writer to replay_catch_up;

-- ==== 0023_replay_comparisons.sql ====================================================================================

-- Room replay: what a comparison and a gap report read of signal, and the earliest difference of a comparison first.
--
-- A ticker whose outcomes are equal and of which only a figure differs comes after those whose outcomes differ: where two runs
-- part is the first line of the list.

grant select on signal.v_freshness, signal.v_why to replay_writer;

create or replace view replay.v_comparison as
    select c.comparison_id, c.a, c.b, c.identical, c.totals, c.positions, c.tickers, c.divergent, c.recorded_at,
           (select jsonb_agg(to_jsonb(d) - 'comparison_id'
                             order by coalesce(d.detail ? 'figuresOnly', false), d.ts, d.ticker)
              from replay.divergences d where d.comparison_id = c.comparison_id) as divergences
      from replay.comparisons c;
comment on view replay.v_comparison is 'Comparisons with the first difference of each ticker: where the runs part comes first.';

create index comparisons_by_left on replay.comparisons (a, recorded_at desc);
create index comparisons_by_right on replay.comparisons (b, recorded_at desc);

-- ==== 0024_snapshot_views.sql ========================================================================================

-- Room snapshot, the figures: what a trading day comes to, computed here from the ledger's views and nowhere else.
--
-- Views have no clock. The work list (metrics.snapshot_days) says which days there are figures for and carries every calendar fact
-- and "now" of each; so the cost of a refresh follows the days in it. What is older than a day's beginning enters as sums that are
-- carried along (metrics.settled_*), a handful of new actions at a time. A refresh has three layers: what is carried, six
-- inner views of the days' rows (metrics.day_*), and the six that are read (utils_statistics).

create schema metrics;
create schema utils_statistics;
comment on schema metrics is 'Trading days as published numbers: work list, catalog of KPIs, what is carried from older days.';
comment on schema utils_statistics is 'The materialized views that are published, and their refresh.';

-- who publishes reads the views and keeps the work list; who receives has other rights
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'snapshot_source') then
        create role snapshot_source nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;
end
$$;

-- ---- what ledger gives ----

-- A bucket's marks follow each other as the buckets do: the last one before an instant is found by the key.
create or replace view ledger.v_marks as
    select m.book_id, b.tenant_id, m.instrument as instrument_id, m.marked_at as as_of, m.recorded_at,
           case when s.scale is null then m.price else round(m.price * s.scale, 10) end as price,
           case when s.scale is null then m.bid else round(m.bid * s.scale, 10) end as bid,
           case when s.scale is null then m.ask else round(m.ask * s.scale, 10) end as ask,
           m.source, m.bucket_at
      from ledger.marks m
      join ledger.books b using (book_id)
      left join lateral (
          select exp(sum(ln(j.ratio_den::numeric(40,20) / j.ratio_num))) as scale
            from (select distinct on (adjustment_id) * from ledger.adjustments
                   where book_id = m.book_id and instrument = m.instrument
                   order by adjustment_id, version desc) as j
           where not j.is_void and j.effective_at > m.marked_at) as s on true;

create view ledger.v_action_seals as
    select book_id, seq, row_hash from ledger.execution_actions;
comment on view ledger.v_action_seals is 'Where each row of history stands in its book''s chain: an equal seal says that all before it is the same.';
grant select on ledger.v_action_seals to ledger_reader, snapshot_reader;

-- ---- tables ----

create table metrics.snapshot_books (
    book_id text not null,
    constraint snapshot_books_pk primary key (book_id),
    constraint snapshot_books_no_replay check (book_id not like 'replay:%')
);
comment on table metrics.snapshot_books is 'The books whose figures are published, together.';
insert into metrics.snapshot_books (book_id) values ('live');

create table metrics.snapshot_days (
    report_date    date        not null,
    window_start   timestamptz not null,
    window_end     timestamptz not null,
    session_open   timestamptz not null,
    session_close  timestamptz not null,
    as_of          timestamptz not null,
    valuation_at   timestamptz not null,
    previous_date  date        not null,
    previous_close timestamptz not null,
    run_id         text,
    added_at       timestamptz not null default clock_timestamp(),
    constraint snapshot_days_pk primary key (report_date),
    constraint snapshot_days_order check (
        previous_date < report_date and previous_close <= window_start and window_start < session_open
        and session_open < session_close and session_close <= window_end and window_start <= as_of and as_of <= window_end
        and valuation_at = least(as_of, session_close))
);
comment on table metrics.snapshot_days is 'The work list: the days the views hold rows for, with every calendar fact and "now" they need.';
comment on column metrics.snapshot_days.run_id is 'The backfill that added the day; null for the current day and the last five sessions.';
comment on column metrics.snapshot_days.added_at is 'Real time: the days of a backfill that died go after a quarter of an hour.';

create table metrics.equity_days (
    report_date    date    not null,
    equity         numeric not null,
    daily_return   numeric,
    content_sha256 text    not null,
    constraint equity_days_pk primary key (report_date)
);
comment on table metrics.equity_days is 'Equity (currency) and daily return (percent points) of each day as it was last published at stage final.';

create table metrics.kpi_catalog (
    kpi_name     text     not null,
    sort_order   integer  not null,
    kpi_version  integer  not null default 1,
    kind         text     not null,
    unit         text,
    digits       smallint not null,
    has_series   boolean  not null,
    has_extremes boolean  not null,
    constraint kpi_catalog_pk primary key (kpi_name),
    constraint kpi_catalog_order unique (sort_order),
    constraint kpi_catalog_kind check (kind in ('number', 'currency', 'percent', 'duration', 'ratio'))
);
comment on table metrics.kpi_catalog is 'The KPIs of a day: all of them have a row every day, with a number or with the reason why there is none.';
comment on column metrics.kpi_catalog.digits is 'Decimals of the number, rounded half to even.';
insert into metrics.kpi_catalog (sort_order, kpi_name, kind, unit, digits, has_series, has_extremes) values
    (10, 'Daily PnL', 'currency', 'USD', 2, true, true),
    (20, 'Realized PnL', 'currency', 'USD', 2, true, true),
    (30, 'Unrealized PnL', 'currency', 'USD', 2, true, true),
    (40, 'Total PnL', 'currency', 'USD', 2, true, true),
    (50, 'Equity', 'currency', 'USD', 2, true, false),
    (60, 'Daily return', 'percent', '%', 4, true, true),
    (70, 'Win rate', 'percent', '%', 4, true, false),
    (80, 'Profit factor', 'ratio', null, 4, true, false),
    (90, 'Expectancy', 'currency', 'USD', 2, false, false),
    (100, 'Avg win', 'currency', 'USD', 2, false, true),
    (110, 'Avg loss', 'currency', 'USD', 2, false, true),
    (120, 'Entries opened', 'number', null, 0, false, false),
    (130, 'Add entries', 'number', null, 0, false, false),
    (140, 'Trims taken', 'number', null, 0, false, false),
    (150, 'Exits closed', 'number', null, 0, false, false),
    (160, 'Open positions', 'number', null, 0, true, false),
    (170, 'Gross exposure', 'currency', 'USD', 2, true, true),
    (180, 'Net exposure', 'currency', 'USD', 2, true, true),
    (190, 'Traded value', 'currency', 'USD', 2, true, true),
    (200, 'Fees paid', 'currency', 'USD', 2, true, true),
    (210, 'Avg hold time', 'duration', 's', 0, false, true),
    (220, 'Max drawdown', 'percent', '%', 4, true, false),
    (230, 'Sharpe ratio', 'ratio', null, 4, false, false),
    (240, 'Liquidity drag', 'currency', 'USD', 2, true, true),
    (250, 'Oldest mark age', 'duration', 's', 0, false, false);

-- ---- words ----

-- Half to even. Quotients have 18 decimals and more, so a half that they miss by their own rounding is taken as one.
create function metrics.round_even(value numeric, digits integer) returns numeric
language sql immutable strict parallel safe
return case
    when abs(round(value, 16) - trunc(round(value, 16), digits)) * 10::numeric ^ (digits + 1) = 5
         and mod(trunc(round(value, 16), digits) * 10::numeric ^ digits, 2) = 0
    then trunc(round(value, 16), digits)
    else round(round(value, 16), digits) end;

-- The display text of a rounded number: $1,234.56 · -$5.00 · 72.3% · 1.85 · 1,234 · 1h 03m · 4m 05s · 12s · — where there is none.
create function metrics.kpi_text(value numeric, kind text) returns text
language sql immutable parallel safe
return case
    when value is null then '—'
    when kind = 'currency' then
        case when value < 0 then '-$' else '$' end || to_char(abs(value), 'FM999,999,999,999,990.00')
    when kind = 'percent' then to_char(metrics.round_even(value, 1), 'FM999,999,999,999,990.0') || '%'
    when kind = 'ratio' then to_char(metrics.round_even(value, 2), 'FM999,999,999,999,990.00')
    when kind = 'duration' and value >= 3600 then
        div(value, 3600)::text || 'h ' || lpad(div(mod(value, 3600), 60)::text, 2, '0') || 'm'
    when kind = 'duration' and value >= 60 then div(value, 60)::text || 'm ' || lpad(mod(value, 60)::bigint::text, 2, '0') || 's'
    when kind = 'duration' then value::bigint::text || 's'
    else to_char(value, 'FM999,999,999,999,990') end;

-- The last 13 hex digits of a position's id as an integer: 52 bits, which every reader of JSON holds exactly.
create function metrics.trade_id(position_id uuid) returns bigint
language sql immutable strict parallel safe
return ('x' || right(replace(position_id::text, '-', ''), 13))::bit(52)::bigint;

-- The number of the minute end, counted from the open, at which something of this instant can be seen first; at least 1.
create function metrics.minute_of(happened timestamptz, session_open timestamptz) returns integer
language sql immutable strict parallel safe
return greatest(1, ceil(extract(epoch from happened - session_open) / 60))::integer;

-- ---- what is carried: positions that were closed before ----

create table metrics.settled_books (
    book_id  text   not null,
    seq      bigint not null,
    row_hash bytea  not null,
    constraint settled_books_pk primary key (book_id)
);
comment on table metrics.settled_books is 'How far each book''s history is carried, by the seal of its last row: another seal there and all is counted anew.';

create table metrics.settled_trades (
    book_id       text        not null,
    position_id   uuid        not null,
    trade_id      bigint      not null,
    symbol        text collate "C" not null,
    contract_name text collate "C" not null,
    realized_pnl  numeric,
    closed_at     timestamptz not null,
    constraint settled_trades_pk primary key (book_id, position_id)
);
comment on table metrics.settled_trades is 'Closed positions in their book''s currency, in the orders in which the best, the worst and the latest are found.';
create index settled_trades_best on metrics.settled_trades (book_id, realized_pnl desc, symbol, contract_name, trade_id)
    where realized_pnl is not null;
create index settled_trades_worst on metrics.settled_trades (book_id, realized_pnl, symbol, contract_name, trade_id)
    where realized_pnl is not null;
create index settled_trades_by_closed on metrics.settled_trades (book_id, closed_at);

create table metrics.settled_days (
    book_id  text    not null,
    day      date    not null,
    trades   bigint  not null,
    unknown  bigint  not null,
    realized numeric not null,
    constraint settled_days_pk primary key (book_id, day)
);
comment on table metrics.settled_days is 'Sums of settled_trades by the UTC date of their closing; unknown: how many realized nobody knows what.';

create view metrics.counted_books as
    select b.book_id, b.base_currency, b.start_cash, b.seq, b.base_currency = 'USD' as is_counted
      from metrics.snapshot_books s join ledger.v_books b on b.book_id = s.book_id;

-- Take some positions of a book out of what is settled and put in those that are closed now.
create function metrics.settle(book text, currency_of_book text, touched uuid[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    with gone as (
        delete from metrics.settled_trades t where t.book_id = book and t.position_id = any(touched)
        returning (t.closed_at at time zone 'UTC')::date as day, t.realized_pnl
    ), sums as (
        select day, count(*) as trades, count(*) filter (where realized_pnl is null) as unknown,
               coalesce(sum(realized_pnl), 0) as realized
          from gone group by day)
    update metrics.settled_days d
       set trades = d.trades - s.trades, unknown = d.unknown - s.unknown, realized = d.realized - s.realized
      from sums s where d.book_id = book and d.day = s.day;

    with come as (
        insert into metrics.settled_trades (book_id, position_id, trade_id, symbol, contract_name, realized_pnl, closed_at)
        select p.book_id, p.position_id, metrics.trade_id(p.position_id), p.symbol, p.contract_name, p.realized_pnl, p.closed_at
          from unnest(touched) as one
         cross join lateral (select * from ledger.v_positions p where p.book_id = book and p.position_id = one offset 0) as p
         where p.closed_at is not null and p.currency = currency_of_book
        returning (closed_at at time zone 'UTC')::date as day, realized_pnl)
    insert into metrics.settled_days as d (book_id, day, trades, unknown, realized)
    select book, day, count(*), count(*) filter (where realized_pnl is null), coalesce(sum(realized_pnl), 0)
      from come group by day
    on conflict on constraint settled_days_pk do update
       set trades = d.trades + excluded.trades, unknown = d.unknown + excluded.unknown, realized = d.realized + excluded.realized;
end
$$;

-- Carry every book on to the end of its history: positions that a new row touches, also those its former version stood on.
create function metrics.carry() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    one     record;
    newest  record;
    carried bigint;
    touched uuid[];
begin
    for one in select b.book_id, b.base_currency from metrics.counted_books b where b.is_counted loop
        select s.seq, s.row_hash into newest
          from ledger.v_action_seals s where s.book_id = one.book_id order by s.seq desc limit 1;
        select k.seq into carried
          from metrics.settled_books k
          join ledger.v_action_seals s on s.book_id = k.book_id and s.seq = k.seq and s.row_hash = k.row_hash
         where k.book_id = one.book_id;
        continue when carried = newest.seq;
        if carried is null then
            delete from metrics.settled_books k where k.book_id = one.book_id;
            delete from metrics.settled_trades t where t.book_id = one.book_id;
            delete from metrics.settled_days d where d.book_id = one.book_id;
            touched := array(select p.position_id from ledger.v_positions p
                              where p.book_id = one.book_id and p.status = 'CLOSED');
        else
            touched := array(
                select distinct unnest(array[a.position_id, old.position_id])
                  from ledger.v_action_history a
                  left join lateral (
                      select o.position_id from ledger.v_action_history o
                       where o.book_id = a.book_id and o.action_id = a.action_id and o.version = a.version - 1 offset 0) as old on true
                 where a.book_id = one.book_id and a.seq > carried);
        end if;
        perform metrics.settle(one.book_id, one.base_currency, touched);
        if newest.seq is not null then
            insert into metrics.settled_books (book_id, seq, row_hash) values (one.book_id, newest.seq, newest.row_hash)
            on conflict on constraint settled_books_pk do update set seq = excluded.seq, row_hash = excluded.row_hash;
        end if;
    end loop;
end
$$;

-- ---- inner views: the rows of the days ----

-- last_at: the last instant that counts, for the window's end belongs to the next day. minutes: points a series may have by now.
create view metrics.work_days as
    select d.report_date, d.window_start, d.session_open, d.session_close, d.as_of, d.valuation_at, d.previous_close,
           least(d.as_of, d.window_end - interval '1 microsecond') as last_at,
           greatest(0, floor(extract(epoch from d.valuation_at - d.session_open) / 60))::integer as minutes,
           case when d.as_of >= d.session_close then 'final' when d.as_of >= d.session_open then 'intraday'
                else 'premarket' end as stage
      from metrics.snapshot_days d;

-- Positions that were open at some moment between the previous close and as_of. Each half comes by its own index.
create materialized view metrics.day_positions as
    select d.report_date, b.book_id, p.position_id, metrics.trade_id(p.position_id) as trade_id, p.instrument_id, p.symbol,
           p.contract_name, case p.direction when 'LONG' then 1 else -1 end as sign, p.multiplier, p.opened_at,
           case when p.closed_at <= d.last_at then p.closed_at end as closed_at,
           case when p.closed_at <= d.last_at then metrics.minute_of(p.closed_at, d.session_open) end as closed_minute,
           b.is_counted and p.currency = b.base_currency as is_counted
      from metrics.work_days d
     cross join metrics.counted_books b
     cross join lateral (
           (select * from ledger.v_positions q
             where q.book_id = b.book_id and q.status = 'OPEN' and q.opened_at <= d.last_at
             order by q.instrument_id, q.direction offset 0)
           union all
           (select * from ledger.v_positions q
             where q.book_id = b.book_id and q.status = 'CLOSED' and q.closed_at > d.previous_close and q.opened_at <= d.last_at
             order by q.closed_at, q.opened_at offset 0)) as p;
comment on materialized view metrics.day_positions is 'Per day the positions that were open at some moment from the previous close on.';

-- Their lots and closings up to last_at, as signed moves: sums of them up to an instant are what was held then. stretch: 0 up to
-- the previous close, 1 before the window, 2 within it. of_unknown: quantity whose cost nobody knows.
create materialized view metrics.day_moves as
    select p.report_date, p.book_id, p.position_id, m.happened_at, metrics.minute_of(m.happened_at, d.session_open) as minute,
           case when m.happened_at <= d.previous_close then 0 when m.happened_at < d.window_start then 1 else 2 end as stretch,
           m.is_opening, m.quantity, coalesce(m.basis, 0) as basis, case when m.basis is null then m.quantity else 0 end as of_unknown,
           m.quantity * m.price as notional, m.realized_pnl
      from metrics.day_positions p
      join metrics.work_days d on d.report_date = p.report_date
     cross join lateral (
           (select true as is_opening, l.opened_at as happened_at, l.quantity, l.cost_basis as basis, l.price,
                   null::numeric as realized_pnl
              from ledger.v_lots l
             where l.book_id = p.book_id and l.position_id = p.position_id and l.opened_at <= d.last_at
             order by l.opened_at offset 0)
           union all
           (select false, c.executed_at, -c.quantity, -(l.cost_basis * c.quantity / l.quantity), l.price, c.realized_pnl
              from (select * from ledger.v_closings c
                     where c.book_id = p.book_id and c.position_id = p.position_id and c.executed_at <= d.last_at
                     order by c.executed_at offset 0) as c
             cross join lateral (select * from ledger.v_lots l where l.book_id = p.book_id and l.lot_id = c.lot_id offset 0) as l
            offset 0)) as m
     where p.is_counted;
comment on materialized view metrics.day_moves is 'Openings and closings of the days'' positions as signed moves of quantity, basis and notional.';

-- The actions of each window.
create materialized view metrics.day_actions as
    select d.report_date, a.book_id, a.position_id, a.action_type, a.executed_at, a.recorded_at,
           metrics.minute_of(a.executed_at, d.session_open) as minute, abs(a.value) as value, a.fees,
           b.is_counted and a.currency = b.base_currency as is_counted
      from metrics.work_days d
     cross join metrics.counted_books b
     cross join lateral (
           select * from ledger.v_actions a
            where a.book_id = b.book_id and a.executed_at >= d.window_start and a.executed_at <= d.last_at
            order by a.executed_at desc, a.action_id offset 0) as a;
comment on materialized view metrics.day_actions is 'Per day the current actions of its window up to as_of.';

-- One row per position and day: what it held at last_at and at the previous close, what it realized, and its marks.
create materialized view metrics.day_trades as
    select p.report_date, p.book_id, p.position_id, p.trade_id, p.instrument_id, p.symbol, p.contract_name, p.sign, p.multiplier,
           p.opened_at, p.closed_at, p.closed_minute, p.closed_at is null as is_open,
           p.closed_at is not null and p.closed_at >= d.window_start as is_closed_today,
           case when p.closed_at is null then m.quantity else 0 end as quantity,
           case when p.closed_at is not null then 0 when m.of_unknown = 0 then m.basis end as basis,
           case when p.closed_at is null then m.notional / nullif(m.quantity, 0) end as vwap,
           coalesce(m.quantity_before, 0) as quantity_before,
           case when coalesce(m.unknown_before, 0) = 0 then coalesce(m.basis_before, 0) end as basis_before,
           case when m.unknown_added = 0 then m.basis_added end as basis_added,
           case when m.lacking = 0 then m.realized end as realized,
           case when m.lacking_before = 0 then m.realized_before end as realized_before,
           case when m.lacking_since = 0 then m.realized_since end as realized_since,
           case when m.lacking_today = 0 then m.realized_today end as realized_today,
           m.gains_today, m.losses_today, m.closings_today, m.lacking_today,
           k.price as mark, k.bid, k.ask, k.as_of as mark_at, k.recorded_at as mark_recorded_at,
           e.price as mark_before, e.recorded_at as mark_before_recorded_at
      from metrics.day_positions p
      join metrics.work_days d on d.report_date = p.report_date
      join (select report_date, book_id, position_id, sum(quantity) as quantity, sum(basis) as basis, sum(of_unknown) as of_unknown,
                   sum(notional) as notional,
                   sum(quantity) filter (where stretch = 0) as quantity_before, sum(basis) filter (where stretch = 0) as basis_before,
                   sum(of_unknown) filter (where stretch = 0) as unknown_before,
                   coalesce(sum(basis) filter (where stretch > 0 and is_opening), 0) as basis_added,
                   coalesce(sum(of_unknown) filter (where stretch > 0 and is_opening), 0) as unknown_added,
                   coalesce(sum(realized_pnl), 0) as realized,
                   count(*) filter (where not is_opening and realized_pnl is null) as lacking,
                   coalesce(sum(realized_pnl) filter (where stretch = 0), 0) as realized_before,
                   count(*) filter (where not is_opening and realized_pnl is null and stretch = 0) as lacking_before,
                   coalesce(sum(realized_pnl) filter (where stretch > 0), 0) as realized_since,
                   count(*) filter (where not is_opening and realized_pnl is null and stretch > 0) as lacking_since,
                   coalesce(sum(realized_pnl) filter (where stretch = 2), 0) as realized_today,
                   count(*) filter (where not is_opening and realized_pnl is null and stretch = 2) as lacking_today,
                   coalesce(sum(realized_pnl) filter (where stretch = 2 and realized_pnl > 0), 0) as gains_today,
                   coalesce(sum(realized_pnl) filter (where stretch = 2 and realized_pnl < 0), 0) as losses_today,
                   count(*) filter (where not is_opening and stretch = 2) as closings_today
              from metrics.day_moves group by report_date, book_id, position_id) as m
        on m.report_date = p.report_date and m.book_id = p.book_id and m.position_id = p.position_id
      left join lateral (
           select v.price, v.bid, v.ask, v.as_of, v.recorded_at from ledger.v_marks v
            where v.book_id = p.book_id and v.instrument_id = p.instrument_id and v.bucket_at < d.valuation_at
              and v.as_of < d.valuation_at
            order by v.bucket_at desc limit 1) as k on p.closed_at is null
      left join lateral (
           select v.price, v.recorded_at from ledger.v_marks v
            where v.book_id = p.book_id and v.instrument_id = p.instrument_id and v.bucket_at < d.previous_close
              and v.as_of < d.previous_close
            order by v.bucket_at desc limit 1) as e on p.opened_at <= d.previous_close
     where p.is_counted;
comment on materialized view metrics.day_trades is 'One row per position and day: what it held, what it realized, how it was marked.';

-- Stretches of minutes in which a position's quantity and basis stay. A closed position ends there, whatever a split's rounding left.
create materialized view metrics.day_holdings as
    select x.report_date, x.book_id, x.position_id, x.instrument_id, x.sign, x.multiplier, x.from_minute, x.to_minute, x.quantity,
           x.basis, x.of_unknown
      from (select m.report_date, m.book_id, m.position_id, p.instrument_id, p.sign, p.multiplier, m.minute as from_minute,
                   lead(m.minute, 1, d.minutes + 1) over w as to_minute, sum(m.quantity) over w as quantity,
                   sum(m.basis) over w as basis, sum(m.of_unknown) over w as of_unknown, p.closed_minute
              from (select report_date, book_id, position_id, minute, sum(quantity) as quantity, sum(basis) as basis,
                           sum(of_unknown) as of_unknown
                      from metrics.day_moves group by report_date, book_id, position_id, minute) as m
              join metrics.work_days d on d.report_date = m.report_date and m.minute <= d.minutes
              join metrics.day_positions p
                on p.report_date = m.report_date and p.book_id = m.book_id and p.position_id = m.position_id
            window w as (partition by m.report_date, m.book_id, m.position_id order by m.minute)) as x
     where x.quantity > 0 and (x.closed_minute is null or x.from_minute < x.closed_minute);
comment on materialized view metrics.day_holdings is 'Per day and position the stretches of session minutes in which it did not change.';

-- Stretches of minutes for which one mark counts: from the end of its five-minute bucket until that of the next one, cut where it
-- gets older than fifteen minutes; the first stretch begins with the session, without a price where there was none yet. Marks of
-- instruments that were split are shown in today's units, which costs more; the others are read as they lie.
create materialized view metrics.day_marks as
    with instruments as materialized (
        select distinct p.report_date, p.book_id, p.instrument_id, d.session_open, d.valuation_at, d.minutes,
               exists (select from ledger.v_split_history j where j.book_id = p.book_id and j.instrument = p.instrument_id) as is_split
          from metrics.day_positions p
          join metrics.work_days d on d.report_date = p.report_date and d.minutes > 0
         where p.is_counted
    ), seen as (
        select i.report_date, i.book_id, i.instrument_id, i.session_open, i.minutes, 1 as minute, m.price, m.bid, m.ask, m.as_of
          from instruments i
          left join lateral (
               select v.price, v.bid, v.ask, v.as_of from ledger.v_marks v
                where v.book_id = i.book_id and v.instrument_id = i.instrument_id
                  and v.bucket_at <= i.session_open - interval '4 minutes'
                order by v.bucket_at desc limit 1) as m on true
        union all
        select i.report_date, i.book_id, i.instrument_id, i.session_open, i.minutes,
               metrics.minute_of(m.bucket_at + interval '5 minutes', i.session_open), m.price, m.bid, m.ask, m.as_of
          from instruments i
         cross join lateral (
               (select h.bucket_at, h.price, h.bid, h.ask, h.marked_at as as_of from ledger.v_mark_history h
                 where not i.is_split and h.book_id = i.book_id and h.instrument_id = i.instrument_id
                   and h.bucket_at > i.session_open - interval '4 minutes' and h.bucket_at <= i.valuation_at - interval '5 minutes'
                 order by h.bucket_at offset 0)
               union all
               (select v.bucket_at, v.price, v.bid, v.ask, v.as_of from ledger.v_marks v
                 where i.is_split and v.book_id = i.book_id and v.instrument_id = i.instrument_id
                   and v.bucket_at > i.session_open - interval '4 minutes' and v.bucket_at <= i.valuation_at - interval '5 minutes'
                 order by v.bucket_at offset 0)) as m
    ), follow as (
        select s.*, lead(minute, 1, minutes + 1) over (partition by report_date, book_id, instrument_id order by minute) as next_minute,
               floor(extract(epoch from as_of - session_open) / 60 + 15)::integer + 1 as stale_minute
          from seen s
    )
    select f.report_date, f.book_id, f.instrument_id, f.price, f.bid, f.ask, v.from_minute, v.to_minute, v.is_stale
      from follow f
     cross join lateral (values
           (f.minute, least(f.next_minute, f.stale_minute), false),
           (case when f.as_of is not null then greatest(f.minute, f.stale_minute) end, f.next_minute, true)
           ) as v(from_minute, to_minute, is_stale)
     where v.from_minute < v.to_minute;
comment on materialized view metrics.day_marks is 'Per day and instrument the stretches of session minutes for which one mark counts.';

-- The figures of each trade; NULL is what cannot be known. stake: what the day's result is measured by, its worth at the previous
-- close and the cost of what was opened since.
create view metrics.trade_figures as
    select t.*, t.realized + t.unrealized as individual_pnl, t.realized_since + t.unrealized - t.unrealized_before as daily_pnl
      from (select t.*, w.worth, w.mid,
                   case when t.is_open then t.sign * (w.worth - t.basis) else 0 end as unrealized,
                   case when t.quantity_before > 0 then t.sign * (w.worth_before - t.basis_before) else 0 end as unrealized_before,
                   case when t.quantity_before > 0 then abs(w.worth_before) else 0 end + t.basis_added as stake,
                   case when t.sign > 0 then w.mid - t.bid else t.ask - w.mid end * t.quantity * t.multiplier as drag
              from metrics.day_trades t
             cross join lateral (
                   select t.mark * t.quantity * t.multiplier as worth, (t.bid + t.ask) / 2 as mid,
                          t.mark_before * t.quantity_before * t.multiplier as worth_before) as w) as t;

-- Each KPI's quantity for one trade of the day, where it has one.
create view metrics.trade_metrics as
    select t.report_date, t.book_id, t.position_id, k.kpi_name, k.metric
      from metrics.trade_figures t
      left join (select report_date, book_id, position_id, count(value) as values_known, count(fees) as fees_known, count(*) as actions,
                        sum(value) as value, sum(fees) as fees
                   from metrics.day_actions group by report_date, book_id, position_id) as a
        on a.report_date = t.report_date and a.book_id = t.book_id and a.position_id = t.position_id
     cross join lateral (values
           ('Daily PnL', t.daily_pnl),
           ('Realized PnL', case when t.closings_today > 0 then t.realized_today end),
           ('Unrealized PnL', case when t.is_open then t.unrealized end),
           ('Total PnL', t.individual_pnl),
           ('Daily return', 100 * t.daily_pnl / nullif(t.stake, 0)),
           ('Avg win', case when t.is_closed_today and t.realized > 0 then t.realized end),
           ('Avg loss', case when t.is_closed_today and t.realized < 0 then t.realized end),
           ('Gross exposure', case when t.is_open then abs(t.worth) end),
           ('Net exposure', case when t.is_open then t.sign * t.worth end),
           ('Traded value', case when a.values_known = a.actions then a.value end),
           ('Fees paid', case when a.fees_known = a.actions then a.fees end),
           ('Avg hold time', case when t.is_closed_today then extract(epoch from t.closed_at - t.opened_at) end),
           ('Liquidity drag', case when t.is_open then t.drag end)) as k(kpi_name, metric)
     where k.metric is not null;

-- What each day's figures start from: start cash, and what was realized by positions that were closed by the previous close.
create view metrics.day_starts as
    select d.report_date, coalesce(sum(b.start_cash), 0) as start_cash, coalesce(sum(s.realized), 0) as realized,
           coalesce(sum(s.unknown), 0) as unknown
      from metrics.work_days d
      left join metrics.counted_books b on b.is_counted
      left join lateral (
           select sum(x.realized) as realized, sum(x.unknown) as unknown
             from (select s.realized, s.unknown from metrics.settled_days s
                    where s.book_id = b.book_id and s.day < (d.previous_close at time zone 'UTC')::date
                   union all
                   select coalesce(t.realized_pnl, 0), (t.realized_pnl is null)::integer from metrics.settled_trades t
                    where t.book_id = b.book_id and t.closed_at >= date_trunc('day', d.previous_close, 'UTC')
                      and t.closed_at <= d.previous_close) as x) as s on true
     group by d.report_date;

-- Sums over the day's trades and actions. lacks_<what>: how many parts of a sum nobody knows.
create view metrics.day_totals as
    select d.report_date, d.valuation_at, s.start_cash, t.*, a.*,
           s.realized + coalesce(t.realized_sum, 0) as realized_all, s.unknown + coalesce(t.lacks_realized, 0) as unknown_all,
           s.realized + coalesce(t.realized_before_sum, 0) as realized_until_close,
           s.unknown + coalesce(t.lacks_realized_before, 0) as unknown_until_close
      from metrics.work_days d
      join metrics.day_starts s on s.report_date = d.report_date
     cross join lateral (
           select count(*) filter (where is_open) as open_positions,
                  coalesce(sum(unrealized), 0) as unrealized,
                  count(*) filter (where is_open and mark is null) as lacks_mark,
                  count(*) filter (where is_open and mark is not null and unrealized is null) as lacks_cost,
                  count(*) filter (where is_open and multiplier is null) as lacks_size,
                  coalesce(sum(unrealized_before), 0) as unrealized_before,
                  count(*) filter (where quantity_before > 0 and mark_before is null) as lacks_mark_before,
                  count(*) filter (where mark_before is not null and unrealized_before is null) as lacks_cost_before,
                  sum(realized) as realized_sum, count(*) filter (where realized is null) as lacks_realized,
                  sum(realized_before) as realized_before_sum, count(*) filter (where realized_before is null) as lacks_realized_before,
                  coalesce(sum(realized_today), 0) as realized_today, coalesce(sum(lacking_today), 0) as lacks_realized_today,
                  coalesce(sum(gains_today), 0) as gains, coalesce(sum(losses_today), 0) as losses,
                  coalesce(sum(closings_today), 0)::bigint as closings,
                  coalesce(sum(abs(worth)), 0) as gross, coalesce(sum(sign * worth), 0) as net,
                  coalesce(sum(drag) filter (where is_open), 0) as drag,
                  count(*) filter (where is_open and multiplier is not null and drag is null) as lacks_quote,
                  min(mark_at) filter (where is_open) as oldest_mark_at,
                  count(*) filter (where is_closed_today) as closed,
                  count(*) filter (where is_closed_today and realized is null) as lacks_result,
                  count(*) filter (where is_closed_today and realized > 0) as wins,
                  count(*) filter (where is_closed_today and realized < 0) as defeats,
                  sum(realized) filter (where is_closed_today and realized > 0) as won,
                  sum(realized) filter (where is_closed_today and realized < 0) as lost,
                  sum(realized) filter (where is_closed_today) as result,
                  avg(extract(epoch from closed_at - opened_at)) filter (where is_closed_today) as hold_seconds
             from metrics.trade_figures f where f.report_date = d.report_date) as t
     cross join lateral (
           select count(*) as actions,
                  count(*) filter (where action_type = 'ENTRY') as entries, count(*) filter (where action_type = 'ADD_ENTRY') as adds,
                  count(*) filter (where action_type = 'TRIM') as trims, count(*) filter (where action_type = 'EXIT') as exits,
                  coalesce(sum(value), 0) as traded, count(*) filter (where value is null) as lacks_value,
                  coalesce(sum(fees), 0) as fees, count(*) filter (where fees is null) as lacks_fees
             from metrics.day_actions c where c.report_date = d.report_date and c.is_counted) as a;

-- ---- the six that are read ----

-- A point per minute end of the session. What is held and how it is marked changes seldom, so each stretch of minutes with one
-- quantity and one mark enters where it begins and leaves where it ends, and a minute is the sum of all that came before. A
-- mark is seen from the end of its five-minute bucket on; after fifteen minutes it is stale. A sum with an unknown part is no point.
create materialized view utils_statistics.trades_kpi_series_mv as
    with days as materialized (
        select w.report_date, w.session_open, w.minutes, s.start_cash,
               case when s.unknown_until_close = 0 then s.realized_until_close end as realized_before,
               case when s.lacks_mark_before + s.lacks_cost_before = 0 then s.unrealized_before end as unrealized_before
          from metrics.work_days w join metrics.day_totals s on s.report_date = w.report_date
         where w.minutes > 0
    ), pieces as (
        select h.report_date, greatest(h.from_minute, m.from_minute) as from_minute, least(h.to_minute, m.to_minute) as to_minute,
               h.sign, m.is_stale, w.worth, case when h.of_unknown = 0 then h.sign * (w.worth - h.basis) end as unrealized,
               (m.ask - m.bid) / 2 * w.units as drag
          from metrics.day_holdings h
          join metrics.day_marks m
            on m.report_date = h.report_date and m.book_id = h.book_id and m.instrument_id = h.instrument_id
           and m.from_minute < h.to_minute and m.to_minute > h.from_minute
         cross join lateral (select h.multiplier * h.quantity as units, h.multiplier * h.quantity * m.price as worth) as w
    ), steps as (
        select p.report_date, e.minute, sum(e.way) as open_positions, sum(e.way * coalesce(p.unrealized, 0)) as unrealized,
               sum(case when p.unrealized is null then e.way else 0 end) as lacks_unrealized,
               sum(case when p.worth is null then e.way else 0 end) as lacks_worth,
               sum(e.way * abs(coalesce(p.worth, 0))) as gross, sum(e.way * p.sign * coalesce(p.worth, 0)) as net,
               sum(e.way * coalesce(p.drag, 0)) as drag,
               sum(case when p.drag is null then e.way else 0 end) as lacks_drag,
               sum(case when p.is_stale then e.way else 0 end) as stale
          from pieces p
         cross join lateral (values (p.from_minute, 1), (p.to_minute, -1)) as e(minute, way)
         group by p.report_date, e.minute
    ), closes as (
        select report_date, minute, sum(realized_pnl) as realized_since, count(*) filter (where realized_pnl is null) as lacks_since,
               sum(realized_pnl) filter (where stretch = 2) as realized_today,
               count(*) filter (where stretch = 2 and realized_pnl is null) as lacks_today,
               sum(realized_pnl) filter (where stretch = 2 and realized_pnl > 0) as gains,
               sum(realized_pnl) filter (where stretch = 2 and realized_pnl < 0) as losses
          from metrics.day_moves where not is_opening and stretch > 0 group by report_date, minute
    ), results as (
        select report_date, closed_minute as minute, count(*) filter (where realized > 0) as wins,
               count(*) filter (where realized < 0) as defeats, count(*) filter (where realized is null) as lacks_result
          from metrics.day_trades where is_closed_today group by report_date, closed_minute
    ), acts as (
        select report_date, minute, sum(value) as traded, count(*) filter (where value is null) as lacks_value, sum(fees) as fees,
               count(*) filter (where fees is null) as lacks_fees
          from metrics.day_actions where is_counted group by report_date, minute
    ), minutes as (
        select d.report_date, d.session_open + k.minute * interval '1 minute' as ts, d.start_cash, d.realized_before, d.unrealized_before,
               sum(coalesce(s.open_positions, 0)) over w as open_positions, sum(coalesce(s.stale, 0)) over w as stale,
               sum(coalesce(s.unrealized, 0)) over w as unrealized, sum(coalesce(s.lacks_unrealized, 0)) over w as lacks_unrealized,
               sum(coalesce(s.gross, 0)) over w as gross, sum(coalesce(s.net, 0)) over w as net,
               sum(coalesce(s.lacks_worth, 0)) over w as lacks_worth,
               sum(coalesce(s.drag, 0)) over w as drag, sum(coalesce(s.lacks_drag, 0)) over w as lacks_drag,
               sum(coalesce(c.realized_since, 0)) over w as realized_since, sum(coalesce(c.lacks_since, 0)) over w as lacks_since,
               sum(coalesce(c.realized_today, 0)) over w as realized_today, sum(coalesce(c.lacks_today, 0)) over w as lacks_today,
               sum(coalesce(c.gains, 0)) over w as gains, sum(coalesce(c.losses, 0)) over w as losses,
               sum(coalesce(r.wins, 0)) over w as wins, sum(coalesce(r.defeats, 0)) over w as defeats,
               sum(coalesce(r.lacks_result, 0)) over w as lacks_result,
               sum(coalesce(a.traded, 0)) over w as traded, sum(coalesce(a.lacks_value, 0)) over w as lacks_value,
               sum(coalesce(a.fees, 0)) over w as fees, sum(coalesce(a.lacks_fees, 0)) over w as lacks_fees
          from days d
         cross join lateral generate_series(1, d.minutes) as k(minute)
          left join steps s on s.report_date = d.report_date and s.minute = k.minute
          left join closes c on c.report_date = d.report_date and c.minute = k.minute
          left join results r on r.report_date = d.report_date and r.minute = k.minute
          left join acts a on a.report_date = d.report_date and a.minute = k.minute
        window w as (partition by d.report_date order by k.minute)
    ), valued as (
        select m.*, m.realized_before + m.unrealized_before + m.start_cash as equity_before,
               case when m.lacks_unrealized = 0 and m.lacks_since = 0
                    then m.start_cash + m.realized_before + m.realized_since + m.unrealized end as equity
          from minutes m
    ), drawn as (
        select v.*, h.drawdown_before,
               max(metrics.round_even(v.equity, 2)) over (partition by v.report_date order by v.ts) as peak_today, h.peak_before
          from valued v
          left join lateral (
               select max(q.peak) as peak_before, max(100 * (q.peak - q.equity) / q.peak) filter (where q.peak > 0) as drawdown_before
                 from (select e.equity, max(e.equity) over (order by e.report_date) as peak
                         from (select * from metrics.equity_days e where e.report_date < v.report_date
                                order by e.report_date desc limit 252) as e) as q) as h on true
    ), fallen as (
        select d.*,
               case when d.equity is not null then greatest(
                   coalesce(d.drawdown_before, 0),
                   max(100 * (greatest(d.peak_before, d.peak_today) - metrics.round_even(d.equity, 2))
                           / nullif(greatest(d.peak_before, d.peak_today, 0), 0))
                       over (partition by d.report_date order by d.ts)) end as drawdown
          from drawn d
    )
    select p.kpi_name, f.ts, metrics.round_even(p.value, k.digits) as value,
           case when not p.is_marked or f.open_positions = 0 then 'ledger' when f.stale = 0 then 'live' else 'stale' end as source,
           f.report_date
      from fallen f
     cross join lateral (values
           ('Daily PnL', f.equity - f.equity_before, true),
           ('Realized PnL', case when f.lacks_today = 0 then f.realized_today end, false),
           ('Unrealized PnL', case when f.lacks_unrealized = 0 then f.unrealized end, true),
           ('Total PnL', f.equity - f.start_cash, true),
           ('Equity', f.equity, true),
           ('Daily return', case when f.equity_before > 0 then 100 * (f.equity - f.equity_before) / f.equity_before end, true),
           ('Win rate', case when f.lacks_result = 0 then 100 * f.wins / nullif(f.wins + f.defeats, 0) end, false),
           ('Profit factor', case when f.lacks_today = 0 then f.gains / nullif(-f.losses, 0) end, false),
           ('Open positions', f.open_positions, false),
           ('Gross exposure', case when f.lacks_worth = 0 then f.gross end, true),
           ('Net exposure', case when f.lacks_worth = 0 then f.net end, true),
           ('Traded value', case when f.lacks_value = 0 then f.traded end, false),
           ('Fees paid', case when f.lacks_fees = 0 then f.fees end, false),
           ('Max drawdown', f.drawdown, true),
           ('Liquidity drag', case when f.lacks_drag = 0 then f.drag end, true)) as p(kpi_name, value, is_marked)
      join metrics.kpi_catalog k on k.kpi_name = p.kpi_name and k.has_series
     where p.value is not null;
create unique index trades_kpi_series_mv_key on utils_statistics.trades_kpi_series_mv (report_date, kpi_name, ts);
comment on materialized view utils_statistics.trades_kpi_series_mv is 'Points of the 15 KPIs that have a series; source: ledger, live (every mark at most 15 minutes old) or stale.';

-- All KPIs of the catalog, each with its number or with the reason why there is none.
create materialized view utils_statistics.trades_kpi_values_mv as
    with judged as (
        select t.*,
               case when t.lacks_mark > 0 then 'no_mark' when t.lacks_cost + t.unknown_all > 0 then 'unknown_cost' end as equity_reason,
               case when t.lacks_mark_before > 0 then 'no_mark'
                    when t.lacks_cost_before + t.unknown_until_close > 0 then 'unknown_cost' end as before_reason,
               case when t.lacks_mark > 0 then 'no_mark' when t.lacks_size > 0 then 'unknown_cost' end as worth_reason,
               case when t.lacks_result > 0 then 'unknown_cost' end as result_reason,
               t.start_cash + t.realized_all + t.unrealized as equity,
               t.start_cash + t.realized_until_close + t.unrealized_before as equity_before
          from metrics.day_totals t
    ), compared as (
        select j.*,
               case when 'no_mark' in (j.equity_reason, j.before_reason) then 'no_mark'
                    else coalesce(j.equity_reason, j.before_reason) end as daily_reason,
               metrics.round_even(100 * (j.equity - j.equity_before) / nullif(j.equity_before, 0), 4) as daily_return
          from judged j
    ), returned as (
        select c.*, coalesce(c.daily_reason, case when c.equity_before <= 0 then 'no_base' end) as return_reason from compared c
    ), numbers as (
        select r.report_date, v.kpi_name, v.reason, case when v.reason is null then v.value end as value
          from returned r
          left join lateral (
               select count(*) as days, avg(x.daily_return) / nullif(stddev_samp(x.daily_return), 0) * sqrt(252::numeric) as ratio
                 from (select r.daily_return
                       union all
                       (select e.daily_return from metrics.equity_days e
                         where e.report_date < r.report_date and e.daily_return is not null
                         order by e.report_date desc limit 251)) as x(daily_return)
                where r.return_reason is null) as s on true
          left join lateral (
               select p.value from utils_statistics.trades_kpi_series_mv p
                where p.report_date = r.report_date and p.kpi_name = 'Max drawdown' order by p.ts desc limit 1) as f on true
          left join lateral (
               select coalesce(max(100 * (q.peak - q.equity) / q.peak) filter (where q.peak > 0), 0) as value
                 from (select e.equity, max(e.equity) over (order by e.report_date) as peak
                         from (select * from metrics.equity_days e where e.report_date < r.report_date
                                order by e.report_date desc limit 252) as e) as q
               having count(*) > 0) as h on true
         cross join lateral (values
               ('Daily PnL', r.equity - r.equity_before, r.daily_reason),
               ('Realized PnL', r.realized_today, case when r.lacks_realized_today > 0 then 'unknown_cost' end),
               ('Unrealized PnL', r.unrealized,
                case when r.lacks_mark > 0 then 'no_mark' when r.lacks_cost > 0 then 'unknown_cost' end),
               ('Total PnL', r.equity - r.start_cash, r.equity_reason),
               ('Equity', r.equity, r.equity_reason),
               ('Daily return', r.daily_return, r.return_reason),
               ('Win rate', 100.0 * r.wins / nullif(r.wins + r.defeats, 0),
                coalesce(r.result_reason, case when r.wins + r.defeats = 0 then 'none_closed' end)),
               ('Profit factor', r.gains / nullif(-r.losses, 0),
                case when r.lacks_realized_today > 0 then 'unknown_cost' when r.losses = 0 then 'no_losses' end),
               ('Expectancy', r.result / nullif(r.closed, 0),
                coalesce(r.result_reason, case when r.closed = 0 then 'none_closed' end)),
               ('Avg win', r.won / nullif(r.wins, 0), coalesce(r.result_reason, case when r.wins = 0 then 'none_closed' end)),
               ('Avg loss', r.lost / nullif(r.defeats, 0), coalesce(r.result_reason, case when r.defeats = 0 then 'none_closed' end)),
               ('Entries opened', r.entries, null),
               ('Add entries', r.adds, null),
               ('Trims taken', r.trims, null),
               ('Exits closed', r.exits, null),
               ('Open positions', r.open_positions, null),
               ('Gross exposure', r.gross, r.worth_reason),
               ('Net exposure', r.net, r.worth_reason),
               ('Traded value', r.traded, case when r.lacks_value > 0 then 'unknown_cost' end),
               ('Fees paid', r.fees, case when r.lacks_fees > 0 then 'unknown_cost' end),
               ('Avg hold time', r.hold_seconds, case when r.closed = 0 then 'none_closed' end),
               ('Max drawdown', coalesce(f.value, h.value), case when f.value is null and h.value is null then 'no_history' end),
               ('Sharpe ratio', s.ratio,
                coalesce(r.return_reason, case when s.days < 20 then 'too_few' when s.ratio is null then 'no_base' end)),
               ('Liquidity drag', r.drag,
                case when r.lacks_quote > 0 then 'no_quote' when r.lacks_size > 0 then 'unknown_cost' end),
               ('Oldest mark age', extract(epoch from r.valuation_at - r.oldest_mark_at),
                case when r.open_positions = 0 then 'none_open' when r.lacks_mark > 0 then 'no_mark' end)
               ) as v(kpi_name, value, reason)
    )
    select k.kpi_name, metrics.round_even(n.value, k.digits) as value_num, k.kind as value_kind, k.unit,
           n.reason as missing_reason, k.kpi_version, n.report_date
      from metrics.kpi_catalog k join numbers n on n.kpi_name = k.kpi_name;
create unique index trades_kpi_values_mv_key on utils_statistics.trades_kpi_values_mv (report_date, kpi_name);
comment on materialized view utils_statistics.trades_kpi_values_mv is 'Exact numbers of all KPIs, or why there is none: no_mark, unknown_cost, no_quote are faults, the rest is a quiet day.';

create materialized view utils_statistics.trades_kpi_summary_mv as
    select v.kpi_name, metrics.kpi_text(v.value_num, v.value_kind) as display_value, k.sort_order, v.report_date
      from utils_statistics.trades_kpi_values_mv v join metrics.kpi_catalog k on k.kpi_name = v.kpi_name;
create unique index trades_kpi_summary_mv_key on utils_statistics.trades_kpi_summary_mv (report_date, kpi_name);
comment on materialized view utils_statistics.trades_kpi_summary_mv is 'The display texts of all KPIs.';

-- The ten trades at each end of a KPI. Total PnL looks at every trade of the books: older ones come by the orders they are kept in.
create materialized view utils_statistics.trades_contract_extremes_by_kpi_mv as
    with candidates as (
        select m.report_date, m.kpi_name, t.trade_id, t.symbol collate "C" as symbol, t.contract_name collate "C" as contract_name,
               round(m.metric, 10) as metric, t.individual_pnl, t.is_open,
               case when t.is_open then 100 * t.sign * (t.mark - t.vwap) / nullif(t.vwap, 0) end as percent_change,
               t.basis, t.quantity, t.sign, t.multiplier, t.bid, t.ask, t.mid, t.mark_at, t.drag
          from metrics.trade_metrics m
          join metrics.trade_figures t
            on t.report_date = m.report_date and t.book_id = m.book_id and t.position_id = m.position_id
        union all
        select s.report_date, 'Total PnL', s.trade_id, s.symbol, s.contract_name, round(s.realized_pnl, 10), s.realized_pnl, false,
               null, 0, 0, 1, null, null, null, null, null, null
          from (select d.report_date, one.*
                  from metrics.work_days d
                 cross join metrics.counted_books b
                 cross join lateral (
                       (select * from metrics.settled_trades x
                         where x.book_id = b.book_id and x.realized_pnl is not null and x.closed_at <= d.previous_close
                         order by x.realized_pnl desc, x.symbol, x.contract_name, x.trade_id limit 10)
                       union
                       (select * from metrics.settled_trades x
                         where x.book_id = b.book_id and x.realized_pnl is not null and x.closed_at <= d.previous_close
                         order by x.realized_pnl, x.symbol, x.contract_name, x.trade_id limit 10)) as one) as s
    ), ranked as (
        select c.*,
               row_number() over (partition by report_date, kpi_name order by metric desc, symbol, contract_name, trade_id) as hi,
               row_number() over (partition by report_date, kpi_name order by metric, symbol, contract_name, trade_id) as lo
          from candidates c
    )
    select r.kpi_name, s.side, s.rank::integer as rank, r.trade_id, r.symbol::text as symbol, r.contract_name::text as contract_name,
           r.metric as metric_raw, abs(r.metric) as metric_abs, round(r.individual_pnl, 10) as individual_pnl,
           abs(round(r.individual_pnl, 10)) as abs_individual_pnl, round(r.percent_change, 10) as percent_change,
           round(r.basis, 10) as cost_basis, r.quantity as qty,
           case when r.is_open then r.bid end as bid_price, case when r.is_open then r.ask end as ask_price,
           case when r.is_open then round(r.mid, 10) end as mid_price, case when r.is_open then r.mark_at end as mid_ts,
           case when r.is_open then round(r.sign * (r.mid * r.quantity * r.multiplier - r.basis), 10) end as mid_mark_pnl,
           case when r.is_open then round(r.drag, 10) end as liquidity_drag, r.report_date
      from ranked r
     cross join lateral (values ('hi', r.hi), ('lo', r.lo)) as s(side, rank)
     where s.rank <= 10;
create unique index trades_contract_extremes_by_kpi_mv_key
    on utils_statistics.trades_contract_extremes_by_kpi_mv (report_date, kpi_name, side, rank);
comment on materialized view utils_statistics.trades_contract_extremes_by_kpi_mv is 'Per KPI the ten trades with the largest (hi) and the smallest (lo) quantity of their own.';

create materialized view utils_statistics.trades_portfolio_assets_mv as
    select trade_id, symbol, contract_name, report_date from metrics.day_trades where is_open;
create unique index trades_portfolio_assets_mv_key on utils_statistics.trades_portfolio_assets_mv (report_date, trade_id, contract_name);
comment on materialized view utils_statistics.trades_portfolio_assets_mv is 'The positions open at as_of.';

-- What a day was computed from. last_recorded_at: when the newest fact behind it became known, be it an action (also one that was
-- taken back, however old) or a mark.
create materialized view utils_statistics.trades_source_watermark_mv as
    select d.report_date, d.as_of, d.valuation_at, d.stage, greatest(h.known_from, m.recorded_at, k.recorded_at) as last_recorded_at,
           greatest(m.mark_at, k.mark_at) as last_mark_at, t.actions, t.closings, t.open_positions,
           (select coalesce(jsonb_object_agg(b.book_id, b.seq), '{}') from metrics.counted_books b) as ledger_seq,
           clock_timestamp() as refreshed_at,
           jsonb_strip_nulls(jsonb_build_object(
               'actions', nullif((select count(*) from metrics.day_actions a
                                   where a.report_date = d.report_date and not a.is_counted), 0),
               'open_positions', nullif((select count(*) from metrics.day_positions p
                                          where p.report_date = d.report_date and not p.is_counted and p.closed_at is null), 0),
               'books', nullif((select count(*) from metrics.counted_books b where not b.is_counted), 0))) as excluded,
           (select count(*) from metrics.day_actions a
             where a.report_date = d.report_date and a.is_counted and a.executed_at > d.session_close) as after_close,
           t.start_cash
      from metrics.work_days d
      join metrics.day_totals t on t.report_date = d.report_date
      left join lateral (
           select max(x.known_from) as known_from
             from metrics.counted_books b
            cross join lateral (
                  select a.known_from from ledger.v_action_history a
                   where a.book_id = b.book_id and a.executed_at <= d.last_at
                   order by a.known_from desc limit 1) as x) as h on true
      left join lateral (
           select greatest(max(f.mark_recorded_at), max(f.mark_before_recorded_at)) as recorded_at, max(f.mark_at) as mark_at
             from metrics.day_trades f where f.report_date = d.report_date) as m on true
      left join lateral (
           select max(h.recorded_at) as recorded_at, max(h.marked_at) as mark_at
             from (select distinct p.book_id, p.instrument_id from metrics.day_positions p
                    where p.report_date = d.report_date and p.is_counted) as i
            cross join lateral (
                  select h.recorded_at, h.marked_at from ledger.v_mark_history h
                   where h.book_id = i.book_id and h.instrument_id = i.instrument_id and h.bucket_at >= d.window_start
                     and h.bucket_at < d.valuation_at and h.marked_at < d.valuation_at
                   order by h.bucket_at offset 0) as h) as k on true;
create unique index trades_source_watermark_mv_key on utils_statistics.trades_source_watermark_mv (report_date);
comment on materialized view utils_statistics.trades_source_watermark_mv is 'What each day''s figures were computed from: instants, counts, the books'' sequence numbers, what was left out.';

-- ---- refresh ----

-- Bring everything to the snapshot of the calling transaction. All six show the same ledger only if that is one snapshot; whoever
-- calls takes the advisory lock before the transaction begins, so that its snapshot is younger than the refresh before.
create function utils_statistics.refresh_snapshot_views() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set jit = off set work_mem = '32MB' as $$
begin
    if current_setting('transaction_isolation') <> 'repeatable read' then
        raise exception 'the views are refreshed in one repeatable read transaction' using errcode = '25001';
    end if;
    perform metrics.carry();
    refresh materialized view metrics.day_positions;
    analyze metrics.day_positions;
    refresh materialized view metrics.day_moves;
    refresh materialized view metrics.day_actions;
    analyze metrics.day_moves, metrics.day_actions;
    refresh materialized view metrics.day_trades;
    refresh materialized view metrics.day_holdings;
    refresh materialized view metrics.day_marks;
    analyze metrics.day_trades, metrics.day_holdings, metrics.day_marks;
    refresh materialized view concurrently utils_statistics.trades_kpi_series_mv;
    refresh materialized view concurrently utils_statistics.trades_kpi_values_mv;
    refresh materialized view concurrently utils_statistics.trades_kpi_summary_mv;
    refresh materialized view concurrently utils_statistics.trades_contract_extremes_by_kpi_mv;
    refresh materialized view concurrently utils_statistics.trades_portfolio_assets_mv;
    refresh materialized view concurrently utils_statistics.trades_source_watermark_mv;
end
$$;
comment on function utils_statistics.refresh_snapshot_views() is 'Refreshes all six views to one snapshot of the ledger; only in a repeatable read transaction.';

-- ---- grants ----

grant usage on schema utils_statistics, metrics to snapshot_source, snapshot_reader, desk_operator;
grant select on all tables in schema utils_statistics to snapshot_source, snapshot_reader, desk_operator;
grant select on metrics.snapshot_books, metrics.snapshot_days, metrics.kpi_catalog, metrics.equity_days
    to snapshot_source, snapshot_reader, desk_operator;
grant insert, update, delete on metrics.snapshot_days to snapshot_source;
grant insert, update on metrics.equity_days to snapshot_source;
grant insert, delete on metrics.snapshot_books to desk_operator;
grant execute on function utils_statistics.refresh_snapshot_views() to snapshot_source;

-- ==== 0025_snapshot_store.sql ========================================================================================

-- Room snapshot, the receiving half: published days as they are read, every version of them, and what a replaced final day changed.
--
-- A day is replaced whole in one transaction: a lock on its date, the comparison, the version, the rows, what changed, the event. The
-- tables are filled from the one document that is kept as the version, so they cannot say anything else. A row that says what it
-- said before is not written again. Rules live in Python; here are the walls that hold without them. Source: snapshot specification,
-- 5.4 and 6.

create schema if not exists metrics;

-- The publisher writes its own tables and none of these: the receiving function has a group of its own.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'snapshot_receiver') then
        create role snapshot_receiver nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;
end
$$;

create table metrics.metrics_daily (
    date           date           not null,
    updated_at     timestamptz(3) not null,
    headline       text           not null,
    summary        text           not null,
    rows_json      jsonb          not null,
    overlay_json   jsonb          not null,
    stage          text,
    source         text,
    schema_version integer,
    kpi_version    integer,
    version        integer        not null,
    content_sha256 text           not null,
    counts         jsonb          not null,
    watermark      jsonb,
    provenance     jsonb,
    received_at    timestamptz    not null,
    constraint metrics_daily_pk primary key (date),
    constraint metrics_daily_stage check (stage in ('premarket', 'intraday', 'final')),
    constraint metrics_daily_version check (version > 0),
    constraint metrics_daily_hash check (content_sha256 ~ '^[0-9a-f]{64}$')
);
comment on table metrics.metrics_daily is 'Published days: one row per trading day in New York, as it stands now.';
comment on column metrics.metrics_daily.updated_at is 'Data time: the newest fact the figures were computed from, never the time of receipt.';
comment on column metrics.metrics_daily.received_at is 'When the sender last said this; the one column that a repeat of the same content changes.';

create table metrics.metrics_kpi_values (
    date           date    not null,
    kpi            text    not null,
    value_text     text    not null,
    value_num      numeric,
    value_kind     text    not null,
    unit           text,
    sort_order     integer not null,
    missing_reason text,
    constraint metrics_kpi_values_pk primary key (date, kpi),
    constraint metrics_kpi_values_day foreign key (date) references metrics.metrics_daily on delete cascade,
    constraint metrics_kpi_values_kind check (value_kind in ('number', 'currency', 'percent', 'duration', 'ratio', 'text'))
);
comment on table metrics.metrics_kpi_values is 'Figures of a day; a number that is not known is NULL, never zero.';
create index metrics_kpi_values_by_kpi on metrics.metrics_kpi_values (kpi, date);

create table metrics.metrics_series_points (
    id   bigint generated always as identity,
    date date           not null,
    kpi  text           not null,
    t    timestamptz(3) not null,
    v    numeric        not null,
    src  text,
    constraint metrics_series_points_pk primary key (id),
    constraint metrics_series_points_key unique (date, kpi, t),
    constraint metrics_series_points_day foreign key (date) references metrics.metrics_daily on delete cascade
) with (fillfactor = 50);
comment on table metrics.metrics_series_points is
    'Points of a day''s series; what is not known has no point. Half of each page is left free: a day is replaced in place.';

create table metrics.metrics_extremes_items (
    id                 bigint generated always as identity,
    date               date    not null,
    kpi                text    not null,
    side               text    not null,
    rank               integer not null,
    trade_id           bigint,
    symbol             text,
    contract_name      text    not null,
    metric_raw         numeric,
    metric_abs         numeric,
    individual_pnl     numeric,
    abs_individual_pnl numeric,
    percent_change     numeric,
    cost_basis         numeric,
    qty                numeric,
    bid_price          numeric,
    ask_price          numeric,
    mid_price          numeric,
    mid_ts             timestamptz(3),
    mid_mark_pnl       numeric,
    liquidity_drag     numeric,
    item_json          jsonb   not null,
    constraint metrics_extremes_items_pk primary key (id),
    constraint metrics_extremes_items_key unique (date, kpi, side, rank),
    constraint metrics_extremes_items_side check (side in ('hi', 'lo')),
    constraint metrics_extremes_items_day foreign key (date) references metrics.metrics_daily on delete cascade
);
comment on table metrics.metrics_extremes_items is 'The trades at either end of a KPI; item_json is the item as it was published.';
create index metrics_extremes_items_by_symbol on metrics.metrics_extremes_items (symbol, date);

create table metrics.metrics_portfolio_assets (
    id            bigint generated always as identity,
    date          date   not null,
    trade_id      bigint not null,
    symbol        text,
    contract_name text   not null,
    constraint metrics_portfolio_assets_pk primary key (id),
    constraint metrics_portfolio_assets_key unique (date, trade_id, contract_name),
    constraint metrics_portfolio_assets_day foreign key (date) references metrics.metrics_daily on delete cascade
);
comment on table metrics.metrics_portfolio_assets is 'Positions open when the day was valued.';
create index metrics_portfolio_assets_by_symbol on metrics.metrics_portfolio_assets (symbol, date);

create table metrics.snapshot_versions (
    date           date           not null,
    version        integer        not null,
    updated_at     timestamptz(3) not null,
    stage          text,
    kpi_version    integer,
    content_sha256 text           not null,
    counts         jsonb          not null,
    forced         text[]         not null default '{}',
    late_actions   jsonb          not null default '[]',
    document       jsonb          not null,
    request_id     text           not null,
    recorded_at    timestamptz    not null,
    constraint snapshot_versions_pk primary key (date, version),
    constraint snapshot_versions_version check (version > 0)
);
comment on table metrics.snapshot_versions is 'Everything that was ever published of a day, whole; nobody alters or deletes a row (grants).';
comment on column metrics.snapshot_versions.forced is 'Which refusals the sender overruled by name.';
comment on column metrics.snapshot_versions.late_actions is 'Ledger actions of the day that were recorded after the version before: why this one differs.';

create table metrics.restatements (
    date        date        not null,
    version     integer     not null,
    subject     text        not null,
    name        text        not null,
    old_text    text,
    new_text    text,
    old_num     numeric,
    new_num     numeric,
    difference  numeric generated always as (new_num - old_num) stored,
    recorded_at timestamptz not null,
    constraint restatements_pk primary key (date, version, subject, name),
    constraint restatements_version foreign key (date, version) references metrics.snapshot_versions,
    constraint restatements_subject check (subject in ('kpi', 'part'))
);
comment on table metrics.restatements is
    'What a version changed in a day that was final: every KPI that differs, and the number of items of each part before and after.';
comment on column metrics.restatements.version is 'The version that came; it replaced the one before it.';

-- Lock a day until the transaction ends and say what stands there: {date, content_sha256} -> null for a day that is not there, else
-- {version, updated_at, content_sha256, stage, counts, is_known, kpis}. The statements after the lock see what its last holder left.
create function metrics.open_day(asked jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_day constant date := (asked->>'date')::date;
begin
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('metrics.snapshot/' || the_day, 0));
    return (select jsonb_build_object(
                       'version', d.version, 'updated_at', d.updated_at, 'content_sha256', d.content_sha256, 'stage', d.stage,
                       'counts', d.counts,
                       'is_known', exists (select from metrics.snapshot_versions v
                                            where v.date = d.date and v.content_sha256 = asked->>'content_sha256'),
                       'kpis', (select coalesce(jsonb_agg(jsonb_build_object('kpi', k.kpi, 'text', k.value_text,
                                                                             'num', k.value_num::text)
                                                          order by k.sort_order, k.kpi), '[]')
                                  from metrics.metrics_kpi_values k where k.date = d.date))
              from metrics.metrics_daily d where d.date = the_day);
end
$$;
comment on function metrics.open_day(jsonb) is '{date, content_sha256} -> what stands under the date, or null; locked until the end.';

-- Put a day in the place of what stood there: {version, received_at, request_id, counts, forced, document, changes}, where `document` is
-- the whole published document and `changes` are rows of restatements. The day is locked by open_day.
create function metrics.replace_day(given jsonb) returns jsonb
language plpgsql volatile as $$
declare
    said        constant jsonb := given->'document';
    the_day     constant date := (said->>'date')::date;
    the_version constant integer := (given->>'version')::integer;
    the_time    constant timestamptz := (given->>'received_at')::timestamptz;
    overlay     constant jsonb := said->'overlay';
begin
    insert into metrics.snapshot_versions (date, version, updated_at, stage, kpi_version, content_sha256, counts, forced, late_actions,
                                           document, request_id, recorded_at)
    values (the_day, the_version, (said->>'updated_at')::timestamptz, said->>'stage', (said->>'kpi_version')::integer,
            said->>'content_sha256', given->'counts',
            array(select jsonb_array_elements_text(given->'forced')),
            case when jsonb_typeof(said->'provenance'->'late_actions') = 'array' then said->'provenance'->'late_actions' else '[]' end,
            said, given->>'request_id', the_time);

    insert into metrics.metrics_daily as d (date, updated_at, headline, summary, rows_json, overlay_json, stage, source, schema_version,
                                            kpi_version, version, content_sha256, counts, watermark, provenance, received_at)
    values (the_day, (said->>'updated_at')::timestamptz, said->>'headline', said->>'summary', said->'rows', overlay, said->>'stage',
            said->>'source', (said->>'schema_version')::integer, (said->>'kpi_version')::integer, the_version,
            said->>'content_sha256', given->'counts', said->'watermark', said->'provenance', the_time)
    on conflict on constraint metrics_daily_pk do update
       set updated_at = excluded.updated_at, headline = excluded.headline, summary = excluded.summary,
           rows_json = excluded.rows_json, overlay_json = excluded.overlay_json, stage = excluded.stage, source = excluded.source,
           schema_version = excluded.schema_version, kpi_version = excluded.kpi_version, version = excluded.version,
           content_sha256 = excluded.content_sha256, counts = excluded.counts, watermark = excluded.watermark,
           provenance = excluded.provenance, received_at = excluded.received_at;

    delete from metrics.metrics_kpi_values where date = the_day;
    insert into metrics.metrics_kpi_values (date, kpi, value_text, value_num, value_kind, unit, sort_order, missing_reason)
    select the_day, r.kpi, r.value, r.value_num, r.kind, r.unit, r.sort_order, r.missing_reason
      from jsonb_to_recordset(said->'rows') as r(
               kpi text, value text, value_num numeric, kind text, unit text, sort_order integer, missing_reason text);

    -- A replacement moves values and adds points, it hardly ever takes one away. A point that is updated in its page neither enters an
    -- index nor looks its day up again, which costs a quarter of writing it anew; one that says the same is not touched.
    with said_points as materialized (
        select s.key as kpi, p.t, p.v, p.src
          from jsonb_each(overlay->'seriesByKpi') as s
         cross join lateral jsonb_to_recordset(s.value) as p(t timestamptz(3), v numeric, src text)),
    gone as (
        delete from metrics.metrics_series_points k
         where k.date = the_day and not exists (select from said_points n where n.kpi = k.kpi and n.t = k.t)),
    moved as (
        update metrics.metrics_series_points k set v = n.v, src = n.src
          from said_points n
         where k.date = the_day and k.kpi = n.kpi and k.t = n.t and (k.v, k.src) is distinct from (n.v, n.src))
    insert into metrics.metrics_series_points (date, kpi, t, v, src)
    select the_day, n.kpi, n.t, n.v, n.src
      from said_points n
     where not exists (select from metrics.metrics_series_points k where k.date = the_day and k.kpi = n.kpi and k.t = n.t);

    delete from metrics.metrics_extremes_items where date = the_day;
    insert into metrics.metrics_extremes_items (date, kpi, side, rank, trade_id, symbol, contract_name, metric_raw, metric_abs,
                                                individual_pnl, abs_individual_pnl, percent_change, cost_basis, qty, bid_price,
                                                ask_price, mid_price, mid_ts, mid_mark_pnl, liquidity_drag, item_json)
    select the_day, k.key, s.key, r.rank, r.trade_id, r.symbol, r.contract_name, r.metric_raw, r.metric_abs, r.individual_pnl,
           r.abs_individual_pnl, r.percent_change, r.cost_basis, r.qty, r.bid_price, r.ask_price, r.mid_price, r.mid_ts,
           r.mid_mark_pnl, r.liquidity_drag, i.value
      from jsonb_each(overlay->'extremes'->'byKpi') as k
     cross join lateral jsonb_each(k.value) as s
     cross join lateral jsonb_array_elements(s.value) as i
     cross join lateral jsonb_to_record(i.value) as r(
               rank integer, trade_id bigint, symbol text, contract_name text, metric_raw numeric, metric_abs numeric,
               individual_pnl numeric, abs_individual_pnl numeric, percent_change numeric, cost_basis numeric, qty numeric,
               bid_price numeric, ask_price numeric, mid_price numeric, mid_ts timestamptz, mid_mark_pnl numeric,
               liquidity_drag numeric);

    delete from metrics.metrics_portfolio_assets where date = the_day;
    insert into metrics.metrics_portfolio_assets (date, trade_id, symbol, contract_name)
    select the_day, r.trade_id, r.symbol, r.contract_name
      from jsonb_to_recordset(overlay->'portfolioAssets') as r(trade_id bigint, symbol text, contract_name text);

    insert into metrics.restatements (date, version, subject, name, old_text, new_text, old_num, new_num, recorded_at)
    select the_day, the_version, r.subject, r.name, r.old_text, r.new_text, r.old_num, r.new_num, the_time
      from jsonb_to_recordset(given->'changes') as r(
               subject text, name text, old_text text, new_text text, old_num numeric, new_num numeric);
    return to_jsonb(the_version);
end
$$;
comment on function metrics.replace_day(jsonb) is 'The day of a document takes the place of what stood there; answers its version.';

-- What others may read.
create view metrics.v_daily as
    select date, updated_at, headline, summary, rows_json, overlay_json, stage, source, schema_version, kpi_version, version,
           content_sha256, counts, watermark, provenance, received_at
      from metrics.metrics_daily;
create view metrics.v_kpis as
    select date, kpi, value_text, value_num, value_kind, unit, sort_order, missing_reason from metrics.metrics_kpi_values;
create view metrics.v_series as select date, kpi, t, v, src from metrics.metrics_series_points;
create view metrics.v_extremes as
    select date, kpi, side, rank, trade_id, symbol, contract_name, metric_raw, metric_abs, individual_pnl, abs_individual_pnl,
           percent_change, cost_basis, qty, bid_price, ask_price, mid_price, mid_ts, mid_mark_pnl, liquidity_drag, item_json
      from metrics.metrics_extremes_items;
create view metrics.v_assets as select date, trade_id, symbol, contract_name from metrics.metrics_portfolio_assets;
create view metrics.v_versions as
    select date, version, updated_at, stage, kpi_version, content_sha256, counts, forced, late_actions, document, request_id,
           recorded_at
      from metrics.snapshot_versions;
create view metrics.v_restatements as
    select r.date, r.version, r.subject, r.name, r.old_text, r.new_text, r.old_num, r.new_num, r.difference, r.recorded_at,
           v.late_actions
      from metrics.restatements r join metrics.snapshot_versions v using (date, version);
comment on view metrics.v_restatements is 'What replaced a final day, figure by figure, with the late actions that are its cause.';

grant usage on schema metrics to snapshot_reader, snapshot_receiver, tracker_reader, desk_operator;
grant select on metrics.v_daily, metrics.v_kpis, metrics.v_series, metrics.v_extremes, metrics.v_assets, metrics.v_versions,
    metrics.v_restatements
    to snapshot_reader, tracker_reader, desk_operator;
grant select, insert, update, delete on metrics.metrics_kpi_values, metrics.metrics_series_points, metrics.metrics_extremes_items,
    metrics.metrics_portfolio_assets
    to snapshot_receiver;
grant select, insert, update on metrics.metrics_daily to snapshot_receiver;
grant select, insert on metrics.snapshot_versions, metrics.restatements to snapshot_receiver;
grant execute on function metrics.open_day(jsonb), metrics.replace_day(jsonb) to snapshot_receiver;
-- The fills behind a figure are read from the ledger's views, which readers of this room may see since there is a ledger.
grant usage on schema ledger to snapshot_reader;

-- ==== 0026_snapshot_publications.sql =================================================================================

-- Room snapshot, the sending half: what every publication of a day came to, who is publishing a day now, and the bytes on their way.
--
-- The ledger of publications is what the guards, the watch and a repeated call go by, so it is never deleted from. A lease covers a
-- day whoever publishes it; it runs on real time (clock_timestamp()), because desk time may run hundreds of times faster. The bytes
-- of a day are kept from before they are sent until somebody holds them for certain. Source: snapshot specification, 4.2, 4.5, 6.

create schema if not exists metrics;

create table metrics.publications (
    run_id            uuid        not null,
    report_date       date        not null,
    seq               bigint      generated always as identity,
    slot              text,
    stage             text,
    trigger           text        not null,
    scheduled_at      timestamptz,
    started_at        timestamptz not null,
    finished_at       timestamptz,
    status            text        not null,
    target            text        not null default 'none',
    content_sha256    text,
    version           integer,
    updated_at        timestamptz(3),
    counts            jsonb,
    dropped           jsonb,
    phase_ms          jsonb       not null default '{}',
    attempts          integer     not null default 0,
    http_status       integer,
    remote_request_id text,
    verified          boolean,
    forced            text[]      not null default '{}',
    reason            text,
    actor             text        not null,
    detail            text        not null default '',
    problems          jsonb       not null default '[]',
    guards            jsonb       not null default '[]',
    watermark         jsonb,
    remembered        jsonb,
    constraint publications_pk primary key (run_id, report_date),
    constraint publications_slot check (slot in ('premarket', 'midday', 'postmarket', 'watch')),
    constraint publications_stage check (stage in ('premarket', 'intraday', 'final')),
    constraint publications_trigger check (trigger in ('cron', 'manual', 'backfill')),
    constraint publications_status check (status in (
        'sending', 'published', 'published_unverified', 'published_fallback', 'unchanged', 'watched', 'view_contract',
        'refused_guard', 'refused_validation', 'kept', 'refused_receiver', 'conflict', 'busy')),
    constraint publications_ended check ((status = 'sending') = (finished_at is null)),
    constraint publications_target check (target in ('api', 'd1', 'none')),
    constraint publications_hash check (content_sha256 ~ '^[0-9a-f]{64}$'),
    constraint publications_forced check (forced = '{}' or (reason is not null and trigger <> 'cron'))
);
comment on table metrics.publications is 'One row per day of a run that came to something: what was sent where, and how it ended. Never deleted.';
comment on column metrics.publications.status is 'sending: on its way, or its process died then; else how the day ended.';
comment on column metrics.publications.started_at is 'Desk time, as finished_at; rows of a day are ordered by seq, because a desk clock may be set back.';
comment on column metrics.publications.remembered is 'What the guards need of a good publication: counts, names, what was missing and why.';
create index publications_by_day on metrics.publications (report_date, finished_at desc);
create index publications_in_order on metrics.publications (report_date, seq desc);
create index publications_by_stage on metrics.publications (stage, report_date, seq desc)
    where status in ('published', 'published_unverified', 'published_fallback');
create index publications_by_slot on metrics.publications (scheduled_at, report_date) where scheduled_at is not null;

create table metrics.publication_leases (
    report_date date        not null,
    run_id      uuid        not null,
    token       uuid        not null,
    expires_at  timestamptz not null,
    constraint publication_leases_pk primary key (report_date)
);
comment on table metrics.publication_leases is 'Who publishes a day now: slots, people and backfills alike. Gone when it is done, free when it is over.';
comment on column metrics.publication_leases.expires_at is 'Real time until which the holder of the token alone sends this day.';

create table metrics.publication_documents (
    run_id      uuid        not null,
    report_date date        not null,
    body        bytea       not null,
    recorded_at timestamptz not null,
    constraint publication_documents_pk primary key (run_id, report_date),
    constraint publication_documents_of foreign key (run_id, report_date) references metrics.publications,
    constraint publication_documents_size check (octet_length(body) <= 8000000)
);
comment on table metrics.publication_documents is 'The bytes of a publication, to the letter, until they are verified; those that never were stay seven days.';
create index publication_documents_by_age on metrics.publication_documents (recorded_at);

create view metrics.v_publications as
    select run_id, report_date, seq, slot, stage, trigger, scheduled_at, started_at, finished_at, status, target, content_sha256,
           version, updated_at, counts, dropped, phase_ms, attempts, http_status, remote_request_id, verified, forced, reason, actor,
           detail, problems, guards, watermark
      from metrics.publications;
comment on view metrics.v_publications is 'The ledger of publications.';

grant usage on schema metrics to snapshot_reader, snapshot_writer, tracker_reader, desk_operator;
grant select on metrics.v_publications to snapshot_reader, snapshot_writer, tracker_reader, desk_operator;
grant select, insert, update on metrics.publications to snapshot_writer;
grant select, insert, update, delete on metrics.publication_leases to snapshot_writer;
grant select, insert, delete on metrics.publication_documents to snapshot_writer;

-- ==== 0027_mt5_unchanged.sql =========================================================================================

-- What an account costs that does nothing: no row of a page is read that came before, no sum is taken again of what is old, and no
-- table is joined with the few keys of an answer.
--
-- told_…: the last whole page of deals, as it can be known again. sums_…: what the deals of an account add up to from
-- sums_floor_msc to sums_until_msc, both inclusive; a deal that comes for this span takes them away, and the next check takes them
-- anew. A rebuild holds them against the deals. Keys are looked up row by row (decision 0032). Sources: mt5 specification, 2 and 7.

alter table mt5.account_sync_state
    add column told_rows_hash bytea,
    add column told_content   bytea,
    add column told_count     integer,
    add column told_first_msc bigint,
    add column told_last_msc  bigint,
    add column sums_floor_msc bigint,
    add column sums_until_msc bigint,
    add column sums_amount    numeric,
    add column sums_bonus     numeric,
    add column sums_credit    numeric,
    add constraint account_sync_state_told_ck
        check (num_nulls(told_rows_hash, told_content, told_count, told_first_msc, told_last_msc) in (0, 5)),
    add constraint account_sync_state_sums_ck
        check (num_nulls(sums_floor_msc, sums_until_msc, sums_amount, sums_bonus, sums_credit) in (0, 5));
comment on column mt5.account_sync_state.told_rows_hash is 'SHA-256 of the bytes in which the deals of the last whole page came.';
comment on column mt5.account_sync_state.told_content is 'SHA-256 of what they said, as it is part of state_digest.';
comment on column mt5.account_sync_state.sums_amount is 'Of deals that count, neither bonus nor credit: profit + commission + swap + fee.';

-- What a worker needs of accounts that it holds: account, state and clock rule, in the order asked.
-- is_rule_measured: an answer of the server was taken in before, so that its rule is more than a guess.
create or replace function mt5.account_rows(account_ids uuid[]) returns jsonb
language sql stable set enable_seqscan to off as $$
    select coalesce(jsonb_agg(jsonb_build_object(
               'account', jsonb_build_object(
                   'account_id', a.id, 'tenant_id', a.tenant_id, 'server', a.server, 'login', a.login_number,
                   'broker_name', a.broker_name, 'instance_key', a.instance_key, 'service_account_id', a.mt5_service_account_id,
                   'book_id', a.book_id, 'is_active', a.is_active, 'currency', a.currency, 'currency_digits', a.currency_digits,
                   'margin_mode', a.margin_mode, 'sync_failure_count', a.sync_failure_count, 'last_error_code', a.last_error_code,
                   'connection_status', a.connection_status, 'credentials_version', a.credentials_version,
                   'backfill_target', a.backfill_target, 'last_sync_at', a.last_sync_at,
                   'last_successful_sync_at', a.last_successful_sync_at),
               'state', to_jsonb(s) - '{account_id,tenant_id,lease_run_id,lease_until,last_manual_at,sums_floor_msc,sums_until_msc,
                                            sums_amount,sums_bonus,sums_credit}'::text[],
               'rule', to_jsonb(r),
               'is_rule_measured', a.info_at is not null or exists (
                   select from mt5.trading_accounts o
                    where o.is_active and o.instance_key = a.instance_key and o.server = a.server and o.info_at is not null))
               order by k.place), '[]')
      from unnest(account_ids) with ordinality as k(id, place)
     cross join lateral (select x.* from mt5.trading_accounts x where x.id = k.id order by x.id limit 1) a
     cross join lateral (select x.* from mt5.account_sync_state x where x.account_id = k.id order by x.account_id limit 1) s
     cross join lateral (select x.* from mt5.servers x where x.server = a.server order by x.server limit 1) r
$$;

-- Count outcomes in their hours, and log those that are to be logged, of the accounts held: rows of {account_id, id, is_logged,
-- sync_type, started_at, completed_at, status, trades_synced, error_message, error_code, duration_ms, attempts, steps}.
create or replace function mt5.log_outcomes(the_run uuid, desk_now timestamptz, outcomes jsonb, held uuid[]) returns void
language plpgsql volatile set enable_seqscan to off as $$
begin
    insert into mt5.sync_logs (account_id, tenant_id, id, run_id, sync_type, started_at, completed_at, status, trades_synced,
                               error_message, error_code, duration_ms, attempts, steps, created_at)
    select r.account_id, a.tenant_id, r.id, the_run, r.sync_type, r.started_at, r.completed_at, r.status, r.trades_synced,
           r.error_message, r.error_code, r.duration_ms, r.attempts, r.steps, desk_now
      from jsonb_to_recordset(outcomes) as r(
               account_id uuid, id uuid, is_logged boolean, sync_type mt5.sync_type, started_at timestamptz,
               completed_at timestamptz, status mt5.sync_status, trades_synced integer, error_message text, error_code text,
               duration_ms integer, attempts integer, steps jsonb)
     cross join lateral (select x.tenant_id from mt5.trading_accounts x where x.id = r.account_id order by x.id limit 1) a
     where r.is_logged and r.account_id = any (held)
    on conflict on constraint sync_logs_pk do nothing;
    insert into mt5.sync_hours as h (account_id, tenant_id, hour, runs, successes, partials, failures, skips, duration_ms_max,
                                     trades_synced, duration_ms_sum)
    select r.account_id, a.tenant_id, date_trunc('hour', r.started_at, 'UTC'), 1, (r.status = 'success')::integer,
           (r.status = 'partial')::integer, (r.status = 'failed')::integer, (r.status = 'skipped')::integer, r.duration_ms,
           r.trades_synced, r.duration_ms
      from jsonb_to_recordset(outcomes) as r(
               account_id uuid, started_at timestamptz, status mt5.sync_status, trades_synced integer, duration_ms integer)
     cross join lateral (select x.tenant_id from mt5.trading_accounts x where x.id = r.account_id order by x.id limit 1) a
     where r.account_id = any (held)
     order by r.account_id
    on conflict on constraint sync_hours_pk do update
       set runs = h.runs + 1, successes = h.successes + excluded.successes, partials = h.partials + excluded.partials,
           failures = h.failures + excluded.failures, skips = h.skips + excluded.skips,
           duration_ms_max = greatest(h.duration_ms_max, excluded.duration_ms_max),
           trades_synced = h.trades_synced + excluded.trades_synced,
           duration_ms_sum = h.duration_ms_sum + excluded.duration_ms_sum;
end
$$;

-- What the stored deals of an account add up to, from the floor on: {floor_msc, at_msc, near_ms} -> {amount, bonus, credit, near,
-- first}: sums of what is near_ms and more before at_msc, amount without the deal types of bonus and credit; the deals within
-- near_ms of it, in order; the first of all. A deal: {deal_ticket, time_msc, deal_type, amount}. Sums of what is older than two
-- hours are kept, and moved on once an hour: walked by time is what came since. The account's state is locked by the caller.
create or replace function mt5.cash_sums(the_account uuid, asked jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    hour_ms   constant bigint := 3600000;
    floor_msc constant bigint := coalesce((asked->>'floor_msc')::bigint, 0);
    at_msc    constant bigint := (asked->>'at_msc')::bigint;
    near_ms   constant bigint := (asked->>'near_ms')::bigint;
    old_msc   constant bigint := (at_msc - near_ms) / hour_ms * hour_ms - 2 * hour_ms;
    from_msc  bigint := floor_msc;
    kept      mt5.account_sync_state;
    recent    record;
begin
    select * into kept from mt5.account_sync_state s where s.account_id = the_account;
    if kept.sums_floor_msc = floor_msc and kept.sums_until_msc <= at_msc - near_ms then
        from_msc := kept.sums_until_msc + 1;
    else
        kept.sums_amount := 0;
        kept.sums_bonus := 0;
        kept.sums_credit := 0;
    end if;
    select coalesce(sum(c.amount) filter (where c.is_past and c.deal_type not in (3, 6)), 0) as amount,
           coalesce(sum(c.amount) filter (where c.is_past and c.deal_type = 6), 0) as bonus,
           coalesce(sum(c.amount) filter (where c.is_past and c.deal_type = 3), 0) as credit,
           coalesce(sum(c.amount) filter (where c.time_msc <= old_msc and c.deal_type not in (3, 6)), 0) as old_amount,
           coalesce(sum(c.amount) filter (where c.time_msc <= old_msc and c.deal_type = 6), 0) as old_bonus,
           coalesce(sum(c.amount) filter (where c.time_msc <= old_msc and c.deal_type = 3), 0) as old_credit,
           coalesce(jsonb_agg(jsonb_build_object('deal_ticket', c.deal_ticket, 'time_msc', c.time_msc,
                                                 'deal_type', c.deal_type, 'amount', c.amount)
                              order by c.time_msc, c.deal_ticket)
                    filter (where not c.is_past), '[]') as near
      into recent
      from (select d.time_server_msc as time_msc, d.deal_ticket, d.revision, d.withdrawn, d.deal_type,
                   d.profit + d.commission + d.swap + d.fee as amount, d.time_server_msc <= at_msc - near_ms as is_past
              from mt5.deals d
             where d.account_id = the_account and d.time_server_msc >= from_msc and d.time_server_msc <= at_msc + near_ms
             order by d.time_server_msc, d.deal_ticket) c
     where not c.withdrawn
       and c.revision = (select n.revision from mt5.deals n
                          where n.account_id = the_account and n.deal_ticket = c.deal_ticket order by n.revision desc limit 1);
    if old_msc >= from_msc then
        update mt5.account_sync_state s
           set sums_floor_msc = floor_msc, sums_until_msc = old_msc, sums_amount = kept.sums_amount + recent.old_amount,
               sums_bonus = kept.sums_bonus + recent.old_bonus, sums_credit = kept.sums_credit + recent.old_credit
         where s.account_id = the_account;
    end if;
    return jsonb_build_object(
        'amount', kept.sums_amount + recent.amount, 'bonus', kept.sums_bonus + recent.bonus,
        'credit', kept.sums_credit + recent.credit, 'near', recent.near,
        'first', (
            select jsonb_build_object('deal_ticket', d.deal_ticket, 'time_msc', d.time_server_msc, 'deal_type', d.deal_type,
                                      'amount', d.profit + d.commission + d.swap + d.fee)
              from mt5.deals d
             where d.account_id = the_account and d.time_server_msc >= floor_msc and d.time_server_msc <= at_msc + near_ms
               and not d.withdrawn
               and d.revision = (select n.revision from mt5.deals n
                                  where n.account_id = the_account and n.deal_ticket = d.deal_ticket
                                  order by n.revision desc limit 1)
             order by d.time_server_msc, d.deal_ticket
             limit 1));
end
$$;

-- Hold the kept sums of an account against all of its deals: {account_id, lease_token} -> whether they agree, null where none are
-- kept. Those that do not are forgotten. For whoever holds the account.
create function mt5.check_sums(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    the_account constant uuid := (document->>'account_id')::uuid;
    kept        mt5.account_sync_state;
    is_equal    boolean;
begin
    select * into kept from mt5.account_sync_state s
     where s.account_id = the_account and s.lease_token = (document->>'lease_token')::bigint and s.lease_run_id is not null
       for update;
    if kept.sums_until_msc is null then
        return null;
    end if;
    select (coalesce(sum(c.amount) filter (where c.deal_type not in (3, 6)), 0),
            coalesce(sum(c.amount) filter (where c.deal_type = 6), 0), coalesce(sum(c.amount) filter (where c.deal_type = 3), 0))
           = (kept.sums_amount, kept.sums_bonus, kept.sums_credit)
      into is_equal
      from (select d.deal_ticket, d.revision, d.withdrawn, d.deal_type, d.profit + d.commission + d.swap + d.fee as amount
              from mt5.deals d
             where d.account_id = the_account and d.time_server_msc >= kept.sums_floor_msc
               and d.time_server_msc <= kept.sums_until_msc
             order by d.time_server_msc, d.deal_ticket) c
     where not c.withdrawn
       and c.revision = (select n.revision from mt5.deals n
                          where n.account_id = the_account and n.deal_ticket = c.deal_ticket order by n.revision desc limit 1);
    if not is_equal then
        update mt5.account_sync_state s
           set sums_floor_msc = null, sums_until_msc = null, sums_amount = null, sums_bonus = null, sums_credit = null
         where s.account_id = the_account;
    end if;
    return to_jsonb(is_equal);
end
$$;

-- Write what follows from an answer about one account; raises lease_token when the lease is another's. Every list is given; rows
-- that would not change stay unwritten, so that updated_at only moves with another column. {account_id, lease_token, run_id, now,
--  deals, trades, trades_removed: [{position_id, episode}], cash_operations, cash_removed: [ticket], cash_check: null | row,
--  missed: null (as it stands) | all rows,
--  gaps_opened, gaps_closed: [{from_msc, opened_at}], symbols, account, state, outcome: null | row of mt5.log_outcomes} ->
-- {deals_inserted, trades_changed, cash_changed}. Without an outcome the account's work goes on and the lease stays.
create or replace function mt5.apply_account(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off set plan_cache_mode to force_generic_plan as $$
declare
    the_account    constant uuid := (document->>'account_id')::uuid;
    the_run        constant uuid := (document->>'run_id')::uuid;
    desk_now       constant timestamptz := (document->>'now')::timestamptz;
    is_over        constant boolean := jsonb_typeof(document->'outcome') = 'object';
    the_tenant     text;
    the_server     text;
    deals_inserted integer := 0;
    trades_removed integer := 0;
    trades_changed integer := 0;
    cash_removed   integer := 0;
    cash_changed   integer := 0;
    is_old         boolean := false;
begin
    select a.tenant_id, a.server into the_tenant, the_server
      from mt5.trading_accounts a where a.id = the_account for no key update;
    perform from mt5.account_sync_state s
     where s.account_id = the_account and s.lease_token = (document->>'lease_token')::bigint and s.lease_run_id is not null
       for update;
    if not found then
        raise exception 'another worker holds the account' using errcode = 'P0001', constraint = 'lease_token';
    end if;

    if jsonb_array_length(document->'deals') > 0 then
        insert into mt5.deals (account_id, tenant_id, deal_ticket, revision, position_id, order_id, time_server_msc, deal_type, entry,
                               reason, symbol, volume, price, profit, commission, swap, fee, magic, comment, external_id, extra,
                               withdrawn, content_hash, first_seen_run, recorded_at)
        select the_account, the_tenant, r.deal_ticket, r.revision, r.position_id, r.order_id, r.time_server_msc, r.deal_type,
               r.entry, r.reason, r.symbol, r.volume, r.price, r.profit, r.commission, r.swap, r.fee, r.magic, r.comment,
               r.external_id, r.extra, r.withdrawn, decode(r.content_hash, 'hex'), the_run, r.recorded_at
          from jsonb_to_recordset(document->'deals') as r(
                   deal_ticket bigint, revision integer, position_id bigint, order_id bigint, time_server_msc bigint,
                   deal_type smallint, entry smallint, reason smallint, symbol text, volume numeric, price numeric,
                   profit numeric, commission numeric, swap numeric, fee numeric, magic bigint, comment text, external_id text,
                   extra jsonb, withdrawn boolean, content_hash text, recorded_at timestamptz)
        on conflict on constraint deals_pk do nothing;
        get diagnostics deals_inserted = row_count;
        -- one that lies in the span of the kept sums, or was in it before
        is_old := exists (
            select from mt5.account_sync_state s
             cross join jsonb_to_recordset(document->'deals') as r(deal_ticket bigint, revision integer, time_server_msc bigint)
             where s.account_id = the_account
               and (r.time_server_msc <= s.sums_until_msc
                    or r.revision > 1 and exists (select from mt5.deals x
                                                   where x.account_id = the_account and x.deal_ticket = r.deal_ticket
                                                     and x.time_server_msc <= s.sums_until_msc)));
    end if;

    if jsonb_array_length(document->'trades_removed') > 0 then
        delete from mt5.trades t
         where t.ctid = any (array(
                   select o.ctid
                     from jsonb_to_recordset(document->'trades_removed') as r(position_id bigint, episode integer)
                    cross join lateral (select x.ctid, x.episode from mt5.trades x
                                         where x.account_id = the_account and x.position_id between r.position_id and r.position_id
                                         order by x.position_id, x.episode) o
                    where o.episode = r.episode));
        get diagnostics trades_removed = row_count;
    end if;
    if jsonb_array_length(document->'trades') > 0 then
        insert into mt5.trades as t (
                   account_id, tenant_id, position_id, episode, id, ticket, symbol, symbol_norm, type, volume, open_volume,
                   open_price, close_price, open_time, close_time, stop_loss, take_profit, current_price, profit, swap,
                   commission, fee, realized_profit, realized_swap, net_pnl, status, comment, magic, close_reason,
                   entry_complete, identity_quality, source_trade_id, pending_polls, snapshot_msc, last_deal_msc,
                   ledger_state, updated_at)
        select the_account, the_tenant, r.position_id, r.episode, r.id, r.ticket, r.symbol, r.symbol_norm, r.type, r.volume,
               r.open_volume, r.open_price, r.close_price, r.open_time, r.close_time, r.stop_loss, r.take_profit,
               r.current_price, r.profit, r.swap, r.commission, r.fee, r.realized_profit, r.realized_swap, r.net_pnl, r.status,
               r.comment, r.magic, r.close_reason, r.entry_complete, r.identity_quality, r.source_trade_id, r.pending_polls,
               r.snapshot_msc, r.last_deal_msc, r.ledger_state, desk_now
          from jsonb_to_recordset(document->'trades') as r(
                   position_id bigint, episode integer, id uuid, ticket bigint, symbol text, symbol_norm text,
                   type mt5.trade_side, volume numeric, open_volume numeric, open_price numeric, close_price numeric,
                   open_time timestamptz, close_time timestamptz, stop_loss numeric, take_profit numeric,
                   current_price numeric, profit numeric, swap numeric, commission numeric, fee numeric,
                   realized_profit numeric, realized_swap numeric, net_pnl numeric, status mt5.trade_status, comment text,
                   magic bigint, close_reason smallint, entry_complete boolean, identity_quality mt5.identity_quality,
                   source_trade_id text, pending_polls integer, snapshot_msc bigint, last_deal_msc bigint,
                   ledger_state mt5.ledger_state)
        on conflict on constraint trades_pk do update
           set ticket = excluded.ticket, symbol = excluded.symbol, symbol_norm = excluded.symbol_norm, type = excluded.type,
               volume = excluded.volume, open_volume = excluded.open_volume, open_price = excluded.open_price,
               close_price = excluded.close_price, open_time = excluded.open_time, close_time = excluded.close_time,
               stop_loss = excluded.stop_loss, take_profit = excluded.take_profit, current_price = excluded.current_price,
               profit = excluded.profit, swap = excluded.swap, commission = excluded.commission, fee = excluded.fee,
               realized_profit = excluded.realized_profit, realized_swap = excluded.realized_swap, net_pnl = excluded.net_pnl,
               status = excluded.status, comment = excluded.comment, magic = excluded.magic,
               close_reason = excluded.close_reason, entry_complete = excluded.entry_complete,
               identity_quality = excluded.identity_quality, source_trade_id = excluded.source_trade_id,
               pending_polls = excluded.pending_polls, snapshot_msc = excluded.snapshot_msc,
               last_deal_msc = excluded.last_deal_msc, ledger_state = excluded.ledger_state, updated_at = excluded.updated_at
         where (t.ticket, t.symbol, t.symbol_norm, t.type, t.volume, t.open_volume, t.open_price, t.close_price, t.open_time,
                t.close_time, t.stop_loss, t.take_profit, t.current_price, t.profit, t.swap, t.commission, t.fee,
                t.realized_profit, t.realized_swap, t.net_pnl, t.status, t.comment, t.magic, t.close_reason, t.entry_complete,
                t.identity_quality, t.source_trade_id, t.pending_polls, t.snapshot_msc, t.last_deal_msc, t.ledger_state)
               is distinct from
               (excluded.ticket, excluded.symbol, excluded.symbol_norm, excluded.type, excluded.volume, excluded.open_volume,
                excluded.open_price, excluded.close_price, excluded.open_time, excluded.close_time, excluded.stop_loss,
                excluded.take_profit, excluded.current_price, excluded.profit, excluded.swap, excluded.commission, excluded.fee,
                excluded.realized_profit, excluded.realized_swap, excluded.net_pnl, excluded.status, excluded.comment,
                excluded.magic, excluded.close_reason, excluded.entry_complete, excluded.identity_quality,
                excluded.source_trade_id, excluded.pending_polls, excluded.snapshot_msc, excluded.last_deal_msc,
                excluded.ledger_state);
        get diagnostics trades_changed = row_count;
    end if;

    if jsonb_array_length(document->'cash_removed') > 0 then
        delete from mt5.cash_operations o
         where o.account_id = the_account
           and o.deal_ticket = any (array(select k.v::bigint from jsonb_array_elements_text(document->'cash_removed') k(v)));
        get diagnostics cash_removed = row_count;
    end if;
    if jsonb_array_length(document->'cash_operations') > 0 then
        insert into mt5.cash_operations as o (account_id, tenant_id, deal_ticket, kind, amount, occurred_at, comment)
        select the_account, the_tenant, r.deal_ticket, r.kind, r.amount, r.occurred_at, r.comment
          from jsonb_to_recordset(document->'cash_operations') as r(
                   deal_ticket bigint, kind mt5.cash_kind, amount numeric, occurred_at timestamptz, comment text)
        on conflict on constraint cash_operations_pk do update
           set kind = excluded.kind, amount = excluded.amount, occurred_at = excluded.occurred_at, comment = excluded.comment
         where (o.kind, o.amount, o.occurred_at, o.comment)
               is distinct from (excluded.kind, excluded.amount, excluded.occurred_at, excluded.comment);
        get diagnostics cash_changed = row_count;
    end if;
    if jsonb_typeof(document->'cash_check') = 'object' then
        insert into mt5.cash_checks (account_id, tenant_id, checked_at, run_id, balance, expected, gap, result)
        select the_account, the_tenant, r.checked_at, the_run, r.balance, r.expected, r.gap, r.result
          from jsonb_to_record(document->'cash_check') as r(
                   checked_at timestamptz, balance numeric, expected numeric, gap numeric, result mt5.cash_result)
        on conflict on constraint cash_checks_pk do nothing;
    end if;

    if jsonb_typeof(document->'missed') = 'array' then
        delete from mt5.missed_deals m
         where m.account_id = the_account
           and not exists (select from jsonb_to_recordset(document->'missed') as r(deal_ticket bigint)
                            where r.deal_ticket = m.deal_ticket);
        insert into mt5.missed_deals as m (account_id, tenant_id, deal_ticket, first_missed_at, reads)
        select the_account, the_tenant, r.deal_ticket, r.first_missed_at, r.reads
          from jsonb_to_recordset(document->'missed') as r(deal_ticket bigint, first_missed_at timestamptz, reads integer)
        on conflict on constraint missed_deals_pk do update
           set first_missed_at = excluded.first_missed_at, reads = excluded.reads
         where (m.first_missed_at, m.reads) is distinct from (excluded.first_missed_at, excluded.reads);
    end if;
    if jsonb_array_length(document->'gaps_closed') > 0 then
        update mt5.history_gaps g set closed_at = desk_now
         where g.closed_at is null
           and g.ctid = any (array(
                   select o.ctid
                     from jsonb_to_recordset(document->'gaps_closed') as r(from_msc bigint, opened_at timestamptz)
                    cross join lateral (select x.ctid from mt5.history_gaps x
                                         where x.account_id = the_account and x.from_msc = r.from_msc and x.opened_at = r.opened_at
                                         order by x.from_msc, x.opened_at limit 1) o));
    end if;
    if jsonb_array_length(document->'gaps_opened') > 0 then
        insert into mt5.history_gaps (account_id, tenant_id, from_msc, to_msc, opened_at, cause)
        select the_account, the_tenant, r.from_msc, r.to_msc, r.opened_at, r.cause
          from jsonb_to_recordset(document->'gaps_opened') as r(
                   from_msc bigint, to_msc bigint, opened_at timestamptz, cause mt5.gap_cause)
        on conflict on constraint history_gaps_pk do nothing;
    end if;
    if jsonb_array_length(document->'symbols') > 0 then
        insert into mt5.symbols as y (server, symbol, symbol_norm, contract_size, digits, currency_profit, fetched_at)
        select the_server, r.symbol, r.symbol_norm, r.contract_size, r.digits, r.currency_profit, desk_now
          from jsonb_to_recordset(document->'symbols') as r(
                   symbol text, symbol_norm text, contract_size numeric, digits smallint, currency_profit text)
         order by r.symbol
        on conflict on constraint symbols_pk do update
           set symbol_norm = excluded.symbol_norm, contract_size = coalesce(excluded.contract_size, y.contract_size),
               digits = coalesce(excluded.digits, y.digits), fetched_at = excluded.fetched_at,
               currency_profit = coalesce(excluded.currency_profit, y.currency_profit)
         where (y.symbol_norm, y.contract_size, y.digits, y.currency_profit)
               is distinct from (excluded.symbol_norm, coalesce(excluded.contract_size, y.contract_size),
                                 coalesce(excluded.digits, y.digits), coalesce(excluded.currency_profit, y.currency_profit));
    end if;

    update mt5.trading_accounts a
       set currency = coalesce(i.currency, a.currency), currency_digits = coalesce(i.currency_digits, a.currency_digits),
           leverage = coalesce(i.leverage, a.leverage), margin_mode = coalesce(i.margin_mode, a.margin_mode),
           balance = case when r.info is null then a.balance else i.balance end,
           equity = case when r.info is null then a.equity else i.equity end,
           margin = case when r.info is null then a.margin else i.margin end,
           free_margin = case when r.info is null then a.free_margin else i.margin_free end,
           margin_level = case when r.info is null then a.margin_level else i.margin_level end,
           credit = case when r.info is null then a.credit else i.credit end,
           floating_profit = case when r.info is null then a.floating_profit else i.profit end,
           info_at = coalesce(r.info_at, a.info_at), positions_at = coalesce(r.positions_at, a.positions_at),
           last_sync_at = coalesce(r.last_sync_at, a.last_sync_at),
           last_successful_sync_at = coalesce(r.last_successful_sync_at, a.last_successful_sync_at),
           sync_failure_count = r.sync_failure_count, last_error_code = r.last_error_code,
           last_connection_error = r.last_connection_error, connection_status = r.connection_status, updated_at = desk_now
      from jsonb_to_record(document->'account') as r(
               info jsonb, info_at timestamptz, positions_at timestamptz, last_sync_at timestamptz,
               last_successful_sync_at timestamptz, sync_failure_count integer, last_error_code text,
               last_connection_error text, connection_status mt5.connection_status)
     cross join lateral jsonb_to_record(coalesce(r.info, '{}')) as i(
               balance numeric, equity numeric, margin numeric, margin_free numeric, margin_level numeric, credit numeric,
               profit numeric, leverage integer, currency text, currency_digits smallint, margin_mode smallint)
     where a.id = the_account;

    update mt5.account_sync_state s
       set next_due_at = r.next_due_at, last_deal_at = r.last_deal_at,
           history_until_msc = greatest(s.history_until_msc, r.history_until_msc), history_floor_msc = r.history_floor_msc,
           page_from_msc = r.page_from_msc, page_to_msc = r.page_to_msc, page_cursor = r.page_cursor,
           backfill_state = r.backfill_state, empty_chunks = r.empty_chunks, cash_gap_runs = r.cash_gap_runs,
           auth_failure_count = r.auth_failure_count, auth_credentials_version = r.auth_credentials_version,
           state_digest = decode(r.state_digest, 'hex'), told_rows_hash = decode(r.told_rows_hash, 'hex'),
           told_content = decode(r.told_content, 'hex'), told_count = r.told_count, told_first_msc = r.told_first_msc,
           told_last_msc = r.told_last_msc, opening_balance = r.opening_balance,
           sums_floor_msc = case when not is_old then s.sums_floor_msc end,
           sums_until_msc = case when not is_old then s.sums_until_msc end,
           sums_amount = case when not is_old then s.sums_amount end, sums_bonus = case when not is_old then s.sums_bonus end,
           sums_credit = case when not is_old then s.sums_credit end,
           opening_proven = r.opening_proven, has_open_positions = r.has_open_positions, cash_state = r.cash_state,
           last_run_id = case when is_over then the_run else s.last_run_id end,
           lease_run_id = case when is_over then null else s.lease_run_id end,
           lease_until = case when is_over then null else s.lease_until end
      from jsonb_to_record(document->'state') as r(
               next_due_at timestamptz, last_deal_at timestamptz, history_until_msc bigint, history_floor_msc bigint,
               page_from_msc bigint, page_to_msc bigint, page_cursor text, backfill_state mt5.backfill_state,
               empty_chunks integer, cash_gap_runs integer, auth_failure_count integer, auth_credentials_version integer,
               state_digest text, told_rows_hash text, told_content text, told_count integer, told_first_msc bigint,
               told_last_msc bigint, opening_balance numeric, opening_proven boolean, has_open_positions boolean,
               cash_state mt5.cash_state)
     where s.account_id = the_account;

    if is_over then
        perform mt5.log_outcomes(
            the_run, desk_now,
            jsonb_build_array(document->'outcome' || jsonb_build_object('trades_synced', trades_removed + trades_changed)),
            array[the_account]);
    end if;
    return jsonb_build_object('deals_inserted', deals_inserted, 'trades_changed', trades_removed + trades_changed,
                              'cash_changed', cash_removed + cash_changed);
end
$$;

-- Note that accounts answered what is stored already: {run_id, now, rows: [{lease_token, next_due_at, history_until_msc, and the
-- columns of mt5.log_outcomes}]} -> [account_id] of those whose lease still held; the others were not touched.
create or replace function mt5.flush_unchanged(document jsonb) returns jsonb
language plpgsql volatile set enable_seqscan to off as $$
declare
    the_run  constant uuid := (document->>'run_id')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    told     uuid[];
    held     uuid[];
begin
    told := array(select r.account_id from jsonb_to_recordset(document->'rows') as r(account_id uuid));
    perform from mt5.trading_accounts a where a.id = any (told) order by a.id for no key update;
    perform from mt5.account_sync_state s where s.account_id = any (told) order by s.account_id for update;
    held := array(
        select s.account_id
          from jsonb_to_recordset(document->'rows') as r(account_id uuid, lease_token bigint)
         cross join lateral (select x.account_id, x.lease_token, x.lease_run_id from mt5.account_sync_state x
                              where x.account_id = r.account_id order by x.account_id limit 1) s
         where s.lease_token = r.lease_token and s.lease_run_id is not null
         order by s.account_id);
    update mt5.account_sync_state s
       set next_due_at = r.next_due_at, history_until_msc = greatest(s.history_until_msc, r.history_until_msc),
           last_run_id = the_run, lease_run_id = null, lease_until = null
      from jsonb_to_recordset(document->'rows') as r(account_id uuid, next_due_at timestamptz, history_until_msc bigint)
     where s.account_id = r.account_id and s.account_id = any (held);
    update mt5.trading_accounts a
       set info_at = r.completed_at, positions_at = r.completed_at, last_sync_at = r.completed_at,
           last_successful_sync_at = r.completed_at, sync_failure_count = 0, last_error_code = null,
           last_connection_error = null, connection_status = 'connected', updated_at = desk_now
      from jsonb_to_recordset(document->'rows') as r(account_id uuid, completed_at timestamptz)
     where a.id = r.account_id and a.id = any (held);
    perform mt5.log_outcomes(the_run, desk_now, document->'rows', held);
    return to_jsonb(held);
end
$$;

grant execute on function mt5.check_sums(jsonb) to mt5_writer;

-- ==== 0028_tracker_annotations.sql ===================================================================================

-- A user's words about a trade: notes, tags, a strategy, and whether it is hidden. They belong to the user alone: no worker has a
-- right to them, and nobody may delete them. Sources: tracker.md 5, mt5.md 6 and law 17.
--
-- What they are about is named by what never changes: a trade's id; for a position the action that opened it, because a fill that
-- comes late may give the position another id (decision 0044).

-- Whether tags are within bounds: at most 20, each of 1 to 40 characters, none twice.
create function tracker.are_tags(tags text[]) returns boolean
language sql immutable strict as $$
    select cardinality(tags) <= 20 and coalesce(array_ndims(tags), 1) = 1
           and not exists (select from unnest(tags) as tag where tag is null or char_length(tag) not between 1 and 40)
           and cardinality(tags) = (select count(distinct tag) from unnest(tags) as tag)
$$;

create table tracker.annotations (
    tenant_id  text        not null,
    kind       text        not null,
    book_id    text        not null default '',
    subject_id uuid        not null,
    notes      text,
    tags       text[]      not null default '{}',
    strategy   text,
    hidden_at  timestamptz,
    version    integer     not null default 1,
    updated_at timestamptz not null,
    updated_by text        not null,
    constraint annotations_pk primary key (tenant_id, kind, book_id, subject_id),
    constraint annotations_kind_ck check (kind in ('position', 'ibkr_trade', 'mt5_trade')),
    constraint annotations_book_ck check ((kind = 'position') = (book_id <> '')),
    constraint annotations_notes_ck check (char_length(notes) between 1 and 10000),
    constraint annotations_tags_ck check (tracker.are_tags(tags)),
    constraint annotations_strategy_ck check (char_length(strategy) between 1 and 100),
    constraint annotations_position_ck check (kind <> 'position' or num_nonnulls(strategy, hidden_at) = 0),
    constraint annotations_version_ck check (version >= 1)
);
comment on table tracker.annotations is 'A user''s words about a trade. Written by the notes routes alone, never deleted.';
comment on column tracker.annotations.book_id is 'Of a position its book, because ids of actions leave the book out; empty otherwise.';
comment on column tracker.annotations.subject_id is 'The trade''s id; of a position its first action.';
comment on column tracker.annotations.hidden_at is 'Since when a broker''s trade is left out of lists; null: it is not.';
comment on column tracker.annotations.version is 'Rises with every change; whoever changes a row says which version was seen.';
comment on column tracker.annotations.updated_by is 'Id of the desk key.';
create index annotations_by_update on tracker.annotations (tenant_id, updated_at desc, subject_id desc);

alter table tracker.annotations enable row level security;
alter table tracker.annotations force row level security;
create policy annotations_tenant on tracker.annotations
    using (tenant_id = nullif(current_setting('fillbook.tenant_id', true), ''))
    with check (tenant_id = nullif(current_setting('fillbook.tenant_id', true), ''));

create view tracker.v_annotations with (security_invoker = true) as
    select n.tenant_id, n.kind, n.book_id, n.subject_id, n.notes, n.tags, n.strategy, n.hidden_at, n.version, n.updated_at,
           n.updated_by
      from tracker.annotations n;
comment on view tracker.v_annotations is 'A tenant''s words; they are shown where trades are.';

-- Trades that gave way to an heir are found from it: their words are shown there.
create index trades_heir_idx on ibkr.trades (merged_into) where merged_into is not null;

revoke all on all functions in schema tracker from public;
grant execute on function tracker.are_tags(text[]) to tracker_writer;
grant select on tracker.annotations, tracker.v_annotations to tracker_reader, tracker_writer;
grant insert on tracker.annotations to tracker_writer;
grant update (notes, tags, strategy, hidden_at, version, updated_at, updated_by) on tracker.annotations to tracker_writer;

-- ==== 0029_tracker_pages.sql =========================================================================================

-- Room ledger as the read API pages it: positions after a place, in the order in which they are listed.

-- The page's order to the letter, so that a page begins where the one before ended and nothing is put in order. A ticker's and the
-- open ones are few among many. What is indexed does not change while a position lives, but that it is open.
drop index ledger.positions_by_opened;
create index positions_by_opened on ledger.positions (book_id, opened_at desc, position_id desc);
create index positions_by_ticker on ledger.positions (book_id, ticker, opened_at desc, position_id desc);
create index positions_open_by_opened on ledger.positions (book_id, opened_at desc, position_id desc) where status = 'OPEN';

-- The integer that published snapshots name a position by: the last 13 hex digits of its id, which is a function of the id alone.
create function ledger.position_number(position_id uuid) returns bigint
language sql immutable strict parallel safe
return ('x' || right(replace(position_id::text, '-', ''), 13))::bit(52)::bigint;
create index positions_by_number on ledger.positions (book_id, ledger.position_number(position_id));
create view ledger.v_position_numbers as
    select p.book_id, p.position_id, ledger.position_number(p.position_id) as number from ledger.positions p;
comment on view ledger.v_position_numbers is 'Positions by the integer that published snapshots name them by.';

-- Which positions were told otherwise than at first: few, so that a booking hardly ever writes here.
create index execution_actions_corrected on ledger.execution_actions (book_id, position_id, recorded_at) where version > 1;

-- Which positions ever had an action of a reason: where these are few they are named, not walked for. Brokers tell no reason.
create index execution_actions_by_reason on ledger.execution_actions (book_id, reason, position_id) where reason is not null;

-- The keys that others refer to are the newest indexes of their tables again (decision 0012).
alter table ledger.execution_actions drop constraint execution_actions_position_fk;
alter table ledger.lots drop constraint lots_position_fk;
alter table ledger.closings drop constraint closings_action_fk;
alter table ledger.positions drop constraint positions_pk, add constraint positions_pk primary key (book_id, position_id);
alter table ledger.execution_actions drop constraint execution_actions_pk,
    add constraint execution_actions_pk primary key (book_id, action_id, version);
alter table ledger.lots add constraint lots_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.execution_actions
    add constraint execution_actions_position_fk foreign key (book_id, position_id) references ledger.positions;
alter table ledger.closings
    add constraint closings_action_fk foreign key (book_id, action_id, version) references ledger.execution_actions;

-- Whether a position stood so by T, as known at K: its outcome (pending: closed, the result not known) and what it had realized,
-- which its last action tells, and a reason, which any of them may have. Null asks nothing.
create function ledger.stood_as_of(book text, subject uuid, as_of timestamptz, known_as_of timestamptz, outcome text,
                                   min_pnl numeric, max_pnl numeric, for_reason text)
returns boolean language sql stable as $$
    select (outcome is null and min_pnl is null and max_pnl is null or coalesce((
               select (outcome is null or (l.position_quantity_after = 0 and outcome =
                           case when l.position_realized_pnl_after > 0 then 'win' when l.position_realized_pnl_after < 0 then 'loss'
                                when l.position_realized_pnl_after = 0 then 'flat' else 'pending' end))
                      and (min_pnl is null or l.position_realized_pnl_after >= min_pnl)
                      and (max_pnl is null or l.position_realized_pnl_after <= max_pnl)
                 from ledger.actions_as_of(book, as_of, known_as_of) as l
                where l.position_id = subject
                order by l.executed_at desc, l.venue_order desc, l.fill_id desc, l.leg desc limit 1), false))
           and (for_reason is null or exists (
               select from ledger.actions_as_of(book, as_of, known_as_of) as x
                where x.position_id = subject and x.reason = for_reason))
$$;
comment on function ledger.stood_as_of is 'Whether a position stood so at a moment: what only its actions tell.';
revoke all on function ledger.position_number(uuid),
    ledger.stood_as_of(text, uuid, timestamptz, timestamptz, text, numeric, numeric, text) from public;

do $$
declare
    reader text;
begin
    foreach reader in array array['ledger_reader', 'ledger_writer', 'replay_writer', 'tracker_reader', 'snapshot_reader',
                                  'notify_reader', 'replay_reader'] loop
        execute format('grant select on ledger.v_position_numbers to %I', reader);
        execute format('grant execute on function ledger.position_number(uuid), '
                       'ledger.stood_as_of(text, uuid, timestamptz, timestamptz, text, numeric, numeric, text) to %I', reader);
    end loop;
end $$;

-- a rebuild writes positions, and with them this index
grant execute on function ledger.position_number(uuid) to ledger_maintenance;

-- ==== 0030_tracker_figures.sql =======================================================================================

-- What the read API needs of other rooms for its figures: bands of scores, later versions in the order in which they became known,
-- how far the schema is, and sums of days that are over.

-- The ten points in which a score lies, as text; null for what is none.
create function ledger.score_band(score text) returns text
language sql immutable parallel safe
return case when score ~ '^[0-9]{1,3}([.][0-9]+)?$'
            then least(floor(score::numeric / 10)::integer, 9) * 10 || '-' || least(floor(score::numeric / 10)::integer, 9) * 10 + 10 end;
comment on function ledger.score_band(text) is 'Bands of ten points; the upper end belongs to the next, 100 to the last.';

create view ledger.v_corrections as
    select book_id, tenant_id, action_id, version, state, known_from, cause, position_id, ticker, direction, action_type, quantity,
           price, realized_pnl, currency
      from ledger.v_action_history where version > 1;
comment on view ledger.v_corrections is 'Later versions of actions: corrections, knock-on changes and busts.';
create index execution_actions_corrections on ledger.execution_actions (book_id, recorded_at desc) where version > 1;

-- The table is the migrations' own, so that a schema without it says that nothing was applied.
create function ops.applied_migration() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    found text;
begin
    if to_regclass('ops.migration_version') is not null then
        execute 'select max(version_num) from ops.migration_version' into found;
    end if;
    return found;
end
$$;
create view ops.v_migration as select ops.applied_migration() as version;
comment on view ops.v_migration is 'The newest migration that was applied.';

do $$
declare
    reader name;
begin
    foreach reader in array array['ledger_reader', 'ledger_writer', 'replay_writer', 'tracker_reader', 'snapshot_reader',
                                  'notify_reader', 'replay_reader'] loop
        execute format('grant select on ledger.v_corrections to %I', reader);
        execute format('grant execute on function ledger.score_band(text) to %I', reader);
    end loop;
end
$$;
revoke all on function ops.applied_migration() from public;
grant usage on schema ops to tracker_reader;
grant select on ops.v_migration to tracker_reader;
grant execute on function ops.applied_migration() to tracker_reader;

-- ---- sums of days that are over ----

-- Results of long ranges are added up from days. A day's sums say what its actions said when the book was as long as the watermark;
-- whoever reads them leaves out every day that a later row touches and reads that from the actions. Nothing else depends on them:
-- without them figures are the same and take longer. ``dimension`` is the word by which a row is told apart: none, ticker,
-- direction, reason, trigger_reason, score_band. Dates are New York's.
create table ledger.result_books (
    book_id    text        not null,
    seq        bigint      not null,
    row_hash   bytea       not null,
    carried_at timestamptz not null,
    constraint result_books_pk primary key (book_id),
    constraint result_books_book_fk foreign key (book_id) references ledger.books
);
comment on table ledger.result_books is 'How far each book''s sums of days are carried, by the seal of its last action: another seal there and they count no more.';

create table ledger.result_days (
    book_id          text    not null,
    dimension        text    not null,
    day              date    not null,
    currency         text    not null,
    key              text,
    entries          bigint  not null,
    adds             bigint  not null,
    trims            bigint  not null,
    exits            bigint  not null,
    realized         numeric not null,
    unknown_realized bigint  not null,
    fees             numeric not null,
    unknown_fees     bigint  not null,
    gains            numeric not null,
    losses           numeric not null,
    unknown_parts    bigint  not null,
    wins             bigint  not null,
    defeats          bigint  not null,
    flats            bigint  not null,
    pending          bigint  not null,
    won              numeric not null,
    lost             numeric not null,
    best             numeric,
    worst            numeric,
    held_seconds     numeric not null,
    trades           bigint  not null,
    constraint result_days_key unique nulls not distinct (book_id, dimension, day, currency, key),
    constraint result_days_book_fk foreign key (book_id) references ledger.books,
    constraint result_days_dimension check (dimension in ('none', 'ticker', 'direction', 'reason', 'trigger_reason', 'score_band'))
);
comment on table ledger.result_days is 'Sums of a book''s actions by New York date: what was executed, and how the positions that it closed ended.';
comment on column ledger.result_days.trades is 'Positions that acted on the date.';
comment on column ledger.result_days.gains is 'Of closings, lot by lot; won is of positions.';

-- Take the sums of some dates of a book anew.
create function ledger.sum_days(book text, the_days date[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    delete from ledger.result_days r where r.book_id = book and r.day = any(the_days);
    insert into ledger.result_days
    with acts as materialized (
        select d.day, a.action_id, a.version, a.position_id, a.ticker, a.direction, a.currency, a.executed_at, a.action_type,
               a.realized_pnl, a.fees, a.reason, a.position_realized_pnl_after as result
          from unnest(the_days) as d(day)
         cross join lateral (
               select * from ledger.execution_actions x
                where x.book_id = book and x.superseded_at is null and x.state = 'BOOKED'
                  and x.executed_at >= d.day::timestamp at time zone 'America/New_York'
                  and x.executed_at < (d.day + 1)::timestamp at time zone 'America/New_York'
                order by x.executed_at desc offset 0) as a
    ), parts as (
        select a.*, e.executed_at as opened_at, e.meta, c.gains, c.losses, c.unknown,
               row_number() over (partition by a.day, a.position_id order by a.executed_at) = 1 as is_first,
               row_number() over (partition by a.day, a.position_id, a.reason order by a.executed_at) = 1 as is_first_of_reason
          from acts a
         cross join lateral (
               select x.executed_at, x.meta from ledger.execution_actions x
                where x.book_id = book and x.position_id = a.position_id and x.superseded_at is null and x.state = 'BOOKED'
                  and x.action_type = 'ENTRY'
                order by x.executed_at limit 1) as e
          left join lateral (
               select sum(v.realized_pnl) filter (where v.realized_pnl > 0) as gains,
                      sum(v.realized_pnl) filter (where v.realized_pnl < 0) as losses,
                      count(*) filter (where v.realized_pnl is null) as unknown
                 from ledger.closings v
                where v.book_id = book and v.action_id = a.action_id and v.version = a.version) as c on true
    )
    select book, w.dimension, p.day, p.currency, w.key,
           count(*) filter (where action_type = 'ENTRY'), count(*) filter (where action_type = 'ADD_ENTRY'),
           count(*) filter (where action_type = 'TRIM'), count(*) filter (where action_type = 'EXIT'),
           coalesce(sum(realized_pnl), 0), count(*) filter (where action_type in ('TRIM', 'EXIT') and realized_pnl is null),
           coalesce(sum(fees), 0), count(*) filter (where fees is null),
           coalesce(sum(gains), 0), coalesce(sum(losses), 0), coalesce(sum(unknown), 0),
           count(*) filter (where action_type = 'EXIT' and result > 0), count(*) filter (where action_type = 'EXIT' and result < 0),
           count(*) filter (where action_type = 'EXIT' and result = 0), count(*) filter (where action_type = 'EXIT' and result is null),
           coalesce(sum(result) filter (where action_type = 'EXIT' and result > 0), 0),
           coalesce(sum(result) filter (where action_type = 'EXIT' and result < 0), 0),
           max(result) filter (where action_type = 'EXIT'), min(result) filter (where action_type = 'EXIT'),
           coalesce(sum(extract(epoch from executed_at - opened_at)) filter (where action_type = 'EXIT'), 0),
           count(*) filter (where case when w.dimension = 'reason' then is_first_of_reason else is_first end)
      from parts p
     cross join lateral (values
           ('none', null), ('ticker', p.ticker), ('direction', p.direction::text), ('reason', p.reason),
           ('trigger_reason', p.meta->>'trigger_reason'), ('score_band', ledger.score_band(p.meta->>'rank'))) as w(dimension, key)
     group by w.dimension, p.day, p.currency, w.key;
end
$$;
comment on function ledger.sum_days(text, date[]) is 'Sums of whole dates of one book, in the place of those that stood there.';

-- The dates of a book that rows after a place of its chain touch: their own, those of the versions that they replaced, and of a
-- position whose past became another one all of its dates.
create function ledger.days_since(book text, after_seq bigint) returns setof date
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with come as materialized (
        select x.action_id, x.version, x.position_id, x.executed_at from ledger.execution_actions x
         where x.book_id = book and x.seq > after_seq
    ), moved as (
        select c.executed_at from come c
        union
        select o.executed_at from come c
         cross join lateral (select x.executed_at from ledger.execution_actions x
                              where x.book_id = book and x.action_id = c.action_id and x.version < c.version offset 0) as o
         where c.version > 1
        union
        select o.executed_at
          from (select distinct t.position_id from come c
                 cross join lateral (select x.position_id from ledger.execution_actions x
                                      where x.book_id = book and x.action_id = c.action_id offset 0) as t
                 where c.version > 1) as p
         cross join lateral (select x.executed_at from ledger.execution_actions x
                              where x.book_id = book and x.position_id = p.position_id and x.superseded_at is null
                                and x.state = 'BOOKED' offset 0) as o)
    select distinct (m.executed_at at time zone 'America/New_York')::date from moved m
$$;
comment on function ledger.days_since(text, bigint) is 'New York dates whose sums are not those of the watermark any more.';

-- Carry a book's sums on to the end of its chain; answers how many dates were taken anew. Chain and seal as in v_action_seals.
create function ledger.carry_results(document jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    book    text := document->>'book_id';
    newest  record;
    carried bigint;
    touched date[];
begin
    perform pg_advisory_xact_lock(hashtext('ledger.carry_results'), hashtext(book));
    select s.seq, s.row_hash into newest from ledger.execution_actions s where s.book_id = book order by s.seq desc limit 1;
    if newest.seq is null then
        delete from ledger.result_days r where r.book_id = book;
        delete from ledger.result_books k where k.book_id = book;
        return to_jsonb(0);
    end if;
    select k.seq into carried
      from ledger.result_books k
      join ledger.execution_actions s on s.book_id = k.book_id and s.seq = k.seq and s.row_hash = k.row_hash
     where k.book_id = book;
    if carried = newest.seq then
        return to_jsonb(0);
    end if;
    if carried is null then
        delete from ledger.result_days r where r.book_id = book;
        touched := array(select distinct (x.executed_at at time zone 'America/New_York')::date from ledger.execution_actions x
                          where x.book_id = book and x.superseded_at is null and x.state = 'BOOKED');
    else
        touched := array(select ledger.days_since(book, carried));
    end if;
    perform ledger.sum_days(book, touched);
    insert into ledger.result_books (book_id, seq, row_hash, carried_at)
    values (book, newest.seq, newest.row_hash, (document->>'now')::timestamptz)
    on conflict on constraint result_books_pk
    do update set seq = excluded.seq, row_hash = excluded.row_hash, carried_at = excluded.carried_at;
    return to_jsonb(cardinality(touched));
end
$$;

create view ledger.v_result_days as select * from ledger.result_days;
create view ledger.v_result_books as
    select k.book_id, k.seq, k.carried_at
      from ledger.result_books k
      join ledger.execution_actions s on s.book_id = k.book_id and s.seq = k.seq and s.row_hash = k.row_hash;
comment on view ledger.v_result_books is 'Books whose sums of days count, with the place of the chain up to which they do.';

do $$
declare
    name text;
begin
    foreach name in array array['result_books', 'result_days'] loop
        execute format('alter table ledger.%I enable row level security', name);
        execute format('create policy %I on ledger.%I for select using (true)', name || '_read', name);
        execute format('create policy %I on ledger.%I for all to ledger_writer '
                       'using (book_id not like ''replay:%%'') with check (book_id not like ''replay:%%'')', name || '_live', name);
        execute format('create policy %I on ledger.%I for all to ledger_maintenance using (true) with check (true)',
                       name || '_maintenance', name);
        execute format('grant select, insert, update, delete on ledger.%I to ledger_writer, ledger_maintenance', name);
    end loop;
    foreach name in array array['ledger_reader', 'ledger_writer', 'tracker_reader'] loop
        execute format('grant select on ledger.v_result_days, ledger.v_result_books to %I', name);
    end loop;
end
$$;
revoke all on function ledger.sum_days(text, date[]), ledger.days_since(text, bigint), ledger.carry_results(jsonb) from public;
grant execute on function ledger.sum_days(text, date[]), ledger.days_since(text, bigint), ledger.carry_results(jsonb)
    to ledger_writer, ledger_maintenance;
grant execute on function ledger.days_since(text, bigint) to ledger_reader, tracker_reader;

-- ==== 0031_tracker_reading.sql =======================================================================================

-- What the read API still lacked: the board's lanes themselves, in their order, pages of moves, and the delivery log by time.
-- Sources: tracker.md 4.4, 5.

create view signal.v_lanes as
    select l.place, l.key, l.title, l.stages, l.holds
      from (values
          (1, 'watching',     'Watching',     array['watch', 'setup_watch'],        'no'),
          (2, 'almost_ready', 'Almost Ready', array['flip_watch', 'just_flipped'],  'no'),
          (3, 'enter_now',    'Enter Now',    array['enter_now'],                   'open'),
          (4, 'just_entered', 'Just Entered', array['just_entered'],                'open'),
          (5, 'hold',         'Hold',         array['hold'],                        'open'),
          (6, 'trim',         'Trim',         array['trim'],                        'open'),
          (7, 'exit',         'Exit',         array['exit'],                        'closed'),
          (8, 'archived',     'Archived',     array['archive'],                     'no')
      ) as l(place, key, title, stages, holds);
comment on view signal.v_lanes is 'The board''s columns in their order: a new lane is a line here. holds: what the rules leave there, no position, an open one, or one that this receipt closed.';

create view signal.v_moves as
    select h.book_id, h.ticker, h.seq, h.from_lane, h.lane, h.rule, h.reason, h.badges, h.blocks, h.price, h.score, h.entered_at,
           h.receipt_id, h.action_ids,
           (select n.entered_at from signal.lane_history n
             where n.book_id = h.book_id and n.ticker = h.ticker and n.seq > h.seq order by n.seq limit 1) as left_at
      from signal.lane_history h;
comment on view signal.v_moves is 'As v_lane_moves, for pages: the end of a move is looked up, so that no book is read whole for some of its moves.';

-- A receipt moves one ticker once, so that (entered_at, receipt_id) is a place in a book's moves.
create index lane_history_page on signal.lane_history (book_id, entered_at, receipt_id);
drop index signal.lane_history_by_time;

-- The delivery log in two halves, so that it can be walked along its time: v_delivery_log begins with the subject.
create view notify.v_attempts as
    select attempt_id, channel_id, operation, started_at, finished_at, http_status, discord_code, retry_after_seconds, message_id,
           error, response_excerpt
      from notify.attempts;
comment on view notify.v_attempts is 'Every request to Discord.';
create view notify.v_attempt_subjects as
    select s.attempt_id, s.channel_id, s.subject_key, m.subject_kind, m.book_id, m.action_id, m.position_id
      from notify.attempt_subjects s join notify.messages m on m.channel_id = s.channel_id and m.subject_key = s.subject_key;
comment on view notify.v_attempt_subjects is 'Which subjects a request carried.';
-- Keys of messages are compared byte by byte, and so must be whoever looks for a message's requests.
create index attempt_subjects_by_subject on notify.attempt_subjects (channel_id, subject_key collate "C");
create index messages_by_position on notify.messages (position_id) where position_id is not null;

grant select on notify.v_attempts, notify.v_attempt_subjects to notify_reader, tracker_reader, desk_operator;
grant select on signal.v_lanes, signal.v_moves to signal_reader, tracker_reader, desk_operator;

-- ==== 0032_tracker_stamps.sql ========================================================================================

-- Has anything changed since an answer was read? Each room says so in one text that differs after every change of what it shows:
-- made of the transactions (xmin) that wrote the newest rows of its tables, found through indexes, so that it costs a handful of
-- pages whatever the size. A row's writer is told anew by every update, a row that comes late enters the newest ones, and nothing
-- depends on clocks that may stand still or be set back but the choice of which rows are the newest. What is numbered anyway (the
-- sequence of a book, the version of a ticker, of words, of an account) is asked by its number and needs no view here.
-- Sources: tracker.md 2; decision 0046.

create index audits_newest on ledger.audits (ran_at desc);
create index reconciliations_newest on ledger.reconciliations (recorded_at desc);
create index breaks_newest on ledger.breaks (updated_at desc);
create index chain_anchors_newest on ledger.chain_anchors (recorded_at desc);
create index publications_newest on metrics.publications (seq desc);

create view ledger.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, a.xmin::text as writer from (select xmin from ledger.audits order by ran_at desc limit 50) a)
            union all
            (select 2, r.xmin::text from (select xmin from ledger.reconciliations order by recorded_at desc limit 50) r)
            union all
            (select 3, b.xmin::text from (select xmin from ledger.breaks order by updated_at desc limit 50) b)
            union all
            (select 4, c.xmin::text from (select xmin from ledger.chain_anchors order by recorded_at desc limit 50) c)) n;
comment on view ledger.v_stamp is 'Differs after every audit, comparison, break and anchor; bookings have the sequence of their book.';

create view ibkr.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, xmin::text as writer from ibkr.accounts)
            union all
            (select 2, xmin::text from ibkr.sync_cursors)
            union all
            (select 3, r.xmin::text from (select xmin from ibkr.sync_runs order by started_at desc limit 50) r)
            union all
            (select 4, t.xmin::text
               from (select xmin from ibkr.trades order by coalesce(last_executed_at, fetched_at) desc, id desc limit 50) t)) n;
comment on view ibkr.v_stamp is 'Differs after every run; while one goes on, at the latest when it ends.';

create view notify.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, xmin::text as writer from notify.channels)
            union all
            (select 2, a.xmin::text from (select xmin from notify.attempts order by started_at desc, attempt_id limit 50) a)
            union all
            (select 3, r.xmin::text from (select xmin from notify.reconcile_runs order by queued_at desc, run_id limit 50) r)
            union all
            (select 4, m.xmin::text
               from notify.channels c
              cross join unnest(array['pending', 'sending', 'ambiguous', 'dead']) as s(state)
              cross join lateral (select o.xmin from notify.messages o
                                   where o.channel_id = c.channel_id and o.state = s.state
                                     and o.state in ('pending', 'sending', 'ambiguous', 'dead')
                                   order by o.pending_since desc limit 25) m)) n;
comment on view notify.v_stamp is 'Differs after every request, run and decision of a person; what is wanted anew waits, and is seen waiting.';

create view metrics.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, xmin::text as writer from metrics.metrics_daily)
            union all
            (select 2, p.xmin::text from (select xmin from metrics.publications order by seq desc limit 50) p)) n;
comment on view metrics.v_stamp is 'Differs after every publication; there is one published row a day.';

create view replay.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, r.xmin::text as writer
               from (select xmin from replay.run_records order by created_at desc, run_id desc limit 50) r)
            union all
            (select 2, w.xmin::text
               from (select xmin from replay.run_records
                      where status in ('planned', 'running') order by created_at desc, run_id desc limit 50) w)
            union all
            (select 3, c.xmin::text
               from (select xmin from replay.comparisons order by recorded_at desc, comparison_id desc limit 50) c)) n;
comment on view replay.v_stamp is 'Differs with every bucket of a run and every comparison.';

create view outbox.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, e.xmin::text as writer from (select xmin from outbox.events order by id desc limit 50) e)
            union all
            (select 2, p.xmin::text
               from (select xmin from outbox.events where parked_at is not null order by parked_at desc limit 50) p)
            union all
            (select 3, i.xmin::text from (select xmin from outbox.inbox order by received_at desc limit 50) i)) n;
comment on view outbox.v_stamp is 'Differs after every event that is written, given up, or taken in by a consumer.';

create or replace view signal.v_freshness as
    select book_id, ticker, last_ts, newest_ts, last_receipt_id, updated_at, version from signal.ticker_states;

-- An account is read at the desk's own time, which may stand still between two runs; who wrote its rows is always another.
create or replace view mt5.v_account_states with (security_invoker = true) as
    select a.id as account_id, a.tenant_id, a.book_id, a.is_active, a.connection_status, a.sync_failure_count,
           a.last_successful_sync_at, case when isfinite(s.next_due_at) then s.next_due_at end as next_due_at, a.updated_at,
           a.xmin::text || '.' || s.xmin::text as writers
      from mt5.trading_accounts a join mt5.account_sync_state s on s.account_id = a.id;

grant select on ledger.v_stamp to ledger_reader;
grant select on ibkr.v_stamp to ibkr_reader;
grant select on notify.v_stamp to notify_reader;
grant select on metrics.v_stamp to snapshot_reader, tracker_reader;
grant select on replay.v_stamp to replay_reader, tracker_reader;
grant select on outbox.v_stamp to outbox_reader;

-- ==== 0033_snapshot_torn.sql =========================================================================================

-- A day that was left in parts says so, until it is published whole. Source: snapshot specification, 4.7; decision 0050.

alter table metrics.publications add column is_torn boolean not null default false;
comment on column metrics.publications.is_torn is
    'Past the API its readers may have been left parts of this day beside parts of another: a database that is no transaction, or nobody could look.';
create index publications_in_parts on metrics.publications (report_date, seq) where is_torn or status = 'sending';

create or replace view metrics.v_publications as
    select run_id, report_date, seq, slot, stage, trigger, scheduled_at, started_at, finished_at, status, target, content_sha256,
           version, updated_at, counts, dropped, phase_ms, attempts, http_status, remote_request_id, verified, forced, reason, actor,
           detail, problems, guards, watermark, is_torn
      from metrics.publications;

-- ==== 0034_tracker_worth.sql =========================================================================================

-- What a book was worth when its sessions closed, taken at night, and sums of months beside those of days: what the read API shows
-- of long ranges is read, not worked out. Both say the same with and without them. Sources: tracker.md 4.2, 4.3, 12; decision 0052.

-- ---- executions of one ticker, newest first ----

create index execution_actions_by_ticker on ledger.execution_actions (book_id, ticker, executed_at desc, action_id)
    where superseded_at is null and state = 'BOOKED';
-- the key that others refer to is the newest index of its table again (decision 0012)
alter table ledger.closings drop constraint closings_action_fk;
alter table ledger.execution_actions drop constraint execution_actions_pk,
    add constraint execution_actions_pk primary key (book_id, action_id, version);
alter table ledger.closings
    add constraint closings_action_fk foreign key (book_id, action_id, version) references ledger.execution_actions;

-- ---- sums of months ----

create table ledger.result_months (like ledger.result_days);
alter table ledger.result_months
    add constraint result_months_key unique nulls not distinct (book_id, dimension, day, currency, key),
    add constraint result_months_book_fk foreign key (book_id) references ledger.books,
    add constraint result_months_day check (extract(day from day) = 1);
comment on table ledger.result_months is 'What the kept days of a calendar month add up to; day is its first.';
create view ledger.v_result_months as select * from ledger.result_months;

-- Take the months of some dates anew: what their kept days add up to.
create function ledger.sum_months(book text, the_days date[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    months date[] := array(select distinct date_trunc('month', d)::date from unnest(the_days) as d);
begin
    delete from ledger.result_months r where r.book_id = book and r.day = any(months);
    insert into ledger.result_months
    select book, r.dimension, m.month, r.currency, r.key, sum(r.entries), sum(r.adds), sum(r.trims), sum(r.exits), sum(r.realized),
           sum(r.unknown_realized), sum(r.fees), sum(r.unknown_fees), sum(r.gains), sum(r.losses), sum(r.unknown_parts), sum(r.wins),
           sum(r.defeats), sum(r.flats), sum(r.pending), sum(r.won), sum(r.lost), max(r.best), min(r.worst), sum(r.held_seconds),
           sum(r.trades)
      from unnest(months) as m(month)
      join ledger.result_days r
        on r.book_id = book and r.day >= m.month and r.day < (m.month + interval '1 month')::date
     group by m.month, r.dimension, r.currency, r.key;
end
$$;
comment on function ledger.sum_months(text, date[]) is 'Sums of the months of some dates, in the place of those that stood there.';

-- ---- what books were worth ----

-- What the open positions of some books were worth at some moments, per moment and currency: held by ``held_at`` (included), valued
-- at the last mark before ``valued_at``, which within a session is the instant after the one asked for. outlay: the cash that stands in them, in one that is paid in full its basis, else its fees.
-- lacks_<what>: of how many it is not known. Moments are given with their book and a number of the asker's; a position is looked
-- at for those moments alone at which it was held, told by their order. What was held is the lots as they stand where nothing
-- happened since, else Σ lots − Σ their closings by then. Readers and the nightly chore ask here, so that they cannot disagree.
create function ledger.worth_at(asked_books text[], asked_ns integer[], asked_held timestamptz[], asked_valued timestamptz[])
returns table (n integer, book_id text, currency text, open_positions bigint, unrealized numeric, lacks_unrealized bigint, net numeric,
               gross numeric, lacks_worth bigint, outlay numeric, lacks_outlay bigint, stale bigint, missing_marks text[])
language sql stable as $$
    with asked as (
        select x.book_id, array_agg(x.n order by x.held_at, x.n) as ns, array_agg(x.held_at order by x.held_at, x.n) as held_ats,
               array_agg(x.valued_at order by x.held_at, x.n) as valued_ats, min(x.held_at) as first_at, max(x.held_at) as last_at
          from unnest(asked_books, asked_ns, asked_held, asked_valued) as x(book_id, n, held_at, valued_at)
         group by x.book_id
    ), split as materialized (
        select distinct j.book_id, j.instrument from asked a join ledger.v_split_history j on j.book_id = a.book_id
    )
    select w.n, w.book_id, w.currency, count(*), coalesce(sum(w.unrealized), 0), count(*) filter (where w.unrealized is null),
           coalesce(sum(w.sign * w.worth), 0), coalesce(sum(abs(w.worth)), 0), count(*) filter (where w.worth is null),
           coalesce(sum(w.outlay), 0), count(*) filter (where w.outlay is null), count(*) filter (where w.is_stale),
           coalesce(array_agg(distinct w.symbol order by w.symbol) filter (where w.price is null), '{}')
      from (select m.n, p.book_id, p.currency, p.symbol, k.price, k.as_of < m.valued_at - interval '15 minutes 1 microsecond' as is_stale, s.sign,
                   k.price * h.quantity * p.multiplier as worth,
                   s.sign * (k.price * h.quantity * p.multiplier - h.basis) as unrealized,
                   case when p.cash_style = 'full' then s.sign * h.basis else h.fees end as outlay
              from asked a
             cross join lateral (
                   (select * from ledger.v_positions q
                     where q.book_id = a.book_id and q.status = 'OPEN' and q.opened_at <= a.last_at
                     order by q.instrument_id, q.direction offset 0)
                   union all
                   (select * from ledger.v_positions q
                     where q.book_id = a.book_id and q.status = 'CLOSED' and q.closed_at > a.first_at and q.opened_at <= a.last_at
                       and width_bucket(q.opened_at - interval '1 microsecond', a.held_ats)
                           < width_bucket(q.closed_at - interval '1 microsecond', a.held_ats)
                     order by q.closed_at, q.opened_at offset 0)) as p
             cross join lateral generate_series(
                   width_bucket(p.opened_at - interval '1 microsecond', a.held_ats) + 1,
                   coalesce(width_bucket(p.closed_at - interval '1 microsecond', a.held_ats), cardinality(a.held_ats))) as i
             cross join lateral (select a.ns[i] as n, a.held_ats[i] as held_at, a.valued_ats[i] as valued_at) as m
             cross join lateral (
                   select case p.direction when 'LONG' then 1 else -1 end as sign,
                          p.status = 'OPEN' and p.last_action_at <= m.held_at as is_still,
                          (p.book_id, p.instrument_id) in (select * from split) as is_split) as s
             cross join lateral (
                   select p.quantity_open as quantity, p.cost_basis as basis, null::numeric as fees
                    where s.is_still and p.quantity_closed = 0 and p.cash_style = 'full'
                   union all
                   select sum(l.held), case when bool_and(l.cost_basis is not null) then sum(l.cost_basis * l.held / l.quantity) end,
                          case when bool_and(l.fees is not null) then sum(l.fees * l.held / l.quantity) end
                     from ((select o.quantity, o.cost_basis, o.fees, o.quantity_open as held
                              from ledger.v_lots o
                             where s.is_still and o.book_id = p.book_id and o.position_id = p.position_id and o.quantity_open > 0
                             offset 0)
                           union all
                           (select o.quantity, o.cost_basis, o.fees, o.quantity - coalesce(c.quantity, 0)
                              from ledger.v_lots o
                              left join lateral (
                                    select sum(v.quantity) as quantity from ledger.v_closings v
                                     where v.book_id = o.book_id and v.lot_id = o.lot_id and v.executed_at <= m.held_at offset 0) as c on true
                             where not s.is_still and o.book_id = p.book_id and o.position_id = p.position_id
                               and o.opened_at <= m.held_at
                             offset 0)) as l
                    where l.held > 0 and not (s.is_still and p.quantity_closed = 0 and p.cash_style = 'full')) as h
              left join lateral (
                   (select v.price, v.marked_at as as_of from ledger.v_mark_history v
                     where not s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at and v.marked_at < m.valued_at
                     order by v.bucket_at desc limit 1)
                   union all
                   (select v.price, v.as_of from ledger.v_marks v
                     where s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at and v.as_of < m.valued_at
                     order by v.bucket_at desc limit 1)) as k on true
             where h.quantity > 0) as w
     group by w.n, w.book_id, w.currency
$$;
comment on function ledger.worth_at is 'What the open positions of some books were worth at some moments, per moment and currency.';

-- A session's day of a book: what its open positions had gained at the marks of its close, held by the close and by the day's end. A
-- day stands here whole or not at all, so that each has a row, if of nothing in the currency in which the book counts. A row counts while the
-- book's sums do, no later row touches its date or one before it, and no split came: whoever reads it leaves it out otherwise.
-- A mark that comes late, or goes, takes the days with it that it was a part of.
create table ledger.worth_days (
    book_id          text        not null,
    day              date        not null,
    currency         text        not null,
    held_at          timestamptz not null,
    valued_at        timestamptz not null,
    open_positions   bigint      not null,
    unrealized       numeric     not null,
    lacks_unrealized bigint      not null,
    stale            bigint      not null,
    constraint worth_days_pk primary key (book_id, day, held_at, currency),
    constraint worth_days_book_fk foreign key (book_id) references ledger.books
);
comment on table ledger.worth_days is 'What the positions of a book had gained at the close of each session, by currency.';
create view ledger.v_worth_days as select * from ledger.worth_days;

alter table ledger.result_books add column split_seq bigint not null default 0;
comment on column ledger.result_books.split_seq is 'The newest split that the kept worth of days knows of.';

create or replace view ledger.v_result_books as
    select k.book_id, k.seq, k.carried_at,
           k.split_seq = coalesce((select max(j.seq) from ledger.adjustments j where j.book_id = k.book_id), 0) as has_worth
      from ledger.result_books k
      join ledger.execution_actions s on s.book_id = k.book_id and s.seq = k.seq and s.row_hash = k.row_hash;
comment on view ledger.v_result_books is 'Books whose sums of days count, with the place of the chain up to which they do, and whether their worth does.';

-- As days_since, of the rows up to a place.
create function ledger.days_between(book text, after_seq bigint, until_seq bigint) returns setof date
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with come as materialized (
        select x.action_id, x.version, x.position_id, x.executed_at from ledger.execution_actions x
         where x.book_id = book and x.seq > after_seq and x.seq <= until_seq
    ), moved as (
        select c.executed_at from come c
        union
        select o.executed_at from come c
         cross join lateral (select x.executed_at from ledger.execution_actions x
                              where x.book_id = book and x.action_id = c.action_id and x.version < c.version offset 0) as o
         where c.version > 1
        union
        select o.executed_at
          from (select distinct t.position_id from come c
                 cross join lateral (select x.position_id from ledger.execution_actions x
                                      where x.book_id = book and x.action_id = c.action_id offset 0) as t
                 where c.version > 1) as p
         cross join lateral (select x.executed_at from ledger.execution_actions x
                              where x.book_id = book and x.position_id = p.position_id and x.superseded_at is null
                                and x.state = 'BOOKED' offset 0) as o)
    select distinct (m.executed_at at time zone 'America/New_York')::date from moved m
$$;
comment on function ledger.days_between(text, bigint, bigint) is 'New York dates whose sums became others between two places of the chain.';
create or replace function ledger.days_since(book text, after_seq bigint) returns setof date
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select ledger.days_between(book, after_seq, 9223372036854775807)
$$;

-- Carry a book's sums on along its chain, {book_id, now, rows_max}, by so many rows of it; answers how many dates were taken anew
-- and whether that was the end. A date is summed up as it stands: one that a later row touches is left out by readers until its
-- row is come to. Chain and seal as in v_action_seals. What days were worth goes as far as it may have become another:
-- carry_worth takes it anew.
create or replace function ledger.carry_results(document jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    book    text := document->>'book_id';
    last    record;
    newest  record;
    known   record;
    split   bigint;
    touched date[];
begin
    perform pg_advisory_xact_lock(hashtext('ledger.carry_results'), hashtext(book));
    select s.seq, s.row_hash into last from ledger.execution_actions s where s.book_id = book order by s.seq desc limit 1;
    select coalesce(max(j.seq), 0) into split from ledger.adjustments j where j.book_id = book;
    select k.seq, k.split_seq into known
      from ledger.result_books k
      join ledger.execution_actions s on s.book_id = k.book_id and s.seq = k.seq and s.row_hash = k.row_hash
     where k.book_id = book;
    if last.seq is null or known.seq is null then
        delete from ledger.worth_days w where w.book_id = book;
        delete from ledger.result_months r where r.book_id = book;
        delete from ledger.result_days r where r.book_id = book;
        delete from ledger.result_books k where k.book_id = book;
        if last.seq is null then
            return '{"dates": 0, "is_whole": true}';
        end if;
    end if;
    select s.seq, s.row_hash into newest
      from ledger.execution_actions s
     where s.book_id = book and s.seq > coalesce(known.seq, 0)
     order by s.seq offset (document->>'rows_max')::bigint - 1 limit 1;
    if newest.seq is null then
        newest := last;
    end if;
    touched := array(select ledger.days_between(book, coalesce(known.seq, 0), newest.seq));
    if known.split_seq = split then
        delete from ledger.worth_days w where w.book_id = book and w.day >= (select min(d) from unnest(touched) as d);
    else
        delete from ledger.worth_days w where w.book_id = book;
    end if;
    if cardinality(touched) > 0 then
        perform ledger.sum_days(book, touched);
        perform ledger.sum_months(book, touched);
    end if;
    insert into ledger.result_books (book_id, seq, row_hash, carried_at, split_seq)
    values (book, newest.seq, newest.row_hash, (document->>'now')::timestamptz, split)
    on conflict on constraint result_books_pk
    do update set seq = excluded.seq, row_hash = excluded.row_hash, carried_at = excluded.carried_at, split_seq = excluded.split_seq
     where (result_books.seq, result_books.row_hash, result_books.split_seq) <> (excluded.seq, excluded.row_hash, excluded.split_seq);
    return jsonb_build_object('dates', cardinality(touched), 'is_whole', newest.seq = last.seq);
end
$$;

-- Marks of a book and its kept worth go one after the other: whoever keeps marks waits until a page of days is taken, and then sees it.
create function ledger.lock_worth(book text, is_shared boolean) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
    select case when is_shared then pg_advisory_xact_lock_shared(hashtext('ledger.worth_days'), hashtext(book))
                else pg_advisory_xact_lock(hashtext('ledger.worth_days'), hashtext(book)) end
$$;

-- Take the worth of some days of a book at moments of theirs: {book_id, moments: [{day, held_at, valued_at}]} -> how many. A few at
-- a time: marks wait.
create function ledger.carry_worth(document jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    book text := document->>'book_id';
    days date[];
    helds timestamptz[];
    valueds timestamptz[];
begin
    perform ledger.lock_worth(book, false);
    select array_agg(d.day order by d.held_at), array_agg(d.held_at order by d.held_at), array_agg(d.valued_at order by d.held_at)
      into days, helds, valueds
      from jsonb_to_recordset(document->'moments') as d(day date, held_at timestamptz, valued_at timestamptz);
    delete from ledger.worth_days w where w.book_id = book and w.day = any(days);
    insert into ledger.worth_days (book_id, day, currency, held_at, valued_at, open_positions, unrealized, lacks_unrealized, stale)
    select book, days[i], coalesce(w.currency, b.base_currency), helds[i], valueds[i], coalesce(w.open_positions, 0),
           coalesce(w.unrealized, 0), coalesce(w.lacks_unrealized, 0), coalesce(w.stale, 0)
      from ledger.books b
     cross join generate_subscripts(days, 1) as i
      left join ledger.worth_at(array_fill(book, array[cardinality(days)]), array(select generate_subscripts(days, 1)), helds, valueds) as w
        on w.n = i
     where b.book_id = book;
    return to_jsonb(cardinality(days));
end
$$;

-- {book_id, now, marks: [{instrument, price, bid, ask, marked_at, source}]}: one row per 5-minute bucket, later marked_at wins.
-- One that comes after the days were taken that it is a part of takes them away again.
create or replace function ledger.mark(document jsonb) returns jsonb language plpgsql volatile as $$
declare
    book constant text := document->>'book_id';
    is_kept boolean;
begin
    if book not like 'replay:%' then
        perform ledger.lock_worth(book, true);
    end if;
    insert into ledger.marks as m (book_id, instrument, bucket_at, price, bid, ask, marked_at, recorded_at, source)
    select distinct on (r.instrument, bucket_at)
           book, r.instrument,
           to_timestamp(floor(extract(epoch from r.marked_at) / 300) * 300) as bucket_at,
           r.price, r.bid, r.ask, r.marked_at, (document->>'now')::timestamptz, r.source
      from jsonb_to_recordset(document->'marks') as r(instrument text, price numeric, bid numeric, ask numeric,
                                                      marked_at timestamptz, source text)
     order by r.instrument, bucket_at, r.marked_at desc
    on conflict on constraint marks_pk do update
       set (price, bid, ask, marked_at, recorded_at, source)
         = (excluded.price, excluded.bid, excluded.ask, excluded.marked_at, excluded.recorded_at, excluded.source)
     where excluded.marked_at > m.marked_at;
    is_kept := found;
    if is_kept and book not like 'replay:%' then
        delete from ledger.worth_days w
         using (select min(r.marked_at) as first_at
                  from jsonb_to_recordset(document->'marks') as r(marked_at timestamptz)) as came
         where w.book_id = book and w.day >= (came.first_at at time zone 'America/New_York')::date and w.valued_at > came.first_at;
    end if;
    return to_jsonb(is_kept);
end $$;

-- Marks are input and may expire: {before, rows_max} -> deleted rows. Security definer: writers are not granted DELETE, and
-- no clock set ahead deletes what is younger than 700 days of real time. A mark was a part of the days until the next one of its
-- instrument, as long as that was held.
create or replace function ledger.purge_marks(document jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    deleted bigint;
begin
    with gone as (
        delete from ledger.marks m where (m.book_id, m.instrument, m.bucket_at) in (
            select x.book_id, x.instrument, x.bucket_at from ledger.marks x
             where x.bucket_at < least((document->>'before')::timestamptz, clock_timestamp() - interval '700 days')
             limit (document->>'rows_max')::integer)
        returning m.book_id, m.instrument, m.bucket_at
    ), held as (
        select p.book_id, p.instrument, max(coalesce(p.closed_at, 'infinity')) as until
          from ledger.positions p
         where (p.book_id, p.instrument) in (select g.book_id, g.instrument from gone g)
         group by p.book_id, p.instrument
    ), parts as (
        select g.book_id, min(g.bucket_at) as since, max(least(h.until, n.bucket_at)) + interval '5 minutes' as until
          from gone g
          join held h on h.book_id = g.book_id and h.instrument = g.instrument and h.until > g.bucket_at
          left join lateral (
               select x.bucket_at from ledger.marks x
                where x.book_id = g.book_id and x.instrument = g.instrument and x.bucket_at > g.bucket_at
                order by x.bucket_at limit 1) as n on true
         group by g.book_id
    ), unkept as (
        delete from ledger.worth_days w using parts p
         where w.book_id = p.book_id and w.valued_at > p.since and w.valued_at <= p.until
    )
    select count(*) into deleted from gone;
    return to_jsonb(deleted);
end $$;

do $$
declare
    name text;
begin
    foreach name in array array['result_months', 'worth_days'] loop
        execute format('alter table ledger.%I enable row level security', name);
        execute format('create policy %I on ledger.%I for select using (true)', name || '_read', name);
        execute format('create policy %I on ledger.%I for all to ledger_writer '
                       'using (book_id not like ''replay:%%'') with check (book_id not like ''replay:%%'')', name || '_live', name);
        execute format('create policy %I on ledger.%I for all to ledger_maintenance using (true) with check (true)',
                       name || '_maintenance', name);
        execute format('grant select, insert, update, delete on ledger.%I to ledger_writer, ledger_maintenance', name);
    end loop;
    foreach name in array array['ledger_reader', 'ledger_writer', 'tracker_reader'] loop
        execute format('grant select on ledger.v_result_months, ledger.v_worth_days to %I', name);
        execute format('grant execute on function ledger.worth_at(text[], integer[], timestamptz[], timestamptz[]) to %I', name);
    end loop;
end
$$;
revoke all on function ledger.sum_months(text, date[]), ledger.lock_worth(text, boolean), ledger.carry_worth(jsonb),
    ledger.worth_at(text[], integer[], timestamptz[], timestamptz[]) from public;
revoke all on function ledger.days_between(text, bigint, bigint) from public;
grant execute on function ledger.days_between(text, bigint, bigint) to ledger_writer, ledger_maintenance, ledger_reader, tracker_reader;
grant execute on function ledger.sum_months(text, date[]), ledger.carry_worth(jsonb) to ledger_writer, ledger_maintenance;
grant execute on function ledger.worth_at(text[], integer[], timestamptz[], timestamptz[]) to ledger_maintenance;
grant execute on function ledger.lock_worth(text, boolean) to ledger_writer, replay_writer, ledger_maintenance;

-- ==== 0036_tracker_changes.sql =======================================================================================

-- Has anything changed since an answer was read? Each room that is asked keeps a small board: every statement that changes what the
-- room shows writes on a row of it that is free, and the stamp is made of the transactions (xmin) that wrote on its rows last.
--
-- So any row's change is seen, new or old, however far behind the newest, as soon as it is committed and not before; no clock and
-- no number that is drawn before the commit takes part. A row that another transaction holds is passed over, so that nobody waits
-- for anybody and no two can wait for each other; where all are held there is one more, so that a board has as many rows as there
-- ever were writers at once. A statement that happens to change nothing is told too: then an answer is read again in vain.
-- Before, the newest fifty rows of each table were looked at. Sources: tracker.md 2; decisions 0046 and 0055.

do $do$
declare
    rooms constant text[] := '{ledger, ibkr, notify, metrics, replay}';
    room text;
begin
    foreach room in array rooms loop
        execute format($sql$
            create table %1$I.changes (
                slot   integer not null generated always as identity,
                writer xid8    not null default pg_current_xact_id(),
                constraint changes_pk primary key (slot)
            ) with (fillfactor = 20)$sql$, room);
        execute format($sql$comment on table %1$I.changes is 'Who changed what the room shows: each row was written on last by some transaction.'$sql$, room);
        execute format($sql$insert into %1$I.changes select from generate_series(1, 8)$sql$, room);
        execute format($sql$
            create function %1$I.note_change() returns trigger
            language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
            begin
                -- under another isolation a row that was written on meanwhile is no failure of the writer's: it takes a new one
                if current_setting('transaction_isolation') = 'read committed' then
                    update %1$I.changes c set writer = pg_current_xact_id()
                     where c.slot = (select f.slot from %1$I.changes f order by f.slot limit 1 for update skip locked);
                    if found then
                        return null;
                    end if;
                end if;
                insert into %1$I.changes default values;
                return null;
            end $$$sql$, room);
        execute format($sql$comment on function %1$I.note_change() is 'Writes on a free row of the room''s board.'$sql$, room);
        execute format($sql$
            create or replace view %1$I.v_stamp as
                select md5(coalesce(string_agg(c.xmin::text, ',' order by c.slot), '')) as stamp from %1$I.changes c$sql$, room);
    end loop;
end $do$;

comment on view ledger.v_stamp is 'Differs after every audit, comparison, break and anchor; bookings have the sequence of their book.';
comment on view ibkr.v_stamp is 'Differs after every run, and after every decision of a person about a row.';
comment on view notify.v_stamp is 'Differs after every request, run of the proof and decision of a person.';
comment on view metrics.v_stamp is 'Differs after every publication.';
comment on view replay.v_stamp is 'Differs with every bucket of a run and every comparison.';

-- Rows of ledger's tables go only with the book of a replay that begins anew, which is another book by its sequence then.
do $do$
declare
    shown constant text[] := array[
        'ledger.audits', 'ledger.reconciliations', 'ledger.breaks', 'ledger.chain_anchors',
        'ibkr.accounts', 'ibkr.account_aliases', 'ibkr.sync_runs', 'ibkr.sync_coverage', 'ibkr.sync_cursors',
        'ibkr.execution_payloads', 'ibkr.trades', 'ibkr.trade_keys', 'ibkr.trade_executions', 'ibkr.anomalies', 'ibkr.quarantine',
        'notify.channels', 'notify.messages', 'notify.attempts', 'notify.reconcile_runs', 'notify.findings',
        'metrics.metrics_daily', 'metrics.snapshot_versions', 'metrics.restatements', 'metrics.publications',
        'replay.run_records', 'replay.checkpoints', 'replay.comparisons', 'replay.divergences'];
    one text;
begin
    foreach one in array shown loop
        execute format('create trigger note_change after insert or update%s on %s for each statement execute function %I.note_change()',
                       case when one not like 'ledger.%' then ' or delete or truncate' else '' end, one, split_part(one, '.', 1));
    end loop;
end $do$;

drop index ledger.audits_newest, ledger.reconciliations_newest, ledger.breaks_newest, ledger.chain_anchors_newest;
drop index metrics.publications_newest;

-- ==== 0037_owner.sql =================================================================================================

-- Whoever owns the tables sees their rows, also where the wall is forced and the owner is no superuser: views and functions with
-- their owner's rights, materialized views and a dump read as the owner. In the cloud nobody is a superuser, and without these
-- policies a view of room mt5 would be empty there and nothing would say so. Functions never become the owner: it is granted to
-- the migration's login alone (infra/database/roles.py). A table that is walled later brings its own policy (tested).
-- Source: decision 0061.

do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'fillbook_owner') then
        create role fillbook_owner nologin createrole;
    end if;
exception when duplicate_object or unique_violation then
    null;
end
$$;

do $$
declare
    walled record;
begin
    for walled in
        select c.oid::regclass as named, c.relname
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.relforcerowsecurity
          and n.nspname = any (array['outbox', 'ledger', 'signal', 'ibkr', 'mt5', 'metrics', 'replay', 'notify', 'tracker'])
        order by n.nspname, c.relname
    loop
        execute format('create policy %I on %s to fillbook_owner using (true) with check (true)', walled.relname || '_owner',
                       walled.named);
    end loop;
end
$$;

-- What an administrator made before there was an owner was closed by that administrator's defaults; these are the owner's.
alter default privileges for role fillbook_owner revoke execute on routines from public;
alter default privileges for role fillbook_owner revoke usage on types from public;

-- ==== 0038_cost_days.sql =============================================================================================

-- What a day used and what a month of such days costs, for the page. The local cloud's meter writes it; in a cloud nobody does, and
-- the page then says that it does not know. Source: decision 0063.

create table ops.cost_days (
    day      date  not null,
    source   text  not null,
    document jsonb not null,
    constraint cost_days_pk primary key (day),
    constraint cost_days_source check (source <> ''),
    constraint cost_days_document check (jsonb_typeof(document) = 'object')
);
comment on table ops.cost_days is 'One row per counted day: what functions, messages and the database used, and its price by line.';
comment on column ops.cost_days.day is 'The date that the desk clock showed in New York while it was counted.';
comment on column ops.cost_days.source is 'Who counted.';
comment on column ops.cost_days.document is 'Counts and lines as infra/cost/report.py writes them; what was not counted is null in it.';

create view ops.v_cost_days as select day, source, document from ops.cost_days;
comment on view ops.v_cost_days is 'Counted days with their price.';

grant usage on schema ops to tracker_reader, desk_operator;
grant select on ops.v_cost_days to tracker_reader, desk_operator;
grant select, insert, update on ops.cost_days to desk_operator;

-- ==== 0039_ledger_windows.sql ========================================================================================

-- What is folded again ends at the first flat point behind the last change, so that a correction costs its own window and not
-- everything since. Source: ledger specification, 8; decision 0066.

-- {book_id, rows: [{instrument, before: [executed_at, venue_order, fill_id], until, fill_ids}], fills_max} -> what is stored
-- from the last flat point before each key on: current fills, splits, current actions with closings, their positions and lots;
-- with a key `until`, up to the first flat point at or after it, unless something is parked. VOID actions come along so that
-- their numbering goes on.
create or replace function ledger.load_history(document jsonb) returns json language plpgsql volatile as $$
declare
    book constant text := document->>'book_id';
    fills_max constant bigint := (document->>'fills_max')::bigint;
    wanted record;
    first record;
    flat record;
    last record;
    named uuid[];
    touched uuid[];
    current_fills json;
    stored json;
    held uuid[];
    answers json[] := '{}';
begin
    for wanted in
        select r.instrument, (r.before->>0)::timestamptz as executed_at, r.before->>1 as venue_order, (r.before->>2)::uuid as fill_id,
               (r.until->>0)::timestamptz as until_at, r.until->>1 as until_order, (r.until->>2)::uuid as until_fill, r.fill_ids
          from jsonb_to_recordset(document->'rows') as r(instrument text, before jsonb, until jsonb, fill_ids jsonb)
    loop
        named := array(select jsonb_array_elements_text(wanted.fill_ids)::uuid);
        -- parked facts are tried again: their keys count too
        select c.executed_at, c.venue_order, c.fill_id into first
          from ledger.parked_fills k
          join lateral (
              select f.executed_at, f.venue_order, f.fill_id from ledger.fills f
               where f.book_id = book and f.fill_id = k.fill_id
               order by f.source_revision desc, f.is_bust desc, f.version desc limit 1) as c on true
         where k.book_id = book and k.instrument = wanted.instrument
         order by c.executed_at, c.venue_order, c.fill_id limit 1;
        -- with nothing open there, what comes later is what it was; a parked fact might be booked by then and is looked for whole
        select null::timestamptz as executed_at, null::text as venue_order, null::uuid as fill_id into last;
        if first.executed_at is null and wanted.until_at is not null then
            select a.executed_at, a.venue_order, a.fill_id into last
              from ledger.execution_actions a
             where a.book_id = book and a.instrument = wanted.instrument and a.superseded_at is null and a.state = 'BOOKED'
               and (a.executed_at, a.venue_order, a.fill_id)
                   >= (wanted.until_at, wanted.until_order collate "C", wanted.until_fill)
               and a.is_flat_after
               and not exists (select from ledger.execution_actions b
                                where b.book_id = book and b.fill_id = a.fill_id and b.leg > a.leg
                                  and b.superseded_at is null and b.state = 'BOOKED')
             order by a.executed_at, a.venue_order, a.fill_id, a.leg limit 1;
        end if;
        if first.executed_at is null or (first.executed_at, first.venue_order collate "C", first.fill_id)
               >= (wanted.executed_at, wanted.venue_order collate "C",
                   coalesce(wanted.fill_id, '00000000-0000-0000-0000-000000000000')) then
            select wanted.executed_at, wanted.venue_order,
                   coalesce(wanted.fill_id, '00000000-0000-0000-0000-000000000000') as fill_id into first;
        end if;
        -- the last action before the key after which nothing was open; a fill's first leg is no point to start from
        select a.executed_at, a.venue_order, a.fill_id into flat
          from ledger.execution_actions a
         where a.book_id = book and a.instrument = wanted.instrument and a.superseded_at is null and a.state = 'BOOKED'
           and (a.executed_at, a.venue_order, a.fill_id)
             < (first.executed_at, first.venue_order collate "C", first.fill_id)
           and a.is_flat_after
           and not exists (select from ledger.execution_actions b
                            where b.book_id = book and b.fill_id = a.fill_id and b.leg > a.leg
                              and b.superseded_at is null and b.state = 'BOOKED')
         order by a.executed_at desc, a.venue_order desc, a.fill_id desc, a.leg desc limit 1;
        touched := array(
            select distinct f.fill_id from ledger.fills f
             where f.book_id = book and f.instrument = wanted.instrument
               and (flat.executed_at is null or f.executed_at >= flat.executed_at)
               and (last.executed_at is null or f.executed_at <= last.executed_at)
             limit fills_max + 1);
        if cardinality(touched) > fills_max then
            return json_build_object('too_large', wanted.instrument);
        end if;
        touched := touched || named;
        select json_agg(c order by c.executed_at, c.venue_order, c.fill_id) into current_fills
          from (select distinct on (f.fill_id) f.* from ledger.fills f
                 where f.book_id = book and f.fill_id = any (touched)
                 order by f.fill_id, f.source_revision desc, f.is_bust desc, f.version desc) as c
         where c.instrument = wanted.instrument
           and (flat.executed_at is null or (c.executed_at, c.venue_order, c.fill_id)
                                          > (flat.executed_at, flat.venue_order collate "C", flat.fill_id))
           and (last.executed_at is null or (c.executed_at, c.venue_order, c.fill_id)
                                         <= (last.executed_at, last.venue_order collate "C", last.fill_id));
        select json_agg(json_build_object('action', a, 'closings', (
                   select json_agg(c order by c.ordinal) from ledger.closings c
                    where c.book_id = book and c.action_id = a.action_id and c.version = a.version))),
               array_agg(distinct a.position_id) filter (where a.state = 'BOOKED' and a.instrument = wanted.instrument)
          into stored, held
          from ledger.execution_actions a
         where a.book_id = book and a.fill_id = any (touched) and a.superseded_at is null
           and (a.state = 'VOID' or a.fill_id = any (named)
                or (a.instrument = wanted.instrument
                    and (flat.executed_at is null or (a.executed_at, a.venue_order, a.fill_id)
                                                   > (flat.executed_at, flat.venue_order collate "C", flat.fill_id))
                    and (last.executed_at is null or (a.executed_at, a.venue_order, a.fill_id)
                                                  <= (last.executed_at, last.venue_order collate "C", last.fill_id))));
        answers := answers || json_build_object(
            'instrument', wanted.instrument,
            'is_bounded', last.executed_at is not null,
            'fills', current_fills,
            'actions', stored,
            'adjustments', (
                select json_agg(c) from (
                    select distinct on (j.adjustment_id) j.* from ledger.adjustments j
                     where j.book_id = book and j.instrument = wanted.instrument
                       and (flat.executed_at is null or j.effective_at > flat.executed_at)
                     order by j.adjustment_id, j.version desc) as c),
            'positions', (select json_agg(p) from ledger.positions p where p.book_id = book and p.position_id = any (held)),
            'lots', (select json_agg(l) from ledger.lots l where l.book_id = book and l.position_id = any (held)),
            'parked', (select json_agg(json_build_array(k.fill_id, k.reason)) from ledger.parked_fills k
                        where k.book_id = book and k.instrument = wanted.instrument));
    end loop;
    return to_json(answers);
end $$;

-- ==== 0040_fills_unvalued.sql ========================================================================================

-- outside a transaction
-- Fills whose money nobody could tell are few, and asked for each time something becomes known of their instruments.
drop index if exists ledger.fills_unvalued;
create index fills_unvalued on ledger.fills (book_id, instrument) where currency = 'XXX';

-- ==== 0041_ledger_reading.sql ========================================================================================

-- What an account is worth is read with fewer steps: no look at the book of a row whose columns nobody asks for, what open positions
-- hold is read once for all of them, and their last mark is looked for in the last days before it is in all. Every figure stays
-- what it was. Source: tracker.md 4.3, 12; decision 0067.

-- A position, a lot and a closing always have their book, their action and their lot (foreign keys), so outer joins say the same as
-- inner ones; but a reader that asks for no column of theirs does not pay for them.
create or replace view ledger.v_positions as
    select p.book_id, b.tenant_id, p.position_id, p.first_action_id, p.instrument as instrument_id, p.ticker as symbol,
           p.contract_name, p.direction, p.status, p.multiplier, p.currency, p.is_net, p.cash_style, p.quantity_open,
           p.quantity_opened, p.quantity_closed, p.value_open, p.cost_basis, p.vwap, p.entry_vwap, p.exit_vwap, p.value_opened,
           p.value_initial, p.fees_total, p.realized_pnl, p.realized_pnl_gross, p.realized_pnl_base, p.split_factor, p.opened_at,
           p.last_opened_at, p.last_action_at, p.closed_at, p.action_count, p.open_lot_count
      from ledger.positions p left join ledger.books b on b.book_id = p.book_id
     where p.status <> 'VOID';

create or replace view ledger.v_lots as
    select l.book_id, b.tenant_id, l.lot_id, l.position_id, l.fill_id, l.action_id, l.lot_ref, l.opened_at,
           l.quantity_adjusted as quantity, l.quantity_open, l.price_adjusted as price, l.basis as cost_basis,
           l.basis_open as cost_basis_open, l.value, l.fees, l.split_factor, l.status
      from ledger.lots l left join ledger.books b on b.book_id = l.book_id
     where l.status <> 'VOID';

create or replace view ledger.v_closings as
    select c.book_id, b.tenant_id, c.action_id, a.position_id, c.lot_id, c.ordinal,
           round(c.quantity * l.split_factor / c.split_factor, 10) as quantity,
           round(a.price * c.split_factor / l.split_factor, 10) as price,
           round(c.lot_price * c.split_factor / l.split_factor, 10) as lot_price,
           c.close_value, c.lot_value, c.proceeds, c.lot_basis, c.realized_pnl, c.realized_pnl_gross, c.realized_pnl_base,
           a.currency, c.executed_at
      from ledger.closings c
      left join ledger.books b on b.book_id = c.book_id
      join ledger.execution_actions a
        on a.book_id = c.book_id and a.action_id = c.action_id and a.version = c.version
       and a.superseded_at is null and a.state = 'BOOKED'
      left join ledger.lots l on l.book_id = c.book_id and l.lot_id = c.lot_id;

create or replace view ledger.v_closing_history as
    select c.*, b.tenant_id from ledger.closings c left join ledger.books b on b.book_id = c.book_id;

-- As before, in three ways to what was held: positions as they stand, without closings or with them (then their open lots, read once),
-- and those to which something happened since: Σ lots − Σ their closings by then.
create or replace function ledger.worth_at(asked_books text[], asked_ns integer[], asked_held timestamptz[], asked_valued timestamptz[])
returns table (n integer, book_id text, currency text, open_positions bigint, unrealized numeric, lacks_unrealized bigint, net numeric,
               gross numeric, lacks_worth bigint, outlay numeric, lacks_outlay bigint, stale bigint, missing_marks text[])
language sql stable as $$
    with asked as (
        select x.book_id, array_agg(x.n order by x.held_at, x.n) as ns, array_agg(x.held_at order by x.held_at, x.n) as held_ats,
               array_agg(x.valued_at order by x.held_at, x.n) as valued_ats, min(x.held_at) as first_at, max(x.held_at) as last_at
          from unnest(asked_books, asked_ns, asked_held, asked_valued) as x(book_id, n, held_at, valued_at)
         group by x.book_id
    ), split as materialized (
        select distinct j.book_id, j.instrument from asked a join ledger.v_split_history j on j.book_id = a.book_id
    ), lots as materialized (
        select l.book_id, l.position_id, sum(l.quantity_open) as quantity,
               case when bool_and(l.cost_basis is not null) then sum(l.cost_basis * l.quantity_open / l.quantity) end as basis,
               case when bool_and(l.fees is not null) then sum(l.fees * l.quantity_open / l.quantity) end as fees
          from asked a
         cross join lateral (select * from ledger.v_lots o where o.book_id = a.book_id and o.quantity_open > 0 offset 0) as l
         group by l.book_id, l.position_id
    )
    select w.n, w.book_id, w.currency, count(*), coalesce(sum(w.unrealized), 0), count(*) filter (where w.unrealized is null),
           coalesce(sum(w.sign * w.worth), 0), coalesce(sum(abs(w.worth)), 0), count(*) filter (where w.worth is null),
           coalesce(sum(w.outlay), 0), count(*) filter (where w.outlay is null), count(*) filter (where w.is_stale),
           coalesce(array_agg(distinct w.symbol order by w.symbol) filter (where w.price is null), '{}')
      from (select m.n, p.book_id, p.currency, p.symbol, k.price, k.as_of < m.valued_at - interval '15 minutes 1 microsecond' as is_stale, s.sign,
                   k.price * h.quantity * p.multiplier as worth,
                   s.sign * (k.price * h.quantity * p.multiplier - h.basis) as unrealized,
                   case when p.cash_style = 'full' then s.sign * h.basis else h.fees end as outlay
              from asked a
             cross join lateral (
                   (select * from ledger.v_positions q
                     where q.book_id = a.book_id and q.status = 'OPEN' and q.opened_at <= a.last_at offset 0)
                   union all
                   (select * from ledger.v_positions q
                     where q.book_id = a.book_id and q.status = 'CLOSED' and q.closed_at > a.first_at and q.opened_at <= a.last_at
                       and width_bucket(q.opened_at - interval '1 microsecond', a.held_ats)
                           < width_bucket(q.closed_at - interval '1 microsecond', a.held_ats)
                     order by q.closed_at, q.opened_at offset 0)) as p
              left join lots l on l.book_id = p.book_id and l.position_id = p.position_id
             cross join lateral generate_series(
                   width_bucket(p.opened_at - interval '1 microsecond', a.held_ats) + 1,
                   coalesce(width_bucket(p.closed_at - interval '1 microsecond', a.held_ats), cardinality(a.held_ats))) as i
             cross join lateral (select a.ns[i] as n, a.held_ats[i] as held_at, a.valued_ats[i] as valued_at) as m
             cross join lateral (
                   select case p.direction when 'LONG' then 1 else -1 end as sign,
                          p.status = 'OPEN' and p.last_action_at <= m.held_at as is_still,
                          p.quantity_closed = 0 and p.cash_style = 'full' as is_whole,
                          (p.book_id, p.instrument_id) in (select * from split) as is_split) as s
             cross join lateral (
                   select case when s.is_whole then p.quantity_open else l.quantity end as quantity,
                          case when s.is_whole then p.cost_basis else l.basis end as basis,
                          case when not s.is_whole then l.fees end as fees
                    where s.is_still
                   union all
                   (select sum(v.held), case when bool_and(v.cost_basis is not null) then sum(v.cost_basis * v.held / v.quantity) end,
                           case when bool_and(v.fees is not null) then sum(v.fees * v.held / v.quantity) end
                      from (select o.quantity, o.cost_basis, o.fees, o.quantity - coalesce(c.quantity, 0) as held
                              from ledger.v_lots o
                              left join lateral (
                                    select sum(v.quantity) as quantity from ledger.v_closings v
                                     where v.book_id = o.book_id and v.lot_id = o.lot_id and v.executed_at <= m.held_at offset 0) as c on true
                             where not s.is_still and o.book_id = p.book_id and o.position_id = p.position_id
                               and o.opened_at <= m.held_at
                            offset 0) as v
                     where v.held > 0 and not s.is_still)) as h
              left join lateral (
                   select v.price, v.marked_at as as_of from ledger.v_mark_history v
                    where not s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                      and v.bucket_at < m.valued_at and v.bucket_at >= m.valued_at - interval '4 days' and v.marked_at < m.valued_at
                    order by v.bucket_at desc limit 1) as r on true
              left join lateral (
                   (select v.price, v.marked_at as as_of from ledger.v_mark_history v
                     where not s.is_split and r.price is null and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at - interval '4 days' and v.marked_at < m.valued_at
                     order by v.bucket_at desc limit 1)
                   union all
                   (select v.price, v.as_of from ledger.v_marks v
                     where s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at and v.as_of < m.valued_at
                     order by v.bucket_at desc limit 1)) as e on true
             cross join lateral (select coalesce(r.price, e.price) as price, coalesce(r.as_of, e.as_of) as as_of) as k
             where h.quantity > 0) as w
     group by w.n, w.book_id, w.currency
$$;

-- ==== 0042_ended_runs.sql ============================================================================================

-- A run that was called off ends nothing: when its worker comes back it finds its run abandoned, and neither covers anything nor
-- moves a cursor. What it brought stays stored; the run of whoever took the job over says what is covered.

-- End a run: {id, source, state, now, counts, error_class, error_detail, client_version, coverage: [{account_id, covered_from,
-- covered_to, earliest_seen_at, latest_seen_at, is_complete, settles_from, settles_to}], anomalies: rows of ibkr.open_anomalies}
-- -> {ended, moved: [account_id]}. Only a complete part moves its cursor, never backwards; ended false: it was called off before.
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
    if not found then
        return jsonb_build_object('ended', false, 'moved', '[]'::jsonb);
    end if;
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
    return jsonb_build_object('ended', true, 'moved', moved);
end
$$;

-- ==== 0043_put_aside_at_once.sql =====================================================================================

-- The same refused body that comes several times at once is kept by one and counted by the others. A conflict was expected on one
-- of the table's two unique constraints; whoever was a moment later could meet the other one first, and was told of a fault.
-- Source: signals.md 2.2.

-- Keep a refused body or count it: {quarantine_id, overflow_id, source, reason, field, ticker, body (hex), body_bytes,
-- body_hash (hex), now, day_from, kept_max}. Beyond kept_max bodies a day only the row of the reason counts.
create or replace function signal.put_aside(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    seen     integer;
    is_full  boolean;
    the_id   uuid;
    the_hash bytea;
begin
    update signal.quarantine
       set count = count + 1, last_seen_at = greatest(last_seen_at, desk_now), resolved_at = null, resolution = null
     where reason = document->>'reason' and body_hash = decode(document->>'body_hash', 'hex')
    returning count into seen;
    if found then
        return jsonb_build_object('count', seen, 'is_kept', true);
    end if;
    is_full := (select count(*) from signal.quarantine
                 where body is not null and first_seen_at >= (document->>'day_from')::timestamptz)
               >= (document->>'kept_max')::bigint;
    the_id := (document->>case when is_full then 'overflow_id' else 'quarantine_id' end)::uuid;
    the_hash := decode(case when is_full then repeat('00', 32) else document->>'body_hash' end, 'hex');
    insert into signal.quarantine (quarantine_id, source, reason, field, ticker, body, body_bytes, body_hash, first_seen_at, last_seen_at)
    values (the_id, (document->>'source')::signal.quarantine_source, document->>'reason',
            case when is_full then null else document->>'field' end,
            case when is_full then null else document->>'ticker' end,
            case when is_full then null else decode(document->>'body', 'hex') end,
            case when is_full then 0 else (document->>'body_bytes')::integer end,
            the_hash, desk_now, desk_now)
    on conflict do nothing
    returning count into seen;
    if not found then
        update signal.quarantine
           set count = count + 1, last_seen_at = greatest(last_seen_at, desk_now), resolved_at = null, resolution = null
         where quarantine_id = the_id or (reason = document->>'reason' and body_hash = the_hash)
        returning count into seen;
    end if;
    return jsonb_build_object('count', seen, 'is_kept', not is_full);
end
$$;

-- ==== 0044_units_of_a_lot.sql ========================================================================================

-- A lot that was closed before a split never went through it and counts in the units of its own time, while marks of its instrument
-- are told in today's: a past day was worth half of what it was where all of it was sold before shares were doubled. What is held at
-- such a moment is counted in today's units, as its price is. Source: tracker.md 4.3; ledger.md 8.

-- How many of today's units one of a lot's is: the splits after its opening, less those it went through; 1 but for a lot that ended
-- before one of them.
create function ledger.units_missed(book text, name text, opened timestamptz, factor numeric)
returns numeric language sql stable as $$
    select coalesce(round(exp(sum(ln(j.ratio_num::numeric(40,20) / j.ratio_den))) / factor, 10), 1)
      from (select distinct on (adjustment_id) * from ledger.v_split_history
             where book_id = book and instrument = name
             order by adjustment_id, version desc) as j
     where not j.is_void and j.effective_at > opened
$$;
revoke all on function ledger.units_missed(text, text, timestamptz, numeric) from public;
grant execute on function ledger.units_missed(text, text, timestamptz, numeric)
    to ledger_reader, ledger_writer, ledger_maintenance, tracker_reader, snapshot_reader;

-- As before, but for the units.
create or replace function ledger.worth_at(asked_books text[], asked_ns integer[], asked_held timestamptz[], asked_valued timestamptz[])
returns table (n integer, book_id text, currency text, open_positions bigint, unrealized numeric, lacks_unrealized bigint, net numeric,
               gross numeric, lacks_worth bigint, outlay numeric, lacks_outlay bigint, stale bigint, missing_marks text[])
language sql stable as $$
    with asked as (
        select x.book_id, array_agg(x.n order by x.held_at, x.n) as ns, array_agg(x.held_at order by x.held_at, x.n) as held_ats,
               array_agg(x.valued_at order by x.held_at, x.n) as valued_ats, min(x.held_at) as first_at, max(x.held_at) as last_at
          from unnest(asked_books, asked_ns, asked_held, asked_valued) as x(book_id, n, held_at, valued_at)
         group by x.book_id
    ), split as materialized (
        select distinct j.book_id, j.instrument from asked a join ledger.v_split_history j on j.book_id = a.book_id
    ), lots as materialized (
        select l.book_id, l.position_id, sum(l.quantity_open) as quantity,
               case when bool_and(l.cost_basis is not null) then sum(l.cost_basis * l.quantity_open / l.quantity) end as basis,
               case when bool_and(l.fees is not null) then sum(l.fees * l.quantity_open / l.quantity) end as fees
          from asked a
         cross join lateral (select * from ledger.v_lots o where o.book_id = a.book_id and o.quantity_open > 0 offset 0) as l
         group by l.book_id, l.position_id
    )
    select w.n, w.book_id, w.currency, count(*), coalesce(sum(w.unrealized), 0), count(*) filter (where w.unrealized is null),
           coalesce(sum(w.sign * w.worth), 0), coalesce(sum(abs(w.worth)), 0), count(*) filter (where w.worth is null),
           coalesce(sum(w.outlay), 0), count(*) filter (where w.outlay is null), count(*) filter (where w.is_stale),
           coalesce(array_agg(distinct w.symbol order by w.symbol) filter (where w.price is null), '{}')
      from (select m.n, p.book_id, p.currency, p.symbol, k.price, k.as_of < m.valued_at - interval '15 minutes 1 microsecond' as is_stale, s.sign,
                   k.price * h.quantity * p.multiplier as worth,
                   s.sign * (k.price * h.quantity * p.multiplier - h.basis) as unrealized,
                   case when p.cash_style = 'full' then s.sign * h.basis else h.fees end as outlay
              from asked a
             cross join lateral (
                   (select * from ledger.v_positions q
                     where q.book_id = a.book_id and q.status = 'OPEN' and q.opened_at <= a.last_at offset 0)
                   union all
                   (select * from ledger.v_positions q
                     where q.book_id = a.book_id and q.status = 'CLOSED' and q.closed_at > a.first_at and q.opened_at <= a.last_at
                       and width_bucket(q.opened_at - interval '1 microsecond', a.held_ats)
                           < width_bucket(q.closed_at - interval '1 microsecond', a.held_ats)
                     order by q.closed_at, q.opened_at offset 0)) as p
              left join lots l on l.book_id = p.book_id and l.position_id = p.position_id
             cross join lateral generate_series(
                   width_bucket(p.opened_at - interval '1 microsecond', a.held_ats) + 1,
                   coalesce(width_bucket(p.closed_at - interval '1 microsecond', a.held_ats), cardinality(a.held_ats))) as i
             cross join lateral (select a.ns[i] as n, a.held_ats[i] as held_at, a.valued_ats[i] as valued_at) as m
             cross join lateral (
                   select case p.direction when 'LONG' then 1 else -1 end as sign,
                          p.status = 'OPEN' and p.last_action_at <= m.held_at as is_still,
                          p.quantity_closed = 0 and p.cash_style = 'full' as is_whole,
                          (p.book_id, p.instrument_id) in (select * from split) as is_split) as s
             cross join lateral (
                   select case when s.is_whole then p.quantity_open else l.quantity end as quantity,
                          case when s.is_whole then p.cost_basis else l.basis end as basis,
                          case when not s.is_whole then l.fees end as fees
                    where s.is_still
                   union all
                   (select sum(v.held * v.units), case when bool_and(v.cost_basis is not null) then sum(v.cost_basis * v.held / v.quantity) end,
                           case when bool_and(v.fees is not null) then sum(v.fees * v.held / v.quantity) end
                      from (select o.quantity, o.cost_basis, o.fees, o.quantity - coalesce(c.quantity, 0) as held,
                                   case when s.is_split
                                        then ledger.units_missed(o.book_id, p.instrument_id, o.opened_at, o.split_factor)
                                        else 1 end as units
                              from ledger.v_lots o
                              left join lateral (
                                    select sum(v.quantity) as quantity from ledger.v_closings v
                                     where v.book_id = o.book_id and v.lot_id = o.lot_id and v.executed_at <= m.held_at offset 0) as c on true
                             where not s.is_still and o.book_id = p.book_id and o.position_id = p.position_id
                               and o.opened_at <= m.held_at
                            offset 0) as v
                     where v.held > 0 and not s.is_still)) as h
              left join lateral (
                   select v.price, v.marked_at as as_of from ledger.v_mark_history v
                    where not s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                      and v.bucket_at < m.valued_at and v.bucket_at >= m.valued_at - interval '4 days' and v.marked_at < m.valued_at
                    order by v.bucket_at desc limit 1) as r on true
              left join lateral (
                   (select v.price, v.marked_at as as_of from ledger.v_mark_history v
                     where not s.is_split and r.price is null and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at - interval '4 days' and v.marked_at < m.valued_at
                     order by v.bucket_at desc limit 1)
                   union all
                   (select v.price, v.as_of from ledger.v_marks v
                     where s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at and v.as_of < m.valued_at
                     order by v.bucket_at desc limit 1)) as e on true
             cross join lateral (select coalesce(r.price, e.price) as price, coalesce(r.as_of, e.as_of) as as_of) as k
             where h.quantity > 0) as w
     group by w.n, w.book_id, w.currency
$$;

-- ==== 0045_units_of_a_past_day.sql ===================================================================================

-- The figures of a day before a split, published again after it, counted what was closed between the two in the units of its own
-- time, while marks are told in today's: the day was worth half of what it had said on its evening. Moves of quantity are counted in
-- today's units. Source: tracker.md 4.3; ledger.md 8; decision 0080.
--
-- A materialized view cannot be changed in place: those that stand on it go with it, and are made again in the same transaction from
-- what the catalog says of them, their indexes, comments and grants included. Nobody sees it missing.

-- second step of 0024: whoever asks for these views finds them as before, with the same columns, when this transaction is over
do $$
declare
    made_again text[];
    one        text;
    found_path text := current_setting('search_path');
begin
    perform set_config('search_path', 'pg_catalog', true);
    with recursive standing as (
        select 'metrics.day_moves'::regclass::oid as view
        union
        select r.ev_class
          from standing s
          join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = s.view and d.classid = 'pg_rewrite'::regclass
          join pg_rewrite r on r.oid = d.objid
    )
    select array_agg(x.made order by c.oid, x.n)
      into made_again
      from standing s
      join pg_class c on c.oid = s.view and s.view <> 'metrics.day_moves'::regclass
     cross join lateral (
           select 1 as n, format('create %s %s as %s', case c.relkind when 'm' then 'materialized view' else 'view' end,
                                 c.oid::regclass, pg_get_viewdef(c.oid)) as made
           union all
           select 2, pg_get_indexdef(i.indexrelid) from pg_index i where i.indrelid = c.oid
           union all
           select 3, format('comment on %s %s is %L', case c.relkind when 'm' then 'materialized view' else 'view' end,
                            c.oid::regclass, obj_description(c.oid, 'pg_class'))
            where obj_description(c.oid, 'pg_class') is not null
           union all
           select 4, format('grant %s on %s to %I', g.privilege_type, c.oid::regclass, pg_get_userbyid(g.grantee))
             from aclexplode(c.relacl) g where g.grantee <> c.relowner) as x;

    drop materialized view metrics.day_moves cascade;

    -- As before, but for the units.
    create materialized view metrics.day_moves as
        with split as materialized (
            select distinct p.book_id, p.instrument_id
              from metrics.day_positions p
              join ledger.v_split_history j on j.book_id = p.book_id and j.instrument = p.instrument_id
        )
        select p.report_date, p.book_id, p.position_id, m.happened_at, metrics.minute_of(m.happened_at, d.session_open) as minute,
               case when m.happened_at <= d.previous_close then 0 when m.happened_at < d.window_start then 1 else 2 end as stretch,
               m.is_opening, m.quantity * u.units as quantity, coalesce(m.basis, 0) as basis,
               case when m.basis is null then m.quantity * u.units else 0 end as of_unknown,
               m.quantity * m.price as notional, m.realized_pnl
          from metrics.day_positions p
          join metrics.work_days d on d.report_date = p.report_date
         cross join lateral (
               (select true as is_opening, l.opened_at as happened_at, l.quantity, l.cost_basis as basis, l.price,
                       null::numeric as realized_pnl, l.opened_at, l.split_factor
                  from ledger.v_lots l
                 where l.book_id = p.book_id and l.position_id = p.position_id and l.opened_at <= d.last_at
                 order by l.opened_at offset 0)
               union all
               (select false, c.executed_at, -c.quantity, -(l.cost_basis * c.quantity / l.quantity), l.price, c.realized_pnl,
                       l.opened_at, l.split_factor
                  from (select * from ledger.v_closings c
                         where c.book_id = p.book_id and c.position_id = p.position_id and c.executed_at <= d.last_at
                         order by c.executed_at offset 0) as c
                 cross join lateral (select * from ledger.v_lots l where l.book_id = p.book_id and l.lot_id = c.lot_id offset 0) as l
                offset 0)) as m
         cross join lateral (
               select case when (p.book_id, p.instrument_id) in (select * from split)
                           then ledger.units_missed(p.book_id, p.instrument_id, m.opened_at, m.split_factor)
                           else 1 end as units) as u
         where p.is_counted;
    comment on materialized view metrics.day_moves is 'Openings and closings of the days'' positions as signed moves of quantity (in today''s units), basis and notional.';

    foreach one in array made_again loop
        execute one;
    end loop;
    perform set_config('search_path', found_path, true);
end
$$;
