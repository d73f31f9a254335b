-- The board and how tickers came to stand where they stand: views of rooms signal and ledger.

-- name: lanes
-- The columns of the board in their order.
select l.key, l.title, l.stages, l.holds from signal.v_lanes l order by l.place;

-- name: board
-- One card per ticker, latest move first, with its last mark, the last one of an earlier session, and the position the book has of it:
-- the open one, else the one that the receipt of its lane closed.
select s.book_id, s.ticker, s.lane::text as lane, s.previous_lane::text as previous_lane, s.reason, s.rule, s.badges, s.blocks,
       s.lane_since, s.side, s.score, s.last_price, s.day_change_percent, s.last_ts, s.last_receipt_id, m.price as mark,
       m.as_of as marked_at, d.price as mark_before, p.position_id, p.status
  from signal.v_board s
  left join lateral (select v.price, v.as_of from ledger.v_marks v
                      where v.book_id = s.book_id and v.instrument_id = s.ticker
                      order by v.bucket_at desc limit 1) m on true
  left join lateral (select v.price from ledger.v_marks v
                      where v.book_id = s.book_id and v.instrument_id = s.ticker and v.bucket_at < :day_start and v.as_of < :day_start
                      order by v.bucket_at desc limit 1) d on true
  left join lateral (
        select f.position_id, f.status
          from (select o.position_id, 'OPEN' as status
                  from ledger.v_positions o
                 where o.book_id = s.book_id and o.instrument_id = s.ticker and o.status = 'OPEN'
                union all
                select a.position_id, 'CLOSED'
                  from signal.v_lanes l
                 cross join lateral (select h.action_ids from signal.v_moves h
                                      where h.book_id = s.book_id and h.ticker = s.ticker order by h.seq desc limit 1) h
                 cross join lateral unnest(h.action_ids) as done(action_id)
                  join ledger.v_actions a on a.book_id = s.book_id and a.action_id = done.action_id and a.action_type = 'EXIT'
                 where l.holds = 'closed' and s.lane::text = any(l.stages)) f
         order by f.status desc, f.position_id limit 1) p on true
 where s.book_id = any(:books::text[]) and (:ticker::text is null or s.ticker = :ticker::text)
 order by s.lane_since desc, s.ticker, s.book_id;

-- name: moves
-- A page of moves, newest first, book by book along their order, then the first of all.
select found.*
  from unnest(:books::text[]) as wanted(book_id)
 cross join lateral (
     select m.book_id, m.ticker, m.seq, m.from_lane::text as from_lane, m.lane::text as lane, m.rule, m.reason, m.badges, m.blocks,
            m.price, m.score, m.entered_at, m.left_at, m.receipt_id, m.action_ids
       from signal.v_moves m
      where m.book_id = wanted.book_id
        and (:after_at::timestamptz is null
             or ((m.entered_at, m.receipt_id) <= (:after_at::timestamptz, :after_id::uuid)
                 and (m.entered_at, m.receipt_id, m.book_id) < (:after_at::timestamptz, :after_id::uuid, :after_book::text)))
        and (:since::timestamptz is null or m.entered_at >= :since::timestamptz)
        and (:until::timestamptz is null or m.entered_at < :until::timestamptz)
        and (:ticker::text is null or m.ticker = :ticker::text)
      order by m.entered_at desc, m.receipt_id desc
      limit :limit) as found
 order by found.entered_at desc, found.receipt_id desc, found.book_id desc
 limit :limit;
