-- name: breakers
-- Breakers by key; one that is not there was never needed.
select key, state::text as state, consecutive, recent, opened_at, probe_at, cooldown_seconds, probe_token, success_started_at,
       last_error_code
  from mt5.service_breakers
 where key = any(:keys::text[])

-- name: breakers_made
-- Make the rows of breakers that were never needed before.
insert into mt5.service_breakers (key, state, cooldown_seconds)
select w.key, 'closed', :cooldown_seconds::int from unnest(:keys::text[]) as w(key) order by w.key
on conflict (key) do nothing

-- name: breakers_locked
-- Breakers by key, locked until the end of the transaction, always in the same order.
select key, state::text as state, consecutive, recent, opened_at, probe_at, cooldown_seconds, probe_token, success_started_at,
       last_error_code
  from mt5.service_breakers
 where key = any(:keys::text[])
 order by key
   for update

-- name: breakers_written
-- Write breakers back, of which the caller holds the lock.
update mt5.service_breakers b
   set state = r.state, consecutive = r.consecutive, recent = r.recent, opened_at = r.opened_at, probe_at = r.probe_at,
       cooldown_seconds = r.cooldown_seconds, probe_token = r.probe_token, success_started_at = r.success_started_at,
       last_error_code = r.last_error_code
  from jsonb_to_recordset(:rows::jsonb) as r(key text, state mt5.breaker_state, consecutive int, recent text,
       opened_at timestamptz, probe_at timestamptz, cooldown_seconds int, probe_token bigint, success_started_at timestamptz,
       last_error_code text)
 where b.key = r.key

-- name: tokens_locked
-- Let one transaction at a time count and give out an instance's tokens; what it then reads is complete.
select pg_advisory_xact_lock(hashtextextended('mt5.rate_tokens/' || :instance_key, 0))::text as locked

-- name: tokens_taken
-- Tokens of an instance by second, those alone that have not come back.
select slot_second, spent from mt5.rate_tokens where instance_key = :instance_key and slot_second >= :since and spent > 0

-- name: tokens_moved
-- Add to the tokens of some seconds and take from those of others, which are different seconds.
with told as (
    select w.slot_second, w.change from unnest(:seconds::bigint[], :changes::int[]) as w(slot_second, change)
), taken_back as (
    update mt5.rate_tokens t
       set spent = greatest(t.spent + w.change, 0)
      from told w
     where t.instance_key = :instance_key and t.slot_second = w.slot_second and w.change < 0
)
insert into mt5.rate_tokens (instance_key, slot_second, spent)
select :instance_key, w.slot_second, w.change from told w where w.change > 0
on conflict (instance_key, slot_second) do update set spent = mt5.rate_tokens.spent + excluded.spent

-- name: tokens_emptied
-- Let nothing be given out while this second counts.
insert into mt5.rate_tokens (instance_key, slot_second, spent)
values (:instance_key, :slot_second, :emptied)
on conflict (instance_key, slot_second) do update set spent = greatest(mt5.rate_tokens.spent, excluded.spent)

-- name: slots_made
-- Make the sessions of an instance that has more of them than before.
insert into mt5.session_slots (instance_key, slot_no)
select :instance_key, s.slot_no
  from generate_series(1, :sessions_max::int) as s(slot_no)
 where not exists (select from mt5.session_slots k where k.instance_key = :instance_key and k.slot_no = s.slot_no)
on conflict (instance_key, slot_no) do nothing

-- name: slots_claimed
-- Claim free sessions of an instance, or such whose holder is gone, for a while on the server's real clock.
with free as (
    select slot_no
      from mt5.session_slots
     where instance_key = :instance_key and slot_no <= :sessions_max
       and (holder is null or lease_until is null or lease_until <= clock_timestamp())
     order by slot_no
     limit :wanted::int
       for update skip locked
)
update mt5.session_slots s
   set holder = :holder::uuid, lease_until = clock_timestamp() + make_interval(secs => :lease_seconds::int)
  from free f
 where s.instance_key = :instance_key and s.slot_no = f.slot_no
returning s.slot_no

-- name: slots_renewed
-- Hold on to what is still ours; a lease that ran out is lost, even if nobody took it yet.
update mt5.session_slots
   set lease_until = clock_timestamp() + make_interval(secs => :lease_seconds::int)
 where instance_key = :instance_key and holder = :holder::uuid and slot_no <= :sessions_max
   and lease_until > clock_timestamp()
returning slot_no

-- name: slots_released
-- Give sessions back; those with the highest numbers first.
update mt5.session_slots
   set holder = null, lease_until = null
 where instance_key = :instance_key and holder = :holder::uuid
   and slot_no in (select k.slot_no
                     from mt5.session_slots k
                    where k.instance_key = :instance_key and k.holder = :holder::uuid
                    order by k.slot_no desc
                    limit :count::int)
