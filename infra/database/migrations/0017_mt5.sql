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
