-- Statements around the views that are published. `views.<what>` stands for a configured name, put there checked and quoted.

-- name: views_seen
-- What each named view is, whether it is filled, whether this role may read it, and its columns with their types.
select w.name, c.relkind::text as kind, c.relispopulated as is_populated,
       case when c.oid is not null then has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') end as is_readable,
       (select coalesce(jsonb_object_agg(a.attname, format_type(a.atttypid, null)), '{}') from pg_catalog.pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
  from unnest(:names::text[]) with ordinality as w(name, place)
  left join pg_catalog.pg_namespace n on n.nspname = split_part(w.name, '.', 1)
  left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = split_part(w.name, '.', 2)
 order by w.place

-- name: let_days_go
-- Take off the work list what is neither named, nor another run's that may still be alive.
delete from metrics.snapshot_days d
 where d.report_date <> all(:days::date[])
   and (d.run_id is null or d.run_id = :run_id::text or d.added_at < clock_timestamp() - interval '15 minutes')

-- name: put_days
-- Put days on the work list, each as it is seen now.
insert into metrics.snapshot_days as d (report_date, window_start, window_end, session_open, session_close, as_of, valuation_at,
                                        previous_date, previous_close, run_id, added_at)
select r.report_date, r.window_start, r.window_end, r.session_open, r.session_close, r.as_of, r.valuation_at, r.previous_date,
       r.previous_close, r.run_id, clock_timestamp()
  from jsonb_to_recordset(:days::jsonb) as r(
           report_date date, window_start timestamptz, window_end timestamptz, session_open timestamptz, session_close timestamptz,
           as_of timestamptz, valuation_at timestamptz, previous_date date, previous_close timestamptz, run_id text)
 order by r.report_date
on conflict on constraint snapshot_days_pk do update
   set (window_start, window_end, session_open, session_close, as_of, valuation_at, previous_date, previous_close, run_id, added_at)
     = (excluded.window_start, excluded.window_end, excluded.session_open, excluded.session_close, excluded.as_of,
        excluded.valuation_at, excluded.previous_date, excluded.previous_close, excluded.run_id, excluded.added_at)

-- name: put_equity
-- Keep a final day's equity and return as published last.
insert into metrics.equity_days as e (report_date, equity, daily_return, content_sha256)
values (:day::date, :equity::numeric, :daily_return::numeric, :content_sha256::text)
on conflict on constraint equity_days_pk do update
   set (equity, daily_return, content_sha256) = (excluded.equity, excluded.daily_return, excluded.content_sha256)

-- name: refresh
-- Bring all six views to the state of this transaction's snapshot.
select utils_statistics.refresh_snapshot_views()

-- name: read_kpis
-- A day's KPIs in their order. Numbers pass as texts, so that a double keeps its digits and needs no float of ours.
select v.kpi_name::text as kpi_name, v.display_value::text as display_value, v.sort_order
  from views.kpi v
 where v.report_date = :day::date
 order by v.sort_order, v.kpi_name::text collate "C"

-- name: read_series
-- A day's points by KPI and time; an instant that is no instant is unknown.
select v.kpi_name::text as kpi_name, case when isfinite(v.ts) then v.ts end as ts, v.value::text::numeric as value,
       v.source::text as source
  from views.series v
 where v.report_date = :day::date
 order by v.kpi_name::text collate "C", v.ts, v.source::text collate "C"

-- name: read_extremes
-- A day's trades at the ends of its KPIs, by KPI, side and rank.
select v.kpi_name::text as kpi_name, v.side::text as side, v.rank, v.trade_id, v.symbol::text as symbol,
       v.contract_name::text as contract_name, v.metric_raw::text::numeric as metric_raw, v.metric_abs::text::numeric as metric_abs,
       v.individual_pnl::text::numeric as individual_pnl, v.abs_individual_pnl::text::numeric as abs_individual_pnl,
       v.percent_change::text::numeric as percent_change, v.cost_basis::text::numeric as cost_basis, v.qty::text::numeric as qty,
       v.bid_price::text::numeric as bid_price, v.ask_price::text::numeric as ask_price, v.mid_price::text::numeric as mid_price,
       case when isfinite(v.mid_ts) then v.mid_ts end as mid_ts, v.mid_mark_pnl::text::numeric as mid_mark_pnl,
       v.liquidity_drag::text::numeric as liquidity_drag
  from views.extremes v
 where v.report_date = :day::date
 order by v.kpi_name::text collate "C", v.side::text collate "C", v.rank, v.trade_id

-- name: read_portfolio
-- The positions open at the day's as_of.
select v.trade_id, v.symbol::text as symbol, v.contract_name::text as contract_name
  from views.portfolio v
 where v.report_date = :day::date
 order by v.trade_id, v.contract_name::text collate "C"

-- name: read_values
-- Exact numbers of a day's KPIs, and why there is none.
select v.kpi_name, v.value_num, v.value_kind, v.unit, v.missing_reason, v.kpi_version
  from utils_statistics.trades_kpi_values_mv v
 where v.report_date = :day::date

-- name: read_watermark
-- What a day's figures were computed from.
select w.as_of, w.valuation_at, w.last_recorded_at, w.last_mark_at, w.actions, w.closings, w.open_positions, w.ledger_seq,
       w.refreshed_at, w.excluded, w.after_close, w.start_cash
  from utils_statistics.trades_source_watermark_mv w
 where w.report_date = :day::date
