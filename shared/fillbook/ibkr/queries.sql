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

-- name: flex_token_known
-- Make the row of a token that was never used.
insert into ibkr.flex_tokens (name, fingerprint, state, updated_at)
values (:name, :fingerprint, 'active', :now)
on conflict (name) do nothing

-- name: flex_token_locked
-- A token's pacing, locked until the end of the transaction.
select name, fingerprint, state, paused_until, reason_code, recent_calls from ibkr.flex_tokens where name = :name for update

-- name: flex_token_written
-- Write a token's pacing back.
update ibkr.flex_tokens
   set fingerprint = :fingerprint, state = :state, paused_until = :paused_until, reason_code = :reason_code,
       recent_calls = :recent_calls, updated_at = :now
 where name = :name

-- name: flex_request_made
-- Keep a request that is to be sent; the same id is the same request.
insert into ibkr.flex_requests (id, token_name, query_id, from_date, to_date, state, not_before, created_at, updated_at)
values (:id, :token_name, :query_id, :from_date, :to_date, 'new', :not_before, :now, :now)
on conflict (id) do nothing

-- name: flex_request
-- One request, where there is one.
select id, token_name, query_id, from_date, to_date, reference_code, statement_url, state, not_before, deferrals, error_code,
       error_body, run_id
  from ibkr.flex_requests
 where id = :id

-- name: flex_request_written
-- Write what became of a request, unless its statement was taken in meanwhile.
update ibkr.flex_requests
   set to_date = :to_date, reference_code = :reference_code, statement_url = :statement_url, state = :state,
       not_before = :not_before, deferrals = :deferrals, error_code = :error_code, error_body = :error_body, updated_at = :now
 where id = :id and state <> 'fetched'

-- name: flex_request_taken
-- Note the body of a request and the run that took it in.
update ibkr.flex_requests
   set state = 'fetched', body_sha256 = :body_sha256, body_bytes = :body_bytes, run_id = :run_id, error_code = null,
       error_body = null, updated_at = :now
 where id = :id

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
update ibkr.accounts set opened_at = :now, opening_run_id = :run_id, updated_at = :now where id = :account_id and opened_at is null

-- name: lock_account
-- Take the account's lock until the end of the transaction and say whether its opening balance is booked.
select pg_advisory_xact_lock(hashtextextended('ibkr.account:' || a.id, 0)), a.opened_at
  from ibkr.accounts a where a.id = :account_id
