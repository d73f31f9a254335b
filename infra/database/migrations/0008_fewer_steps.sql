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
