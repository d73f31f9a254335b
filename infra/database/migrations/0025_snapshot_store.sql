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
