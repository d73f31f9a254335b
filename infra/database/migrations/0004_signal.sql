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
