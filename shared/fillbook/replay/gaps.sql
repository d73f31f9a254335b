-- Statements of the gap report: what is stored of a day, counted where it lies.

-- name: gap_tickers
-- Per ticker of a session: its distinct minutes, first and last ts, and the buckets that hold a row (ms).
select ticker, count(distinct date_trunc('minute', ts)) as minutes, min(ts) as first_at, max(ts) as last_at,
       array_agg(distinct (extract(epoch from bucket_5m) * 1000)::bigint) as buckets
  from signal.v_receipts
 where bucket_5m >= :start_at::timestamptz and bucket_5m < :end_at::timestamptz
   and (:ticker::text is null or ticker = :ticker::text)
   and (:script_version::text = '*' or script_version = :script_version::text)
 group by ticker
 order by ticker

-- name: gap_counts
-- Rows of a session by script version and by what live made of them.
select script_version, result::text as result, count(*) as rows
  from signal.v_receipts
 where bucket_5m >= :start_at::timestamptz and bucket_5m < :end_at::timestamptz
   and (:ticker::text is null or ticker = :ticker::text)
 group by script_version, result

-- name: gap_known
-- Tickers of the live desk that sent anything between two instants.
select f.ticker
  from signal.v_freshness f
 where f.book_id = :live::text and f.newest_ts >= :since::timestamptz
   and (:ticker::text is null or f.ticker = :ticker::text)
   and exists (select from signal.v_receipts r
                where r.ticker = f.ticker and r.bucket_5m >= :since::timestamptz and r.bucket_5m < :until::timestamptz)
 order by f.ticker

-- name: gap_quarantined
-- Bodies that were put aside while a session ran.
select count(*) as bodies
  from signal.v_quarantine
 where first_seen_at < :end_at::timestamptz and last_seen_at >= :start_at::timestamptz
   and (:ticker::text is null or ticker = :ticker::text)
