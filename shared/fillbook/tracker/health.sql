-- Is the desk well: ages and counts from views of all rooms.

-- name: ages, planned once
-- Newest rows of the desk and what waits or failed on its way out. Each newest row is the first of an index.
select (select max(f.last_ts) from signal.v_freshness f where f.book_id = any(:books::text[])) as last_receipt_at,
       (select max(a.executed_at)
          from unnest(:books::text[]) as b(book_id)
         cross join lateral (select x.executed_at from ledger.v_actions x where x.book_id = b.book_id
                              order by x.executed_at desc limit 1) as a) as last_execution_at,
       (select max(m.marked_at)
          from unnest(:books::text[]) as b(book_id)
         cross join lateral (select x.instrument_id from ledger.v_positions x
                              where x.book_id = b.book_id and x.status = 'OPEN' offset 0) as p
         cross join lateral (select x.marked_at from ledger.v_mark_history x
                              where x.book_id = b.book_id and x.instrument_id = p.instrument_id
                              order by x.bucket_at desc limit 1) as m) as newest_mark_at,
       (select coalesce(sum(due), 0) from outbox.v_backlog) as outbox_depth,
       (select coalesce(sum(parked), 0) from outbox.v_backlog) as outbox_parked,
       (select min(oldest_unpublished_at) from outbox.v_backlog) as outbox_oldest_at,
       (select coalesce(sum(c.pending + c.ambiguous), 0) from notify.v_channels c) as messages_pending,
       (select coalesce(sum(c.dead), 0) from notify.v_channels c) as messages_dead,
       (select max(c.last_posted_at) from notify.v_channels c) as last_delivery_at,
       (select count(*) from outbox.v_quarantined q where q.resolved_at is null) as deliveries_quarantined,
       (select count(*) from signal.v_quarantine q where q.resolved_at is null) as receipts_quarantined,
       (select count(*) from ibkr.v_quarantine q where q.state = 'open') as rows_quarantined,
       (select v.version from ops.v_migration v) as migration;

-- name: channels, planned once
-- The channels that stand still, with why and until when.
select channel_id, status, status_reason, paused_reason, case when paused_until > :now::timestamptz then paused_until end as paused_until
  from notify.v_channels
 where status <> 'active' or paused_until > :now::timestamptz
 order by channel_id;

-- name: audits, planned once
-- The last audit and the last anchor of each book.
select b.book_id, a.ran_at, a.exit, k.recorded_at as anchored_at
  from unnest(:books::text[]) as b(book_id)
  left join lateral (select v.ran_at, v.exit from ledger.v_audits v where v.book_id = b.book_id order by v.ran_at desc limit 1) as a on true
  left join lateral (select v.recorded_at from ledger.v_chain_anchors v where v.book_id = b.book_id
                      order by v.anchored_on desc limit 1) as k on true
 order by b.book_id;

-- name: latest_day, planned once
-- The newest published day, and the one that is due.
select d.date, d.stage, d.version
  from metrics.v_daily d
 where (d.date = :due::date or d.date = (select max(m.date) from metrics.v_daily m))
   and coalesce(d.provenance->'books', '["live"]'::jsonb) <@ to_jsonb(:books::text[])
 order by d.date;
