-- name: clear_replay_book
-- Empty a replay book; the function itself refuses any other.
select ledger.clear_replay_book(:book_id);

-- name: adjustment_versions
-- All versions of one split, oldest first.
select to_json(j) as row from ledger.adjustments j
 where j.book_id = :book_id and j.adjustment_id = :adjustment_id
 order by j.version;

-- name: book_head
-- One book with the end of its chain.
select to_json(b) as row from ledger.books b where b.book_id = :book_id;

-- name: lock_book
-- One book under its row lock: nobody books in it until the transaction ends.
select to_json(b) as row from ledger.books b where b.book_id = :book_id for update;

-- name: book_ids
-- Every book, or those with rows recorded since an instant.
select b.book_id from ledger.books b
 where :since::timestamptz is null or b.last_recorded_at >= :since::timestamptz
 order by b.book_id;

-- name: fills_page
-- Journal rows of a book after a seq.
select to_json(f) as row from ledger.fills f
 where f.book_id = :book_id and f.seq > :after
 order by f.seq limit :rows_max;

-- name: adjustments
-- All versions of all splits of a book.
select to_json(j) as row from ledger.adjustments j where j.book_id = :book_id order by j.seq;

-- name: actions_page
-- History rows of a book after a seq, each with its closings in ordinal order.
select to_json(a) as row,
       (select json_agg(c order by c.ordinal) from ledger.closings c
         where c.book_id = a.book_id and c.action_id = a.action_id and c.version = a.version) as closings
  from ledger.execution_actions a
 where a.book_id = :book_id and a.seq > :after
 order by a.seq limit :rows_max;

-- name: positions_page
-- Positions of a book after an id.
select to_json(p) as row from ledger.positions p
 where p.book_id = :book_id and p.position_id > :after
 order by p.position_id limit :rows_max;

-- name: lots_page
-- Lots of a book after an id.
select to_json(l) as row from ledger.lots l
 where l.book_id = :book_id and l.lot_id > :after
 order by l.lot_id limit :rows_max;

-- name: parked
-- Facts that a book holds but cannot book.
select k.fill_id::text as fill_id, k.instrument, k.reason, k.parked_at
  from ledger.parked_fills k where k.book_id = :book_id order by k.fill_id;
