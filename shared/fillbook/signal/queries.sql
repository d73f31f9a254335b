-- Statements of room signal that are not on the hot path; the hot path is signal.load and signal.apply.

-- name: quarantine_listed
-- Refused bodies without the bodies, the last seen first.
select quarantine_id, source, reason, field, ticker, is_kept, body_bytes, body_hash, count, first_seen_at, last_seen_at,
       resolved_at, resolution
  from signal.v_quarantine
 where not :unresolved_only::boolean or resolved_at is null
 order by last_seen_at desc, quarantine_id
 limit :rows_max::integer;

-- name: quarantine_by_id
-- One refused body.
select quarantine_id, source, reason, field, ticker, body, body_bytes, count, first_seen_at, last_seen_at, resolved_at, resolution
  from signal.quarantine
 where quarantine_id = :quarantine_id;

-- name: quarantine_resolved
-- Notes what became of a refused body.
update signal.quarantine
   set resolved_at = :now, resolution = :resolution
 where quarantine_id = :quarantine_id;
