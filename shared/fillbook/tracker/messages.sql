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
        and (m.book_id = any(:books::text[]) or (m.book_id is null and 'live' = any(:books::text[])))
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
select a.attempt_id, s.channel_id, s.subject_key, s.subject_kind, s.book_id, s.action_id, s.position_id, a.operation, a.started_at,
       a.finished_at, a.http_status, a.discord_code, a.retry_after_seconds, a.message_id as answered_message_id, a.error,
       a.response_excerpt
  from notify.v_attempts a
 cross join lateral (
     select v.* from notify.v_attempt_subjects v
      where v.attempt_id = a.attempt_id
        and (v.book_id = any(:books::text[]) or (v.book_id is null and 'live' = any(:books::text[])))
        and (:after_at::timestamptz is null or a.started_at < :after_at::timestamptz
             or (v.attempt_id, v.subject_key, v.channel_id) > (:after_id::uuid, :after_key::text, :after_channel::text))
     offset 0) as s
 where a.started_at <= coalesce(:after_at::timestamptz, 'infinity')
   and (:since::timestamptz is null or a.started_at >= :since::timestamptz)
   and (:until::timestamptz is null or a.started_at < :until::timestamptz)
   and (:channel::text is null or a.channel_id = :channel::text)
   and (:operation::text is null or a.operation = :operation::text)
 order by a.started_at desc, a.attempt_id, s.subject_key, s.channel_id
 limit :limit;

-- name: deliveries_about
-- The same of one execution, one position or one subject, found from its messages.
with about as materialized (
    select s.* from notify.v_attempt_subjects s
     where (:action_id::uuid is null or s.action_id = :action_id::uuid)
       and (:position_id::uuid is null or s.position_id = :position_id::uuid)
       and (:subject::text is null or (s.channel_id = any(:channels::text[]) and s.subject_key = :subject::text)))
select a.attempt_id, s.channel_id, s.subject_key, s.subject_kind, s.book_id, s.action_id, s.position_id, a.operation, a.started_at,
       a.finished_at, a.http_status, a.discord_code, a.retry_after_seconds, a.message_id as answered_message_id, a.error,
       a.response_excerpt
  from about s
  join notify.v_attempts a on a.attempt_id = s.attempt_id
 where (s.book_id = any(:books::text[]) or (s.book_id is null and 'live' = any(:books::text[])))
   and (:after_at::timestamptz is null or a.started_at < :after_at::timestamptz
        or (a.started_at = :after_at::timestamptz
            and (a.attempt_id, s.subject_key, s.channel_id) > (:after_id::uuid, :after_key::text, :after_channel::text)))
   and (:since::timestamptz is null or a.started_at >= :since::timestamptz)
   and (:until::timestamptz is null or a.started_at < :until::timestamptz)
   and (:channel::text is null or a.channel_id = :channel::text)
   and (:operation::text is null or a.operation = :operation::text)
 order by a.started_at desc, a.attempt_id, s.subject_key, s.channel_id
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
 where m.state = 'dead' and (m.book_id = any(:books::text[]) or (m.book_id is null and 'live' = any(:books::text[])))
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
 where f.run_id = any(:run_ids::uuid[]) and (f.book_id = any(:books::text[]) or (f.book_id is null and 'live' = any(:books::text[])))
 order by f.found_at desc, f.run_id, f.ordinal
 limit :limit;
