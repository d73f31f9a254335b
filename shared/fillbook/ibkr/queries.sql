-- name: enabled_accounts
-- Accounts that are let in, with the other texts the broker uses for them.
select a.id, a.code, a.base_currency, a.flex_time_zone, a.trade_day_zone, a.trusted_ref_prefixes,
       array(select k.alias from ibkr.account_aliases k where k.account_id = a.id order by k.alias) as aliases
  from ibkr.accounts a
 where a.is_enabled
 order by a.id

-- name: missing_objects
-- Names of tables and functions of the room that the database does not have.
select w.name
  from unnest(:tables::text[]) as w(name)
 where to_regclass(w.name) is null
union all
select w.name from unnest(:functions::text[]) as w(name) where to_regprocedure(w.name) is null
 order by 1

-- name: high_waters
-- Up to where complete runs of a source reach, per enabled account; null: never.
select a.id as account_id, c.high_water_at
  from ibkr.accounts a
  left join ibkr.sync_cursors c on c.account_id = a.id and c.source = :source
 where a.is_enabled
 order by a.id

-- name: unsettled
-- Rows of days that a complete statement covered and that no statement or confirmation told, of one account.
select ib_exec_id, trade_day
  from ibkr.trade_executions
 where account_id = :account_id and trade_day between :from_day and :to_day and is_canonical and sources = '{tws}'
 order by ib_exec_id

-- name: unsettled_late
-- Rows of days that a complete statement settled before and that only the socket tells, of one account.
select e.ib_exec_id, e.trade_day
  from ibkr.trade_executions e
 where e.account_id = :account_id and e.trade_day between :from_day and :to_day and e.is_canonical and e.sources = '{tws}'
   and exists (select from ibkr.sync_coverage c
                where c.account_id = e.account_id and c.settles_to >= e.trade_day and c.settles_from <= e.trade_day)
 order by e.ib_exec_id

-- name: stalled
-- Accounts whose last three runs of a source covered nothing completely.
select s.account_id
  from (select c.account_id, c.is_complete,
               row_number() over (partition by c.account_id order by r.started_at desc, r.id desc) as n
          from ibkr.sync_coverage c
          join ibkr.sync_runs r on r.id = c.run_id
         where r.source = :source and r.kind = 'executions' and c.account_id = any (:account_ids::bigint[])) s
 where s.n <= 3
 group by s.account_id
having count(*) = 3 and not bool_or(s.is_complete)
 order by s.account_id

-- name: open_alerts
-- Open anomalies of one kind and subject, by account.
select account_id
  from ibkr.anomalies
 where closed_at is null and kind = :kind and subject = :subject and account_id = any (:account_ids::bigint[])
 order by account_id

-- name: close_alerts
-- Close open anomalies of one kind and subject.
update ibkr.anomalies
   set closed_at = :now
 where closed_at is null and kind = :kind and subject = :subject and account_id = any (:account_ids::bigint[])

-- name: canonical_executions
-- Every row of an account that counts, with how sure its trade is, for an account that begins to be booked.
select to_jsonb(e) - 'raw' as execution, t.match_kind
  from ibkr.trade_executions e
  join ibkr.trades t on t.id = e.trade_id
 where e.account_id = :account_id and e.is_canonical
 order by e.executed_at, e.ib_exec_id

-- name: mark_opened
-- Note that the opening balance of an account is booked.
update ibkr.accounts
   set opened_at = :now, opening_run_id = :run_id, begins_at = :begins_at, updated_at = :now
 where id = :account_id and opened_at is null

-- name: lock_account
-- Take the account's lock until the end of the transaction and say whether its opening balance is booked.
select pg_advisory_xact_lock(hashtextextended('ibkr.account:' || a.id, 0)), a.opened_at
  from ibkr.accounts a where a.id = :account_id
