-- Statements about what proves a book: views of the ledger alone.

-- name: audits
-- The last audit of each book with what it found.
select distinct on (book_id) book_id, ran_at, exit, findings, seq, code_version
  from ledger.v_audits
 where book_id = any(:books::text[])
 order by book_id, ran_at desc;

-- name: reconciliations
-- The last comparisons of each book with its brokers.
select r.*
  from unnest(:books::text[]) as b(book_id)
 cross join lateral (
       select v.book_id, v.as_of, v.recorded_at, v.source, v.version, v.result, v.reason, v.breaks_found, v.breaks_open, v.breaks_resolved
         from ledger.v_reconciliations v
        where v.book_id = b.book_id
        order by v.as_of desc, v.recorded_at desc
        limit :limit) as r
 order by r.book_id, r.as_of desc, r.recorded_at desc;

-- name: anchors
-- The last anchors of each book's chain.
select a.*
  from unnest(:books::text[]) as b(book_id)
 cross join lateral (
       select v.book_id, v.anchored_on, v.seq, v.chain_head, v.recorded_at
         from ledger.v_chain_anchors v
        where v.book_id = b.book_id
        order by v.anchored_on desc
        limit :limit) as a
 order by a.book_id, a.anchored_on desc;

-- name: break_groups
-- Open differences by kind, cause and age.
select book_id, kind, cause,
       case when sessions = 0 then '0' when sessions = 1 then '1' when sessions <= 5 then '2-5' else '6+' end as age,
       count(*) as count, min(first_seen_at) as oldest_at
  from ledger.v_breaks
 where book_id = any(:books::text[]) and resolved_at is null
 group by 1, 2, 3, 4
 order by 1, 2, 3, min(sessions) desc;

-- name: breaks
-- Open differences between books and brokers, oldest first.
select break_id, book_id, kind, instrument, ticker, direction::text as direction, currency, expected, actual, difference, cause,
       note, sessions, first_seen_at, last_seen_at
  from ledger.v_breaks
 where book_id = any(:books::text[]) and resolved_at is null
 order by first_seen_at, book_id, break_id
 limit :limit;
