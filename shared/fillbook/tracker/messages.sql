-- What was said on Discord, how each request went, and what was found when it was read back: views of room notify.
--
-- Rows that belong to no book (the desk's own troubles) are of whoever may see the live book.

-- name: desk
-- Whose the desk is: the tenant of the live book.
select b.tenant_id from ledger.v_books b where b.book_id = 'live';

-- name: messages
-- A page of messages, newest subject first, channel by channel along their order, then the first of all.
select found.*
  from unnest(:channels::text[]) as wanted(channel_id)
 cross join lateral (
     select m.channel_id, m.subject_key, m.subject_kind, m.book_id, m.action_id, m.position_id, m.title, m.state, m.dead_reason,
            m.wanted_version, m.posted_version, m.message_id, m.message_url, m.embed_index, m.attempts, m.maybe_created,
            m.blind_resends, m.notes, m.verify_due, m.last_finding, m.deaths, m.occurred_at, m.created_at, m.posted_at,
            m.proven_at, m.next_attempt_at, m.pending_since
       from notify.v_messages m
      where m.channel_id = wanted.channel_id
        and coalesce(m.book_id, 'live') = any(:books::text[])
        and (:after_at::timestamptz is null
             or ((m.occurred_at, m.subject_key) <= (:after_at::timestamptz, :after_key::text)
                 and (m.occurred_at, m.subject_key, m.channel_id) < (:after_at::timestamptz, :after_key::text, :after_channel::text)))
        and (:since::timestamptz is null or m.occurred_at >= :since::timestamptz)
        and (:until::timestamptz is null or m.occurred_at < :until::timestamptz)
        and (:state::text is null or m.state = :state::text)
        and (:kind::text is null or m.subject_kind = :kind::text)
        and (:action_id::uuid is null or m.action_id = :action_id::uuid)
        and (:position_id::uuid is null or m.position_id = :position_id::uuid)
      order by m.occurred_at desc, m.subject_key desc
      limit :limit) as found
 order by found.occurred_at desc, found.subject_key desc, found.channel_id desc
 limit :limit;

-- name: deliveries
-- A page of the delivery log, newest request first; a request that carried several subjects has a row for each.
select d.attempt_id, d.channel_id, d.subject_key, d.subject_kind, d.book_id, d.action_id, d.position_id, d.operation, d.started_at,
       d.finished_at, d.http_status, d.discord_code, d.retry_after_seconds, d.answered_message_id, d.error, d.response_excerpt
  from notify.v_delivery_log d
 where d.started_at <= coalesce(:after_at::timestamptz, 'infinity')
   and (:after_at::timestamptz is null or d.started_at < :after_at::timestamptz
        or (d.attempt_id, d.subject_key, d.channel_id) > (:after_id::uuid, :after_key::text, :after_channel::text))
   and coalesce(d.book_id, 'live') = any(:books::text[])
   and (:since::timestamptz is null or d.started_at >= :since::timestamptz)
   and (:until::timestamptz is null or d.started_at < :until::timestamptz)
   and (:channel::text is null or d.channel_id = :channel::text)
   and (:operation::text is null or d.operation = :operation::text)
   and (:action_id::uuid is null or d.action_id = :action_id::uuid)
   and (:position_id::uuid is null or d.position_id = :position_id::uuid)
 order by d.started_at desc, d.attempt_id, d.subject_key, d.channel_id
 limit :limit;

-- name: told_channels
-- The channels: how much waits, since when, until when they rest, and why they stand still.
select c.channel_id, c.kind, c.status, c.status_reason, c.status_at, c.digest, c.pending, c.ambiguous, c.dead, c.oldest_pending_at,
       c.last_posted_at, c.paused_until, c.paused_reason
  from notify.v_channels c
 order by c.channel_id;

-- name: dead_groups
-- Dead letters by channel and reason, the oldest first.
select m.channel_id, m.dead_reason, count(*) as count, min(m.occurred_at) as oldest_at, max(m.occurred_at) as newest_at
  from notify.v_messages m
 where m.state = 'dead' and coalesce(m.book_id, 'live') = any(:books::text[])
 group by m.channel_id, m.dead_reason
 order by min(m.occurred_at), m.channel_id, m.dead_reason;

-- name: proofs
-- A page of runs that compared Discord with the ledger, newest first, or one of them.
select r.run_id, r.channel_id, r.since, r.until, r.is_repairing, r.requested_by, r.status, r.reason, r.queued_at, r.started_at,
       r.finished_at, r.counts, r.heads
  from notify.v_reconcile_runs r
 where (:run_id::uuid is null or r.run_id = :run_id::uuid)
   and (:since::timestamptz is null or r.queued_at >= :since::timestamptz)
   and (:until::timestamptz is null or r.queued_at < :until::timestamptz)
   and r.queued_at <= coalesce(:after_at::timestamptz, 'infinity')
   and (:after_at::timestamptz is null or r.queued_at < :after_at::timestamptz or r.run_id > :after_id::uuid)
 order by r.queued_at desc, r.run_id
 limit :limit;

-- name: findings
-- What some runs found, in their order.
select f.run_id, f.ordinal, f.kind, f.channel_id, f.subject_key, f.book_id, f.action_id, f.message_id, f.differences, f.note,
       f.found_at, f.repaired_at
  from notify.v_findings f
 where f.run_id = any(:run_ids::uuid[]) and coalesce(f.book_id, 'live') = any(:books::text[])
 order by f.found_at desc, f.run_id, f.ordinal
 limit :limit;
