-- name: dead_letters
-- Dead letters by channel and reason, the oldest first, for people.
select channel_id, dead_reason, count(*)::int as count, min(occurred_at) as oldest,
       (array_agg(subject_key order by occurred_at, subject_key))[1] as example,
       'replay --reason ' || dead_reason as remedy
  from notify.v_messages
 where state = 'dead'
 group by channel_id, dead_reason
 order by min(occurred_at), channel_id, dead_reason
