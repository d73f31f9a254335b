-- name: missing_objects
-- Names of tables and functions of the room that the database does not have.
select w.name
  from unnest(:tables::text[]) as w(name)
 where to_regclass(w.name) is null
union all
select w.name from unnest(:functions::text[]) as w(name) where to_regprocedure(w.name) is null
 order by 1

-- name: instances
-- Service instances that may be asked.
select instance_key, base_url, contract, epoch_clock, sessions_max, rate_per_minute
  from mt5.service_instances
 where is_active
 order by instance_key

-- name: instance_written
-- Write a configured instance down; unchanged ones stay unwritten.
insert into mt5.service_instances as i (instance_key, base_url, contract, epoch_clock, sessions_max, rate_per_minute)
values (:instance_key, :base_url, :contract::mt5.contract_kind, :epoch_clock::mt5.epoch_clock, :sessions_max, :rate_per_minute)
on conflict on constraint service_instances_pk do update
   set base_url = excluded.base_url, contract = excluded.contract, epoch_clock = excluded.epoch_clock,
       sessions_max = excluded.sessions_max, rate_per_minute = excluded.rate_per_minute
 where (i.base_url, i.contract, i.epoch_clock, i.sessions_max, i.rate_per_minute)
       is distinct from (excluded.base_url, excluded.contract, excluded.epoch_clock, excluded.sessions_max,
                         excluded.rate_per_minute)

-- name: rule_written
-- Write what was measured of a server's clock, unless the rule is another one meanwhile.
update mt5.servers
   set zone_name = :zone_name, shift_minutes = :shift_minutes, zone_state = :zone_state::mt5.zone_state,
       zone_mismatch_polls = :zone_mismatch_polls
 where server = :server and zone_name = :was_zone_name and shift_minutes = :was_shift_minutes
   and zone_state = :was_zone_state::mt5.zone_state

-- name: one_account
-- An account with its state and its server's rule, where the tenant (null: any) has it.
select mt5.account_rows(array[a.id])->0 as found
  from mt5.trading_accounts a
 where a.id = :account_id and (:tenant_id::text is null or a.tenant_id = :tenant_id)

-- name: accounts_of_server
-- Accounts of a server in the order of their ids, active or not.
select a.id as account_id
  from mt5.trading_accounts a
 where a.server = :server and a.id > :after
 order by a.id
 limit :rows_max

-- name: deals_page
-- Revisions of an account's deals in the order of tickets, for a rebuild.
select to_jsonb(d) - '{account_id,tenant_id,content_hash,first_seen_run}'::text[] as deal
  from mt5.deals d
 where d.account_id = :account_id and (d.deal_ticket, d.revision) > (:after_ticket::bigint, :after_revision::integer)
 order by d.deal_ticket, d.revision
 limit :rows_max

-- name: trades_page
-- Trades of an account in the order of their keys, for a rebuild.
select to_jsonb(t) - '{tenant_id,updated_at}'::text[] as trade
  from mt5.trades t
 where t.account_id = :account_id and (t.position_id, t.episode) > (:after_position::bigint, :after_episode::integer)
 order by t.position_id, t.episode
 limit :rows_max

-- name: due_page
-- Active accounts that are due (due_before null: all), longest due first; a tenant's alone where one is given.
select s.account_id, s.tenant_id, s.next_due_at::text as next_due_at, a.server, a.instance_key, a.shard
  from mt5.account_sync_state s
  -- row by row, so that a page costs what it returns whatever the statistics say: row-level security hides them
 cross join lateral (select x.server, x.instance_key, x.shard, x.is_active, x.connection_status::text as connection_status
                       from mt5.trading_accounts x where x.id = s.account_id offset 0) a
 where (s.next_due_at, s.account_id) > (:after_due::timestamptz, :after_id::uuid)
   and s.next_due_at <= coalesce(:due_before::timestamptz, 'infinity')
   and a.is_active and (:with_reauth::boolean or a.connection_status <> 'needs_reauth')
   and (:tenant_id::text is null or s.tenant_id = :tenant_id)
 order by s.next_due_at, s.account_id
 limit :rows_max

-- name: fleet
-- How many active accounts there are, and how many of them had a success since an instant.
select count(*) as active, count(*) filter (where a.last_successful_sync_at > :fresh_since) as fresh
  from mt5.trading_accounts a
 where a.is_active and (:tenant_id::text is null or a.tenant_id = :tenant_id)

-- name: active
-- How many accounts are active, counted no further than asked for: a large fleet is not counted by each of its shards.
select count(*) as active
  from (select from mt5.trading_accounts a
         where a.is_active and (:tenant_id::text is null or a.tenant_id = :tenant_id)
         limit :count_max::bigint) a

-- name: due
-- How many accounts are due, counted no further than asked for.
select count(*) as due
  from (select from mt5.account_sync_state s
         cross join lateral (select x.is_active, x.connection_status::text as connection_status
                               from mt5.trading_accounts x where x.id = s.account_id offset 0) a
         where s.next_due_at <= :due_before and a.is_active and a.connection_status <> 'needs_reauth'
           and (:tenant_id::text is null or s.tenant_id = :tenant_id)
         limit :count_max::bigint) d

-- name: heartbeat
-- Say that a run is alive (real time).
update mt5.sync_runs set heartbeat_at = clock_timestamp() where run_id = :run_id and status = 'running'

-- name: tasks_alive
-- How many runs of tasks of the job are alive (real time); a slot of the job has none of its own work.
select count(*) as count
  from mt5.sync_runs r
 where r.status = 'running' and r.heartbeat_at > clock_timestamp() - make_interval(secs => :alive_seconds::integer)
   and r.mode = 'job' and r.scheduled_for is null

-- name: shard_taken
-- Begin the next queued shard of a run at an instance, where all of its accounts still are, unless somebody waits for a run by
-- hand (real time); waits for no row.
with free as (
    select s.run_id, s.shard_no
      from mt5.sync_shards s
     where s.run_id = :run_id and s.instance_key = :instance_key and s.state = 'queued'
       and not exists (select from mt5.trading_accounts a
                        where a.id = any (s.account_ids) and a.instance_key <> s.instance_key)
       and not exists (select from mt5.sync_runs r
                        where r.status = 'running' and r.sync_type = 'manual' and r.run_id <> :run_id
                          and r.heartbeat_at > clock_timestamp() - make_interval(secs => :alive_seconds::integer))
     order by s.shard_no
     limit 1
       for update of s skip locked)
update mt5.sync_shards s
   set state = 'running', started_at = coalesce(s.started_at, :now)
  from free f
 where s.run_id = f.run_id and s.shard_no = f.shard_no
returning to_jsonb(s) as shard

-- name: accounts_queued
-- How many accounts the queued shards of a run have at an instance.
select coalesce(sum(cardinality(s.account_ids)), 0)::integer as count
  from mt5.sync_shards s
 where s.run_id = :run_id and s.instance_key = :instance_key and s.state = 'queued'

-- name: one_run
-- A run.
select to_jsonb(r) as run from mt5.sync_runs r where r.run_id = :run_id

-- name: run_of_lease
-- The run that holds an account now, if any.
select s.lease_run_id
  from mt5.account_sync_state s
 where s.account_id = :account_id and s.lease_until > clock_timestamp()

-- name: run_results
-- Logged outcomes of a run about given accounts, since it began.
select l.account_id, l.status, l.started_at, l.completed_at, l.duration_ms, l.trades_synced, l.error_message, l.error_code,
       l.attempts
  from mt5.sync_logs l
 where l.account_id = any (:account_ids::uuid[]) and l.run_id = :run_id and l.started_at >= :since
 order by l.started_at, l.account_id

-- name: wait_for_accounts
-- Wait for whoever is writing the states of some accounts.
select s.account_id from mt5.account_sync_state s where s.account_id = any (:account_ids::uuid[]) order by s.account_id for update
