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
 where closed_at is null and kind = any (:kinds::text[]) and subject = :subject and account_id = any (:account_ids::bigint[])
 order by account_id

-- name: close_alerts
-- Close open anomalies of one kind and subject.
update ibkr.anomalies
   set closed_at = :now
 where closed_at is null and kind = any (:kinds::text[]) and subject = :subject and account_id = any (:account_ids::bigint[])

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

-- name: expired_jobs
-- Running jobs whose lease ran out (real time), as claimed; nobody waits for a lock.
select id, job_type, payload, attempts, deferrals, requested_by, lease_token, created_at
  from ibkr.jobs
 where state = 'running' and lease_expires_at < clock_timestamp()
 order by lease_expires_at, id
 limit :rows_max
   for update skip locked

-- name: one_job
-- A job with the runs it made, newest first.
select j.id, j.job_type, j.payload, j.state, j.attempts, j.deferrals, j.not_before, j.last_error, j.requested_by, j.created_at,
       j.updated_at,
       coalesce((select jsonb_agg(jsonb_build_object(
                     'run_id', r.id, 'source', r.source, 'kind', r.kind, 'state', r.state, 'started_at', r.started_at,
                     'finished_at', r.finished_at, 'counts', r.counts, 'error_class', r.error_class)
                     order by r.started_at desc, r.id)
                   from ibkr.sync_runs r where r.job_id = j.id), '[]') as runs
  from ibkr.jobs j
 where j.id = :id

-- name: next_due
-- When the next waiting job is due; null: none waits.
select min(not_before) as not_before from ibkr.jobs where state = 'queued'

-- name: fail_waiting_job
-- Give up a job that waits; a running one keeps its lease.
update ibkr.jobs set state = 'failed', last_error = :error, updated_at = :now where id = :id and state = 'queued'

-- name: job_state
-- State of a job and when it may begin.
select state, not_before from ibkr.jobs where id = :id

-- name: has_open_book
-- Whether the book of an account holds anything that a broker lists as a position.
select exists (select from ledger.v_positions p
                where p.book_id = :book_id and p.status = 'OPEN' and p.instrument_id <> all (:not_compared::text[])) as is_open

-- name: net_executed
-- Instruments in which an account's executions do not cancel out, of those a broker lists as positions.
select conid
  from ibkr.trade_executions
 where account_id = :account_id and is_canonical and exec_role <> 'combo_summary' and sec_type <> 'CASH'
 group by conid
having sum(signed_quantity) <> 0
 limit 1

-- name: empty_since
-- Since when answers of a source about an account are empty without one that was not, nor an execution; null: there is none.
select min(c.latest_seen_at) as at
  from ibkr.sync_coverage c
  join ibkr.sync_runs r on r.id = c.run_id
 where c.account_id = :account_id and r.kind = 'positions' and r.source = :source and c.latest_seen_at < :as_of
   and c.latest_seen_at > greatest((select max(p.as_of)
                                      from ibkr.broker_positions p join ibkr.sync_runs q on q.id = p.run_id
                                     where p.account_id = :account_id and q.source = :source),
                                   (select max(e.executed_at)
                                      from ibkr.trade_executions e
                                     where e.account_id = :account_id and e.executed_at <= :as_of), '-infinity')

-- name: reached_at
-- Up to where complete runs of any source reach for an account, and the first day that was covered.
select max(c.high_water_at) as high_water_at,
       (select min(v.covered_from) from ibkr.sync_coverage v join ibkr.sync_runs r on r.id = v.run_id
         where v.account_id = :account_id and r.kind = 'executions') as covered_from
  from ibkr.sync_cursors c
 where c.account_id = :account_id

-- name: known_instruments
-- Instruments with executions of an account: whether the broker lists them as positions, whether something about them is open.
select e.conid, bool_or(e.sec_type = 'CASH') as is_cash,
       bool_or(exists (select from ibkr.anomalies a
                        where a.account_id = e.account_id and a.closed_at is null
                          and (a.subject in (e.ib_exec_id, e.exec_id_base, e.settled_key)
                               or exists (select from ibkr.trade_keys k
                                           where k.account_id = e.account_id and k.key = a.subject and k.trade_id = e.trade_id))))
           as has_anomaly
  from ibkr.trade_executions e
 where e.account_id = :account_id
 group by e.conid
 order by e.conid

-- name: cancelled_instruments
-- Instruments with a cancel that waits for a person.
select distinct b.conid
  from ibkr.broker_events b
 where b.account_id = :account_id and b.state <> 'applied' and b.conid is not null
 order by b.conid

-- name: has_refused_rows
-- Whether rows of an account wait for a decision.
select exists (select from ibkr.quarantine q
                where q.state = 'open' and q.source in ('statement', 'confirmation', 'tws') and q.reason <> 'account_not_allowed'
                  and (q.account_code = :code
                       or q.account_code in (select alias from ibkr.account_aliases where account_id = :account_id))) as is_refused

-- name: waiting_snapshots
-- The last complete snapshot of each enabled account whose opening balance is not booked; amounts as text.
select s.account_id, s.run_id, s.as_of,
       coalesce((select jsonb_agg(jsonb_build_object(
                     'conid', p.conid, 'symbol', p.symbol, 'sec_type', p.sec_type, 'currency', p.currency,
                     'quantity', p.quantity::text, 'average_cost', p.average_cost::text, 'raw', p.raw) order by p.conid)
                   from ibkr.broker_positions p where p.account_id = s.account_id and p.run_id = s.run_id), '[]') as positions
  from (select distinct on (c.account_id) c.account_id, c.run_id, c.latest_seen_at as as_of
          from ibkr.sync_coverage c
          join ibkr.sync_runs r on r.id = c.run_id and r.kind = 'positions'
          join ibkr.accounts a on a.id = c.account_id and a.is_enabled and a.opened_at is null
         where c.is_complete
         order by c.account_id, c.latest_seen_at desc, r.started_at desc) s
 order by s.account_id

-- name: quarantine_open
-- Rows that wait for a decision, oldest first.
select id as quarantine_id, source, account_code, reason, detail, raw, state, seen_count, first_seen_at, last_seen_at, run_id
  from ibkr.quarantine
 where state = 'open'
 order by first_seen_at, id
 limit :rows_max

-- name: accept_quarantined
-- Mark a row as accepted by a person; one that is decided already stays as it is.
update ibkr.quarantine
   set state = 'accepted', decided_by = :decided_by, decided_at = :now, decision = :decision
 where id = :id and state = 'open'

-- name: one_quarantined
-- A refused row and what was decided about it.
select id as quarantine_id, source, account_code, reason, state, decided_by, decided_at, decision from ibkr.quarantine where id = :id
