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
