-- name: groups_of_accounts
-- Which servers the active accounts of each service instance are at, found by skipping along their index.
with recursive found as (
    (select a.instance_key, a.server
       from mt5.trading_accounts a
      where a.is_active
      order by a.instance_key, a.server
      limit 1)
    union all
    select n.instance_key, n.server
      from found f
     cross join lateral (select a.instance_key, a.server
                           from mt5.trading_accounts a
                          where a.is_active and (a.instance_key, a.server) > (f.instance_key, f.server)
                          order by a.instance_key, a.server
                          limit 1) n
)
select instance_key, server from found

-- name: times_of_accounts
-- How long accounts took of late, and how often they were tried.
select coalesce(sum(h.duration_ms_sum), 0)::bigint as duration_ms, coalesce(sum(h.runs - h.skips), 0)::integer as runs
  from mt5.sync_hours h
 where h.account_id = any (:account_ids::uuid[]) and h.hour >= :since

-- name: latest_run
-- The scheduler's last run.
select to_jsonb(r) as run
  from mt5.sync_runs r
 where r.sync_type = 'scheduled' and r.scheduled_for is not null
 order by r.scheduled_for desc
 limit 1

-- name: groups_of
-- Instance and server of some accounts.
select distinct a.instance_key, a.server from mt5.trading_accounts a where a.id = any (:account_ids::uuid[])

-- name: health
-- How accounts stand, those that fail first; or one of them.
select h.*
  from mt5.account_sync_health h
 where :account_id::uuid is null or h.account_id = :account_id
 order by h.sync_failure_count desc, h.server, h.login_number, h.tenant_id

-- name: names_of
-- What people call some accounts.
select a.id::text as account_id, a.server, a.login_number, a.account_name
  from mt5.trading_accounts a
 where a.id = any (:account_ids::uuid[])

-- name: breakers_not_closed
-- What keeps accounts from being tried, and from when one is tried again.
select b.key, replace(b.state::text, '_', ' ') as state, b.probe_at, b.last_error_code
  from mt5.service_breakers b
 where b.state <> 'closed'
 order by b.key
