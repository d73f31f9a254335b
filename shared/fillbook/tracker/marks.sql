-- Marks of an instrument, from views of the ledger.

-- name: marks
-- The newest marks of an instrument in a range; those of one that was split are shown in today's units, which costs more.
select b.book_id, m.marked_at, m.price, m.bid, m.ask
  from unnest(:books::text[]) as b(book_id)
 cross join lateral (
       select exists (select from ledger.v_split_history j where j.book_id = b.book_id and j.instrument = :instrument) as is_split) as s
 cross join lateral (
       (select h.marked_at, h.price, h.bid, h.ask from ledger.v_mark_history h
         where not s.is_split and h.book_id = b.book_id and h.instrument_id = :instrument
           and h.bucket_at >= :since::timestamptz - interval '5 minutes' and h.bucket_at < :until::timestamptz
           and h.marked_at >= :since::timestamptz and h.marked_at < :until::timestamptz
         order by h.bucket_at desc limit :limit)
       union all
       (select v.as_of, v.price, v.bid, v.ask from ledger.v_marks v
         where s.is_split and v.book_id = b.book_id and v.instrument_id = :instrument
           and v.bucket_at >= :since::timestamptz - interval '5 minutes' and v.bucket_at < :until::timestamptz
           and v.as_of >= :since::timestamptz and v.as_of < :until::timestamptz
         order by v.bucket_at desc limit :limit)) as m
 order by m.marked_at desc, b.book_id
 limit :limit;
