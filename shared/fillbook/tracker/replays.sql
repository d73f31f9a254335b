-- Replays as people see them: runs, their buckets, what was found when two were compared. Views of other rooms only.
--
-- A run is shown to whoever may see its book. One whose book has nothing yet belongs to the tenant of the live book, whose receipts
-- it decides again.

-- name: runs
-- A page of runs, youngest first, with what lies behind each and what its book realized, by currency.
select r.run_id, r.name, r.kind::text as kind, r.book_id, r.date_from, r.date_to, r.ticker, r.script_version, r.session, r.inputs,
       r.start_from, r.facts, r.profile, r.config_digest, r.code_version, r.accepted_code, r.input_digest, r.status::text as status,
       r.rows, r.conflicts, r.trades_created, r.trades_purged, r.gaps, r.result_hash, r.state_hash, r.ticker_pass, r.error, r.pinned,
       r.created_by, r.created_at, r.started_at, r.finished_at, r.wall_seconds, r.rows_per_second, c.buckets_done, c.last_bucket,
       m.money
  from replay.v_runs r
  left join ledger.v_books b on b.book_id = r.book_id
  cross join lateral (select count(*) as buckets_done, max(v.bucket) as last_bucket
                        from replay.v_buckets v where v.run_id = r.run_id) c
  cross join lateral (select jsonb_agg(jsonb_build_array(s.currency, s.realized) order by s.currency) as money
                        from (select p.currency, case when bool_and(p.realized_pnl is not null)
                                                      then trim_scale(sum(p.realized_pnl))::text end as realized
                                from ledger.v_positions p
                               where p.book_id = r.book_id and r.book_id like 'replay:%' group by p.currency) s) m
 where coalesce(b.tenant_id, (select l.tenant_id from ledger.v_books l where l.book_id = 'live'), :tenant_id) = :tenant_id
   and r.book_id ~ any(:patterns::text[])
   and (:run::text is null or r.run_id::text = :run::text or r.name = :run::text)
   and (:status::text is null or r.status::text = :status::text)
   and (:date::date is null or :date::date between r.date_from and r.date_to)
   and (r.created_at, r.run_id) < (coalesce(:after_at::timestamptz, 'infinity'),
                                   coalesce(:after_id::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
 order by r.created_at desc, r.run_id desc
 limit :limit;

-- name: buckets
-- Finished buckets of a run, the oldest first.
select v.bucket, v.rows, v.conflicts, v.actions, v.input_digest, v.state_digest, v.result_hash, v.recorded_at
  from replay.v_buckets v
 where v.run_id = :run_id and v.bucket > :after::bigint
 order by v.bucket
 limit :limit;

-- name: comparison
-- What was found last when two were compared, one way or the other; of one day where one is named.
select c.comparison_id, c.a, c.b, c.identical, c.totals, c.positions, c.tickers, c.divergent, c.recorded_at, c.divergences
  from replay.v_comparison c
 where ((c.a = :left and c.b = :right) or (c.a = :right and c.b = :left))
   and (:ids::uuid[] is null or c.comparison_id = any(:ids::uuid[]))
 order by c.recorded_at desc, c.comparison_id
 limit 1;

-- name: compared_actions
-- What either book decided to do within some stretches, by the position it belongs to, in the order of the receipts.
select w.book_id, w.ticker, p.first_action_id, p.position_id, p.currency, p.direction::text as direction, w.ts, a.action_id,
       a.action_type::text as action_type, a.quantity, a.price, a.realized_pnl
  from unnest(:starts::timestamptz[], :ends::timestamptz[]) as s(begins, ends)
  join signal.v_why w on w.book_id = any(:books::text[]) and w.ts >= s.begins and w.ts < s.ends
  join ledger.v_actions a on a.book_id = w.book_id and a.action_id = w.action_id
  join ledger.v_positions p on p.book_id = a.book_id and p.position_id = a.position_id
 where (:ticker::text is null or w.ticker = :ticker::text)
   and (w.book_id <> 'live' or :script_version::text = '*'
        or exists (select from signal.v_receipts r
                    where r.receipt_id = w.receipt_id and r.ts = w.ts and r.script_version = :script_version::text))
 order by w.ts, w.ticker, a.action_id
 limit :limit;
