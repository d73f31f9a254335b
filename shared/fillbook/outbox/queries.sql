-- name: backlog
-- What stands still by topic: due and parked rows, and the oldest recorded_at of a due one.
select topic, due, parked, oldest_unpublished_at from outbox.v_backlog order by topic;

-- name: parked
-- Events that were refused for good, newest first.
select id, event_id, event_type, book_id, aggregate_key, aggregate_version, topic, parked_at, attempts, last_error
  from outbox.events
 where parked_at is not null and (:topic::text is null or topic = :topic) and (:reason::text is null or last_error = :reason)
 order by parked_at desc, id desc limit :rows_max;

-- name: retry
-- Put parked events back in line; they go out in id order with whatever else their aggregate has waiting.
update outbox.events set parked_at = null, attempts = 0, available_at = :now
 where parked_at is not null and (:event_id::uuid is null or event_id = :event_id)
   and (:reason::text is null or last_error = :reason);

-- name: quarantined
-- Refused messages of all consumers that keep no table of their own, unresolved ones only unless asked.
select consumer, body_hash, reason, body_bytes, body_excerpt, count, first_seen_at, last_seen_at, resolved_at
  from outbox.v_quarantined
 where (:consumer::text is null or consumer = :consumer) and (:with_resolved or resolved_at is null)
 order by last_seen_at desc, consumer, body_hash limit :rows_max;

-- name: resolve
-- Mark one quarantined body as dealt with.
update outbox.quarantine set resolved_at = :now
 where consumer = :consumer and body_hash = decode(:body_hash, 'hex') and resolved_at is null;
