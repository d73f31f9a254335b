-- name: dead_letters
-- Dead letters by channel and reason, the oldest first, for people.
select channel_id, dead_reason, count(*)::int as count, min(occurred_at) as oldest,
       (array_agg(subject_key order by occurred_at, subject_key))[1] as example,
       'replay --reason ' || dead_reason as remedy
  from notify.v_messages
 where state = 'dead'
 group by channel_id, dead_reason
 order by min(occurred_at), channel_id, dead_reason

-- name: books
-- Books with the number of their last row, so that a proof says up to where it looked.
select book_id, seq from ledger.v_books where book_id not like 'replay:%' order by book_id

-- name: page
-- The next subjects of a proof, each once: current actions of told books executed in the window, and what was booked, corrected or
-- busted in it and executed before; and messages without one that stand there or are due.
with acts as (
    select at, subject_key, book_id, action_id
      from (
        (select a.executed_at as at, (a.book_id || '/' || a.action_id) collate "C" as subject_key, a.book_id, a.action_id
           from ledger.v_actions a
          where a.book_id = any (:books::text[]) and a.executed_at >= :since and a.executed_at < :until
            and a.executed_at >= coalesce(:cursor_at::timestamptz, '-infinity')
            and (:cursor_at::timestamptz is null
                 or (a.executed_at, (a.book_id || '/' || a.action_id) collate "C") > (:cursor_at::timestamptz, :cursor_key::text))
          order by 1, 2 limit :rows_max::int)
        union all
        (select h.executed_at, (h.book_id || '/' || h.action_id) collate "C", h.book_id, h.action_id
           from ledger.v_action_history h
          where h.book_id = any (:books::text[]) and h.known_to is null
            and h.known_from >= :since and h.known_from < :until and h.executed_at < :since
            and (:cursor_at::timestamptz is null
                 or (h.executed_at, (h.book_id || '/' || h.action_id) collate "C") > (:cursor_at::timestamptz, :cursor_key::text))
          order by 1, 2 limit :rows_max::int)) of_the_window
     order by 1, 2 limit :rows_max::int)
select at, subject_key, book_id, action_id
  from (
    select at, subject_key, book_id, action_id from acts
    union all
    (select m.occurred_at, m.subject_key, m.book_id, m.action_id
       from notify.v_messages m
      where m.channel_id = :channel_id and m.subject_kind = 'execution' and m.message_id is not null
        and (m.verify_due or (m.occurred_at >= :since and m.occurred_at < :until))
        and m.occurred_at <= (select case when count(*) = :rows_max::int then max(at) else 'infinity' end from acts)
        and (:cursor_at::timestamptz is null
             or (m.occurred_at, m.subject_key) > (:cursor_at::timestamptz, :cursor_key::text collate "C"))
        and not exists (select from ledger.v_action_history h
                         where h.book_id = m.book_id and h.action_id = m.action_id and h.book_id = any (:books::text[])
                           and h.known_to is null
                           and (h.state = 'BOOKED' and h.executed_at >= :since and h.executed_at < :until
                                or h.known_from >= :since and h.known_from < :until and h.executed_at < :since))
      order by 1, 2 limit :rows_max::int)) both_sides
 order by 1, 2 limit :rows_max::int

-- name: actions
-- Current rows of actions with the lots they closed as executed; one after the other, since a young table's plan may join all with all.
select a.book_id, a.action_id, a.version, a.position_id, a.action_type, a.ticker, a.direction, a.executed_at, a.quantity, a.price,
       a.value, a.fees, a.currency, a.realized_pnl, a.position_quantity_after, a.position_vwap_after, a.unrealized_pnl_after,
       a.position_realized_pnl_after, a.reason, a.origin, a.cause, a.seq, a.recorded_at, e.lots
  from unnest(:books::text[], :actions::uuid[]) as u(b, i)
 cross join lateral (select * from ledger.v_actions v where v.book_id = u.b and v.action_id = u.i offset 0) as a
 cross join lateral (select t.lots from ledger.v_trade_events t where t.book_id = u.b and t.event_id = u.i offset 0) as e

-- name: voids
-- The last version of actions that no longer exist: what their bust tells.
select distinct on (h.book_id, h.action_id)
       h.book_id, h.action_id, h.version, h.state, h.position_id, h.action_type, h.ticker, h.direction, h.executed_at, h.quantity,
       h.price, h.value, h.fees, h.currency, h.realized_pnl, h.position_quantity_after, h.position_vwap_after,
       h.unrealized_pnl_after, h.position_realized_pnl_after, h.reason, h.origin, h.cause, h.seq, h.known_from as recorded_at
  from ledger.v_action_history h
 where (h.book_id, h.action_id) in (select b, i from unnest(:books::text[], :actions::uuid[]) u(b, i))
 order by h.book_id, h.action_id, h.version desc

-- name: open_findings
-- What a run has found and not yet seen repaired, in the order it was found.
select ordinal, kind, subject_key, book_id, action_id, message_id
  from notify.v_findings
 where run_id = :run_id and repaired_at is null and kind <> 'unverifiable' and ordinal > :after
 order by ordinal limit :rows_max::int

-- name: run
-- One run as people see it.
select run_id, channel_id, since, until, is_repairing, requested_by, status, reason, queued_at, started_at, finished_at, counts
  from notify.v_reconcile_runs where run_id = :run_id

-- name: findings
-- The findings of a run, field by field.
select ordinal, kind, subject_key, message_id, differences, note, found_at, repaired_at
  from notify.v_findings where run_id = :run_id order by ordinal limit :rows_max::int

-- name: in_messages
-- The subjects that stand in each of some messages, in the order of their embeds.
select message_id, array_agg(subject_key order by embed_index) as subject_keys
  from notify.v_messages where channel_id = :channel_id and message_id = any (:message_ids::text[]) group by message_id

-- name: told
-- Was an action told, when, as which message, what did Discord say: every request about it, oldest first.
select channel_id, subject_key, book_id, action_id, state, wanted_version, posted_version, message_id, embed_index, posted_at,
       proven_at, last_finding, dead_reason, replaced_by, guild_id, place, operation, started_at, finished_at, http_status,
       discord_code, retry_after_seconds, answered_message_id, error, response_excerpt
  from notify.v_delivery_log
 where action_id = :action_id::uuid and (:book_id::text is null or book_id = :book_id::text)
 order by channel_id, subject_key, started_at, attempt_id limit :rows_max::int
