-- Statements of comparisons: two decision logs read by keyset, what the decisions at a difference stored, and what came of it.

-- name: compared_run
-- What a comparison needs to know of a run, by its id or its name.
select run_id, book_id, date_from, date_to, ticker, script_version, session, config, config_digest, code_version, status::text as status,
       (select max(c.bucket) from replay.checkpoints c where c.run_id = r.run_id) as last_bucket
  from replay.run_records r
 where run_id::text = :run::text or name = :run::text

-- name: log_tickers
-- Tickers of which one of the books decided anything.
select distinct ticker
  from signal.v_freshness
 where book_id = any(:books::text[]) and last_ts is not null and (:ticker::text is null or ticker = :ticker::text)

-- name: log_page
-- Lines of one book on one ticker from a ts on, oldest first, with what was booked of each and by which action it was opened.
select d.ticker, (extract(epoch from d.ts) * 1000)::bigint as ts, d.receipt_id::text as receipt_id,
       d.computed_lane::text as computed_lane, d.lane::text as lane, d.reason, trim_scale(d.score)::text as score,
       nullif(d.blocks, '[]')::text as blocks, nullif(d.intents, '[]')::text as intents,
       case when d.action_ids <> '{}' then
           (select jsonb_agg(jsonb_build_array(a.action_id, a.action_type, trim_scale(a.quantity)::text, trim_scale(a.price)::text,
                                               trim_scale(a.realized_pnl)::text, p.first_action_id) order by u.place)::text
              from unnest(d.action_ids) with ordinality as u(action_id, place)
              join ledger.v_actions a on a.book_id = d.book_id and a.action_id = u.action_id
              join ledger.v_positions p on p.book_id = a.book_id and p.position_id = a.position_id) end as actions
  from signal.v_decisions d
 where d.book_id = :book_id::text and d.ticker = :ticker::text and d.ts >= :since::timestamptz
   and (:until::timestamptz is null or d.ts < :until::timestamptz)
   and (:starts::timestamptz[] is null
        or exists (select from unnest(:starts::timestamptz[], :ends::timestamptz[]) as w(starts, ends)
                    where d.ts >= w.starts and d.ts < w.ends))
   and (:script_version::text = '*'
        or exists (select from signal.v_inputs r
                    where r.receipt_id = d.receipt_id and r.ts = d.ts and r.script_version = :script_version::text))
 order by d.ts
 limit :rows_max::integer

-- name: log_told
-- What one book stored of its decisions at some places.
select d.ticker, (extract(epoch from d.ts) * 1000)::bigint as ts, d.profile, d.config_digest, d.trace, d.account,
       d.intents <> '[]' as is_whole
  from unnest(:tickers::text[], :instants::timestamptz[]) as w(ticker, at)
  join signal.v_decisions d on d.book_id = :book_id::text and d.ticker = w.ticker and d.ts = w.at

-- name: log_starts
-- States and open plans of some tickers before their first decided receipt from a day on.
select distinct on (s.ticker) s.ticker, s.state, s.plan
  from signal.v_snapshots s
 where s.book_id = :book_id::text and s.ticker = any(:tickers::text[]) and s.session_date >= :since::date
 order by s.ticker, s.session_date

-- name: log_parted
-- Actions that two books do not share alike, in the order in which a replay decides; side b where both have one.
with mine as (
    select w.action_id, w.ticker, w.ts, a.action_type::text as action_type, a.quantity
      from signal.v_why w join ledger.v_actions a on a.book_id = w.book_id and a.action_id = w.action_id
     where w.book_id = :a::text and w.ts >= :since::timestamptz and w.ts <= :until::timestamptz
), theirs as (
    select w.action_id, w.ticker, w.ts, a.action_type::text as action_type, a.quantity
      from signal.v_why w join ledger.v_actions a on a.book_id = w.book_id and a.action_id = w.action_id
     where w.book_id = :b::text and w.ts >= :since::timestamptz and w.ts <= :until::timestamptz
)
select (extract(epoch from coalesce(m.ts, t.ts)) * 1000)::bigint as ts, coalesce(m.ticker, t.ticker) as ticker,
       action_id::text as action_id, coalesce(t.action_type, m.action_type) as action_type,
       case when t.ts is null then 'a' when m.ts is null then 'b' else 'both' end as side
  from mine m full join theirs t using (action_id)
 where m.ts is null or t.ts is null or m.quantity <> t.quantity
 order by 1, 2, 3
 limit :rows_max::integer

-- name: comparison_forgotten
-- Removes what an earlier comparison of the same two found.
delete from replay.comparisons where comparison_id = :comparison_id

-- name: comparison_kept
-- Keeps what a comparison found.
insert into replay.comparisons (comparison_id, a, b, identical, totals, positions, tickers, divergent, recorded_at)
values (:comparison_id, :a, :b, :identical, :totals::jsonb, :positions::jsonb, :tickers, :divergent, :now)

-- name: divergences_kept
-- Keeps the first difference of each ticker.
insert into replay.divergences (comparison_id, ticker, ts, receipt_id, field, value_a, value_b, cause, rule, detail, later_count)
select :comparison_id, r.ticker, r.ts, r.receipt_id, r.field, r.value_a, r.value_b, r.cause, r.rule, r.detail, r.later_count
  from jsonb_to_recordset(:rows::jsonb) as r(ticker text, ts timestamptz, receipt_id uuid, field text, value_a jsonb,
       value_b jsonb, cause text, rule text, detail jsonb, later_count integer)

-- name: last_comparison
-- The newest comparison of a run with anything.
select comparison_id, a, b, identical, totals, positions, tickers, divergent, recorded_at
  from replay.comparisons
 where a = :run::text or b = :run::text
 order by recorded_at desc, comparison_id
 limit 1

-- name: divergences_of
-- First differences of a comparison, outcomes before figures, the earliest first; after a place.
select ticker, (extract(epoch from ts) * 1000)::bigint as ts, receipt_id, field, value_a, value_b, cause, rule, detail, later_count
  from replay.divergences
 where comparison_id = :comparison_id
   and (:after_ts::timestamptz is null or (coalesce(detail ? 'figuresOnly', false), ts, ticker)
        > (:after_figures::boolean, :after_ts::timestamptz, :after_ticker::text))
 order by coalesce(detail ? 'figuresOnly', false), ts, ticker
 limit :rows_max::integer
