-- name: clear_replay_book
-- Empty a replay book; the function itself refuses any other.
select ledger.clear_replay_book(:book_id);

-- name: adjustment_versions
-- All versions of one split, oldest first.
select to_json(j) as row from ledger.adjustments j
 where j.book_id = :book_id and j.adjustment_id = :adjustment_id
 order by j.version;
