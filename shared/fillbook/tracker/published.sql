-- Statements about published days: views of room snapshot alone, of days whose every book exists for the reader.

-- name: day
-- A published day, or the newest one, with the books it was made of, and how its newest publication ended.
select d.date, d.stage, d.version, d.kpi_version, d.content_sha256, d.headline, d.summary, d.counts, d.updated_at, d.received_at,
       d.watermark, coalesce(d.provenance->'books', '["live"]'::jsonb) as books, p.status, p.target, p.verified, p.finished_at
  from metrics.v_daily d
  left join lateral (
        select v.status, v.target, v.verified, v.finished_at
          from metrics.v_publications v
         where v.report_date = d.date and v.finished_at is not null and v.status <> 'watched'
         order by v.seq desc limit 1) p on true
 where (:date::date is null or d.date = :date::date)
   and coalesce(d.provenance->'books', '["live"]'::jsonb) <@ to_jsonb(:books::text[])
 order by d.date desc
 limit 1;

-- name: kpis
-- The figures of a published day, in its order.
select kpi, value_text, value_num, value_kind, unit, sort_order, missing_reason
  from metrics.v_kpis where date = :date order by sort_order, kpi;

-- name: assets
-- The open positions of a published day.
select trade_id, symbol, contract_name from metrics.v_assets where date = :date order by trade_id, contract_name;

-- name: dates
-- Published days, the latest first, with how often their final figures were restated.
select d.date, d.stage, d.version, d.headline, d.updated_at,
       (select count(distinct r.version) from metrics.v_restatements r where r.date = d.date) as restated
  from metrics.v_daily d
 where (:before::date is null or d.date < :before::date)
   and coalesce(d.provenance->'books', '["live"]'::jsonb) <@ to_jsonb(:books::text[])
 order by d.date desc
 limit :limit;

-- name: points
-- The points of a figure on a day.
select t, v, src from metrics.v_series where date = :date and kpi = :kpi order by t;

-- name: extremes
-- The trades at the ends of the figures of a day.
select e.kpi, e.side, e.rank, e.trade_id, e.symbol, e.contract_name, e.metric_raw, e.metric_abs, e.individual_pnl,
       e.abs_individual_pnl, e.percent_change, e.cost_basis, e.qty, e.bid_price, e.ask_price, e.mid_price, e.mid_ts, e.mid_mark_pnl,
       e.liquidity_drag
  from metrics.v_extremes e
  left join metrics.v_kpis k on k.date = e.date and k.kpi = e.kpi
 where e.date = :date and (:kpi::text is null or e.kpi = :kpi::text) and (:side::text is null or e.side = :side::text)
 order by k.sort_order nulls last, e.kpi, e.side, e.rank;

-- name: restatements
-- What later versions of final days changed, the latest first.
select r.date, r.version, r.subject, r.name, r.old_text, r.new_text, r.old_num, r.new_num, r.difference, r.recorded_at, r.late_actions,
       md5(r.date || '/' || r.version || '/' || r.subject || '/' || r.name)::uuid as uid
  from metrics.v_restatements r
  join metrics.v_daily d on d.date = r.date
 where (:date::date is null or r.date = :date::date)
   and coalesce(d.provenance->'books', '["live"]'::jsonb) <@ to_jsonb(:books::text[])
   and (r.recorded_at, md5(r.date || '/' || r.version || '/' || r.subject || '/' || r.name)::uuid)
       < (:after_at::timestamptz, :after_id::uuid)
 order by r.recorded_at desc, uid desc
 limit :limit;
