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
