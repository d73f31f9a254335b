-- Statements for Cloudflare D1 (SQLite) over its HTTP API. ?1 = date, ?2 = updated_at, ?3 = a part of the published document,
-- as it was published. Every statement after the archive's holds only while the archive says what this batch wrote, so that
-- an older day changes nothing even where a batch is no transaction.

-- name: write_archive
-- The day as a whole; a newer one stays, and a time that is not in our form counts as older.
insert into metrics_daily (date, updated_at, headline, summary, rows_json, overlay_json) values (?1, ?2, ?3, ?4, ?5, ?6)
on conflict (date) do update set updated_at = excluded.updated_at, headline = excluded.headline, summary = excluded.summary,
  rows_json = excluded.rows_json, overlay_json = excluded.overlay_json
where metrics_daily.updated_at <= excluded.updated_at or metrics_daily.updated_at not glob
  '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9]Z'

-- name: delete_kpis
-- The KPI rows of the day before this one was written.
delete from metrics_kpi_values where date = ?1 and (select updated_at from metrics_daily where date = ?1) = ?2

-- name: delete_points
-- Its series.
delete from metrics_series_points where date = ?1 and (select updated_at from metrics_daily where date = ?1) = ?2

-- name: delete_extremes
-- Its extremes.
delete from metrics_extremes_items where date = ?1 and (select updated_at from metrics_daily where date = ?1) = ?2

-- name: delete_assets
-- Its portfolio.
delete from metrics_portfolio_assets where date = ?1 and (select updated_at from metrics_daily where date = ?1) = ?2

-- name: insert_kpis
-- The KPI rows; the target knows three kinds of the six.
insert into metrics_kpi_values (date, kpi, value_text, value_num, value_kind)
select ?1, json_extract(r.value, '$.kpi'), json_extract(r.value, '$.value'), json_extract(r.value, '$.value_num'),
  case json_extract(r.value, '$.kind') when 'percent' then 'percent' when 'text' then 'text' else 'number' end
from json_each(?3) r
where (select updated_at from metrics_daily where date = ?1) = ?2

-- name: insert_points
-- The series: lists of points by KPI.
insert into metrics_series_points (date, kpi, t, v, src)
select ?1, s.key, json_extract(p.value, '$.t'), json_extract(p.value, '$.v'), json_extract(p.value, '$.src')
from json_each(?3) s cross join json_each(s.value) p
where (select updated_at from metrics_daily where date = ?1) = ?2

-- name: insert_extremes
-- The extremes: by KPI, by side, lists of items that know their rank.
insert into metrics_extremes_items (date, kpi, side, rank, trade_id, symbol, contract_name, metric_raw, metric_abs,
  individual_pnl, abs_individual_pnl, percent_change, cost_basis, qty, bid_price, ask_price, mid_price, mid_ts, mid_mark_pnl,
  liquidity_drag, item_json)
select ?1, k.key, s.key, json_extract(e.value, '$.rank'), json_extract(e.value, '$.trade_id'),
  json_extract(e.value, '$.symbol'), json_extract(e.value, '$.contract_name'), json_extract(e.value, '$.metric_raw'),
  json_extract(e.value, '$.metric_abs'), json_extract(e.value, '$.individual_pnl'),
  json_extract(e.value, '$.abs_individual_pnl'), json_extract(e.value, '$.percent_change'),
  json_extract(e.value, '$.cost_basis'), json_extract(e.value, '$.qty'), json_extract(e.value, '$.bid_price'),
  json_extract(e.value, '$.ask_price'), json_extract(e.value, '$.mid_price'), json_extract(e.value, '$.mid_ts'),
  json_extract(e.value, '$.mid_mark_pnl'), json_extract(e.value, '$.liquidity_drag'), e.value
from json_each(?3) k cross join json_each(k.value) s cross join json_each(s.value) e
where (select updated_at from metrics_daily where date = ?1) = ?2

-- name: insert_assets
-- The portfolio.
insert into metrics_portfolio_assets (date, trade_id, symbol, contract_name)
select ?1, json_extract(a.value, '$.trade_id'), json_extract(a.value, '$.symbol'), json_extract(a.value, '$.contract_name')
from json_each(?3) a
where (select updated_at from metrics_daily where date = ?1) = ?2

-- name: read_archive
-- The day as a whole, to be held against what was sent.
select updated_at, headline, summary, rows_json, overlay_json from metrics_daily where date = ?1

-- name: read_kpis
-- How many KPI rows there are, and how many say in every column what the archive says (nothing, where it is no JSON).
select (select count(*) from metrics_kpi_values where date = ?1) as stored, count(*) as same
from metrics_daily d cross join json_each(iif(json_valid(d.rows_json), d.rows_json, '[]')) r
  cross join metrics_kpi_values x
where d.date = ?1 and x.date = ?1 and x.kpi = json_extract(r.value, '$.kpi')
  and x.value_text = json_extract(r.value, '$.value') and x.value_num is json_extract(r.value, '$.value_num')
  and x.value_kind = case json_extract(r.value, '$.kind') when 'percent' then 'percent' when 'text' then 'text' else 'number' end

-- name: read_points
-- The same of the series.
select (select count(*) from metrics_series_points where date = ?1) as stored, count(*) as same
from metrics_daily d cross join json_each(iif(json_valid(d.overlay_json), d.overlay_json, '{}'), '$.seriesByKpi') s
  cross join json_each(s.value) p cross join metrics_series_points x
where d.date = ?1 and x.date = ?1 and x.kpi = s.key and x.t = json_extract(p.value, '$.t')
  and x.v = json_extract(p.value, '$.v') and x.src is json_extract(p.value, '$.src')

-- name: read_extremes
-- The same of the extremes.
select (select count(*) from metrics_extremes_items where date = ?1) as stored, count(*) as same
from metrics_daily d cross join json_each(iif(json_valid(d.overlay_json), d.overlay_json, '{}'), '$.extremes.byKpi') k
  cross join json_each(k.value) s cross join json_each(s.value) e cross join metrics_extremes_items x
where d.date = ?1 and x.date = ?1 and x.kpi = k.key and x.side = s.key and x.rank = json_extract(e.value, '$.rank')
  and x.trade_id is json_extract(e.value, '$.trade_id') and x.symbol is json_extract(e.value, '$.symbol')
  and x.contract_name is json_extract(e.value, '$.contract_name') and x.metric_raw is json_extract(e.value, '$.metric_raw')
  and x.metric_abs is json_extract(e.value, '$.metric_abs')
  and x.individual_pnl is json_extract(e.value, '$.individual_pnl')
  and x.abs_individual_pnl is json_extract(e.value, '$.abs_individual_pnl')
  and x.percent_change is json_extract(e.value, '$.percent_change')
  and x.cost_basis is json_extract(e.value, '$.cost_basis') and x.qty is json_extract(e.value, '$.qty')
  and x.bid_price is json_extract(e.value, '$.bid_price') and x.ask_price is json_extract(e.value, '$.ask_price')
  and x.mid_price is json_extract(e.value, '$.mid_price') and x.mid_ts is json_extract(e.value, '$.mid_ts')
  and x.mid_mark_pnl is json_extract(e.value, '$.mid_mark_pnl')
  and x.liquidity_drag is json_extract(e.value, '$.liquidity_drag') and x.item_json = e.value

-- name: read_assets
-- The same of the portfolio.
select (select count(*) from metrics_portfolio_assets where date = ?1) as stored, count(*) as same
from metrics_daily d cross join json_each(iif(json_valid(d.overlay_json), d.overlay_json, '{}'), '$.portfolioAssets') a
  cross join metrics_portfolio_assets x
where d.date = ?1 and x.date = ?1 and x.trade_id = json_extract(a.value, '$.trade_id')
  and x.contract_name = json_extract(a.value, '$.contract_name') and x.symbol is json_extract(a.value, '$.symbol')
