-- Statements of room snapshot about published days: what the receiver writes and what readers see. Lists come as one JSON text.

-- name: replace_day
-- Put a day in the place of what stood there; it was locked by metrics.open_day.
select metrics.replace_day(:document::jsonb) as version;

-- name: received_again
-- Note that the sender said the same again.
update metrics.metrics_daily set received_at = :now where date = :date;

-- name: day_stamp
-- Which version of which day an answer is about: the one named, else the greatest date.
select d.date, d.version, d.updated_at, d.content_sha256, d.stage, d.counts::text as counts
  from metrics.metrics_daily d
 where d.date = coalesce(:date::date, (select max(m.date) from metrics.metrics_daily m));

-- name: version_stamp
-- The same for a version that may have been replaced.
select v.date, v.version, v.updated_at, v.content_sha256, v.stage, v.counts::text as counts
  from metrics.snapshot_versions v
 where v.date = coalesce(:date::date, (select max(m.date) from metrics.metrics_daily m)) and v.version = :version;

-- name: days_stamp
-- What changes when any day of a range does: how many versions there ever were, and the greatest date.
select count(*) as versions, max(v.date) as date
  from metrics.snapshot_versions v
 where (:from::date is null or v.date >= :from::date) and (:to::date is null or v.date <= :to::date);

-- name: whole_day
-- A day as it is published.
select d.headline, d.summary, d.source, d.schema_version, d.kpi_version, d.rows_json::text as rows, d.overlay_json::text as overlay,
       d.watermark::text as watermark, d.provenance::text as provenance
  from metrics.metrics_daily d
 where d.date = :date;

-- name: whole_version
-- A day as it was published by a version.
select v.document->>'headline' as headline, v.document->>'summary' as summary, v.document->>'source' as source,
       (v.document->>'schema_version')::integer as schema_version, v.kpi_version, (v.document->'rows')::text as rows,
       (v.document->'overlay')::text as overlay, (v.document->'watermark')::text as watermark,
       (v.document->'provenance')::text as provenance
  from metrics.snapshot_versions v
 where v.date = :date and v.version = :version;

-- name: texts_of_day
-- Headline and summary.
select d.headline, d.summary from metrics.metrics_daily d where d.date = :date;

-- name: days_with_headline
-- Days, the latest first, with where each is read.
with page as materialized (
    select d.date, d.updated_at, d.headline, row_number() over (order by d.date desc) as n
      from metrics.metrics_daily d
     where (:before::date is null or d.date < :before::date)
     order by d.date desc
     limit :limit::integer + 1)
select coalesce(json_agg(json_build_object('date', date, 'updated_at', to_char(updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                                           'headline', headline, 'json', :path::text || '?date=' || date)
                         order by n) filter (where n <= :limit::integer), '[]')::text as items,
       array[(max(date) filter (where n = :limit::integer))::text] as last, count(*) > :limit::integer as has_more
  from page;

-- name: days_with_version
-- Days, the latest first, with how far each is and which version it has.
with page as materialized (
    select d.date, d.stage, d.version, d.updated_at, row_number() over (order by d.date desc) as n
      from metrics.metrics_daily d
     where (:before::date is null or d.date < :before::date)
     order by d.date desc
     limit :limit::integer + 1)
select coalesce(json_agg(json_build_object('date', date, 'stage', stage, 'version', version,
                                           'updated_at', to_char(updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
                         order by n) filter (where n <= :limit::integer), '[]')::text as items,
       array[(max(date) filter (where n = :limit::integer))::text] as last, count(*) > :limit::integer as has_more
  from page;

-- name: kpis
-- The figures of a day, in their order.
select coalesce(json_agg(json_build_object('kpi', k.kpi, 'value_text', k.value_text, 'value_num', k.value_num,
                                           'value_kind', k.value_kind, 'unit', k.unit, 'sort_order', k.sort_order,
                                           'missing_reason', k.missing_reason)
                         order by k.sort_order, k.kpi), '[]')::text as items
  from metrics.metrics_kpi_values k
 where k.date = :date;

-- name: kpi_history
-- A figure through the days of a range, oldest first; of more days than may be shown the latest.
with page as materialized (
    select k.date, k.value_num, k.value_text, d.stage, d.version, row_number() over (order by k.date desc) as n
      from metrics.metrics_kpi_values k
      join metrics.metrics_daily d using (date)
     where k.kpi = :kpi and (:from::date is null or k.date >= :from::date) and (:to::date is null or k.date <= :to::date)
     order by k.date desc
     limit :limit::integer + 1)
select coalesce(json_agg(json_build_object('date', date, 'value_num', value_num, 'value_text', value_text, 'stage', stage,
                                           'version', version)
                         order by date) filter (where n <= :limit::integer), '[]')::text as items,
       count(*) > :limit::integer as has_more
  from page;

-- name: kpi_was_ever
-- Whether any day has a figure of this name.
select exists (select from metrics.metrics_kpi_values k where k.kpi = :kpi) as is_known;

-- name: kpi_of_day
-- Whether a day has a figure, a series (which may be without a point) or extremes of this name, and the figure.
select k.value_text, k.value_num::text as value_num,
       case when k.kpi is not null then true
            when exists (select from metrics.metrics_series_points p where p.date = d.date and p.kpi = :kpi) then true
            when exists (select from metrics.metrics_extremes_items e where e.date = d.date and e.kpi = :kpi) then true
            else coalesce(d.overlay_json->'seriesByKpi' ? :kpi or d.overlay_json->'extremes'->'byKpi' ? :kpi, false)
        end as is_known
  from metrics.metrics_daily d
  left join metrics.metrics_kpi_values k on k.date = d.date and k.kpi = :kpi
 where d.date = :date;

-- name: points
-- A page of a KPI's series, oldest first.
with page as materialized (
    select p.t, p.v, p.src, row_number() over (order by p.t) as n
      from metrics.metrics_series_points p
     where p.date = :date and p.kpi = :kpi
       and (:from::timestamptz is null or p.t >= :from::timestamptz) and (:to::timestamptz is null or p.t <= :to::timestamptz)
       and (:after::timestamptz is null or p.t > :after::timestamptz)
     order by p.t
     limit :limit::integer + 1)
select coalesce(json_agg(json_build_object('t', to_char(t, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'v', v, 'src', src) order by n)
                filter (where n <= :limit::integer), '[]')::text as items,
       array[(max(t) filter (where n = :limit::integer))::text] as last,
       count(*) > :limit::integer as has_more
  from page;

-- name: extremes
-- The trades at the ends of a KPI, by side and rank: so many of each side.
select coalesce(json_agg(json_build_object(
           'kpi', e.kpi, 'side', e.side, 'rank', e.rank, 'trade_id', e.trade_id, 'symbol', e.symbol, 'contract_name', e.contract_name,
           'metric_raw', e.metric_raw, 'metric_abs', e.metric_abs, 'individual_pnl', e.individual_pnl,
           'abs_individual_pnl', e.abs_individual_pnl, 'percent_change', e.percent_change, 'cost_basis', e.cost_basis, 'qty', e.qty,
           'bid_price', e.bid_price, 'ask_price', e.ask_price, 'mid_price', e.mid_price,
           'mid_ts', to_char(e.mid_ts, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'mid_mark_pnl', e.mid_mark_pnl,
           'liquidity_drag', e.liquidity_drag, 'item', e.item_json)
           order by e.side, e.rank), '[]')::text as items
  from metrics.metrics_extremes_items e
 where e.date = :date and e.kpi = :kpi and (:side::text is null or e.side = :side::text) and e.rank <= :limit::integer;

-- name: assets
-- A page of the portfolio.
with page as materialized (
    select a.trade_id, a.symbol, a.contract_name, row_number() over (order by a.trade_id, a.contract_name) as n
      from metrics.metrics_portfolio_assets a
     where a.date = :date and (:symbol::text is null or a.symbol = :symbol::text)
       and (:after_id::bigint is null or (a.trade_id, a.contract_name) > (:after_id::bigint, :after_name::text))
     order by a.trade_id, a.contract_name
     limit :limit::integer + 1)
select coalesce(json_agg(json_build_object('trade_id', trade_id, 'symbol', symbol, 'contract_name', contract_name) order by n)
                filter (where n <= :limit::integer), '[]')::text as items,
       array[(max(trade_id) filter (where n = :limit::integer))::text, max(contract_name) filter (where n = :limit::integer)] as last,
       count(*) > :limit::integer as has_more
  from page;

-- name: versions
-- Every version of a day, oldest first.
with page as materialized (
    select v.version, v.stage, v.updated_at, v.kpi_version, v.content_sha256, v.counts, v.forced, v.late_actions, v.request_id,
           v.recorded_at, row_number() over (order by v.version) as n
      from metrics.snapshot_versions v
     where v.date = :date and v.version > coalesce(:after::integer, 0)
     order by v.version
     limit :limit::integer + 1)
select coalesce(json_agg(json_build_object(
           'version', version, 'stage', stage, 'updated_at', to_char(updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
           'kpi_version', kpi_version, 'content_sha256', content_sha256, 'counts', counts, 'forced', forced,
           'late_actions', late_actions, 'request_id', request_id,
           'recorded_at', to_char(recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) order by n)
           filter (where n <= :limit::integer), '[]')::text as items,
       array[(max(version) filter (where n = :limit::integer))::text] as last, count(*) > :limit::integer as has_more
  from page;

-- name: restatements
-- What replaced a final day, version by version and figure by figure, each with the late actions that are its cause.
with page as materialized (
    select r.version, r.subject, r.name, r.old_text, r.new_text, r.old_num, r.new_num, r.difference, r.recorded_at,
           row_number() over (order by r.version, r.subject, r.name) as n
      from metrics.restatements r
     where r.date = :date
       and (:after_version::integer is null
            or (r.version, r.subject, r.name) > (:after_version::integer, :after_subject::text, :after_name::text))
     order by r.version, r.subject, r.name
     limit :limit::integer + 1)
select coalesce(json_agg(json_build_object(
           'version', p.version, 'previous_version', p.version - 1, 'subject', p.subject, 'name', p.name, 'old_text', p.old_text,
           'new_text', p.new_text, 'old_num', p.old_num, 'new_num', p.new_num, 'difference', p.difference,
           'late_actions', v.late_actions, 'recorded_at', to_char(p.recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) order by p.n)
           filter (where p.n <= :limit::integer), '[]')::text as items,
       array[(max(p.version) filter (where p.n = :limit::integer))::text, max(p.subject) filter (where p.n = :limit::integer),
             max(p.name) filter (where p.n = :limit::integer)] as last,
       count(*) > :limit::integer as has_more
  from page p
  join metrics.snapshot_versions v on v.date = :date and v.version = p.version;

-- name: days_standing
-- How far the day is that should be there by now, and the greatest date there is.
select d.date, d.stage, d.version, d.updated_at
  from metrics.metrics_daily d
 where d.date = :date or d.date = (select max(m.date) from metrics.metrics_daily m)
 order by d.date;
