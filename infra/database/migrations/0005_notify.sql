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
