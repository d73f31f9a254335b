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
