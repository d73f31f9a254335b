-- The read model's statements: views of other rooms only, each within the reader's tenant and books.

-- name: books
-- The books a reader may see, with their sequence and newest row.
select book_id, seq, last_recorded_at
  from ledger.v_books
 where tenant_id = :tenant_id
   and case when :books::text[] is null then book_id not like 'replay:%' else book_id = any(:books::text[]) end;

-- name: broker_accounts
-- The broker accounts of the reader's books.
select account_id, code, book_id, is_enabled, opened_at
  from ibkr.v_accounts
 where book_id = any(:books::text[])
 order by account_id;

-- name: broker_trades
-- A page of broker trades, newest first; one whose rows were all voided stands where it was last fetched.
select t.trade_id, t.account_id, t.account_code, t.book_id, t.match_kind, t.confidence, t.merged_into, t.ib_perm_id,
       t.ib_order_id, t.flex_order_id, t.client_id, t.conid, t.order_ref, t.symbol, t.sec_type, t.side, t.exchange, t.currency,
       t.trade_day, t.is_combo, t.status, t.order_quantity, t.total_quantity, t.total_value, t.avg_price, t.commission,
       t.commission_currency, t.missing_commission_count, t.execution_count, t.canonical_count, t.first_executed_at,
       t.last_executed_at, t.fetched_at, t.created_at, t.updated_at, coalesce(t.last_executed_at, t.fetched_at) as sorted_at
  from ibkr.v_trades t
 where t.account_id = any(:accounts::bigint[])
   and (:include_merged::boolean or t.merged_into is null)
   and (:status::text is null or t.status = :status::text)
   and (:symbol::text is null or t.symbol = :symbol::text or t.trade_id in (
        select e.trade_id from ibkr.v_trade_executions e
         where e.account_id = any(:accounts::bigint[]) and e.underlying_symbol = :symbol::text))
   and (:include_hidden::boolean or not coalesce((
            with recursive line as (
                select t.trade_id as id
                union
                select m.trade_id from line l join ibkr.v_trades m on m.merged_into = l.id)
            select n.hidden_at is not null
              from line l
              join tracker.v_annotations n
                on n.tenant_id = :tenant_id and n.kind = 'ibkr_trade' and n.book_id = '' and n.subject_id = l.id
             order by l.id = t.trade_id desc, n.updated_at desc, n.subject_id limit 1), false))
   and (:executed_from::timestamptz is null or coalesce(t.last_executed_at, t.fetched_at) >= :executed_from::timestamptz)
   and (:executed_to::timestamptz is null or coalesce(t.first_executed_at, t.fetched_at) < :executed_to::timestamptz)
   and (coalesce(t.last_executed_at, t.fetched_at), t.trade_id)
       < (coalesce(:after_at::timestamptz, 'infinity'), coalesce(:after_id::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
 order by coalesce(t.last_executed_at, t.fetched_at) desc, t.trade_id desc
 limit :limit;

-- name: broker_trade
-- One broker trade with the keys that lead to it.
select * from ibkr.v_trades where trade_id = :trade_id and book_id = any(:books::text[]);

-- name: broker_trade_anomalies
-- Open anomalies about a trade: their subject is one of its keys, or an id, base or shared id of one of its rows.
select a.anomaly_id, a.kind, a.subject, a.details, a.opened_at
  from ibkr.v_anomalies a
 where a.account_id = :account_id and a.closed_at is null
   and (a.subject in (select unnest(t.keys) from ibkr.v_trades t where t.trade_id = :trade_id)
        or a.subject in (
            select s.subject
              from ibkr.v_trade_executions e
             cross join lateral (values (e.ib_exec_id), (e.exec_id_base), (e.settled_key),
                                        ('tx:' || e.transaction_id), ('trade:' || e.broker_trade_id)) as s(subject)
             where e.account_id = :account_id and e.trade_id = :trade_id))
 order by a.opened_at, a.kind, a.subject;

-- name: broker_executions
-- The rows of a trade in the order they were executed, those that do not count too.
select e.execution_id, e.trade_id, e.account_id, e.account_code, e.book_id, e.ib_exec_id, e.id_kind, e.exec_id_base,
       e.exec_revision, e.settled_key, e.combo_key, e.correction_group, e.is_correctable, e.state, e.is_canonical,
       e.supersedes_execution_id, e.voided_by_event_id, e.transaction_id, e.broker_trade_id, e.flex_order_id, e.ib_perm_id,
       e.ib_order_id, e.client_id, e.brokerage_order_id, e.order_ref, e.transaction_type, e.exec_role, e.conid, e.symbol,
       e.sec_type, e.underlying_symbol, e.fx_rate_to_base, e.multiplier, e.expiry, e.strike, e.put_call, e.executed_at,
       e.executed_at_text, e.is_time_ambiguous, e.trade_day, e.report_date, e.side, e.quantity, e.signed_quantity, e.price,
       e.cum_quantity, e.exchange, e.liquidity, e.currency, e.commission, e.commission_currency, e.taxes,
       e.broker_realized_pnl, e.notes, e.open_close, e.sources, e.fetched_at, e.created_at, e.updated_at, e.payload_hash
  from ibkr.v_trade_executions e
 where e.trade_id = :trade_id and e.account_id = :account_id
   and (:is_canonical::boolean is null or e.is_canonical = :is_canonical::boolean)
 order by e.executed_at, e.ib_exec_id
 limit :limit;

-- name: broker_texts
-- Every text the broker sent of some executions, oldest first.
select ib_exec_id, payload_hash, source, kind, transaction_id, observed_at, run_id, parser_version, recorded_at, raw
  from ibkr.v_payloads
 where account_id = :account_id and ib_exec_id = any(:ib_exec_ids::text[])
 order by observed_at, payload_hash;

-- name: last_runs
-- The last run of each account, source and kind, with the last complete one.
select distinct on (r.account_id, r.source, r.kind)
       r.account_id, r.source, r.kind, r.run_id, r.state, r.started_at, r.finished_at, r.requested_from, r.requested_to,
       r.covered_from, r.covered_to, r.counts, r.error_class,
       max(r.finished_at) filter (where r.is_complete) over (partition by r.account_id, r.source, r.kind) as last_complete_at
  from ibkr.v_account_runs r
 where r.account_id = any(:accounts::bigint[]) and r.started_at >= :since
 order by r.account_id, r.source, r.kind, r.started_at desc, r.run_id desc;

-- name: failures_in_a_row
-- How many runs of each account's worst source have failed since its last complete one.
select f.account_id, max(f.failures) as failures
  from (select w.account_id, count(*) filter (where not w.is_complete and (w.last_at is null or w.started_at > w.last_at)) as failures
          from (select r.account_id, r.source, r.kind, r.is_complete, r.started_at,
                       max(r.started_at) filter (where r.is_complete) over (partition by r.account_id, r.source, r.kind) as last_at
                  from ibkr.v_account_runs r
                 where r.account_id = any(:accounts::bigint[]) and r.started_at >= :since) w
         group by w.account_id, w.source, w.kind) f
 group by f.account_id
 order by f.account_id;

-- name: cursors
-- Up to where complete runs of each account and source reach.
select account_id, source, high_water_at from ibkr.v_sync_cursors where account_id = any(:accounts::bigint[]);

-- name: open_anomalies
-- Open anomalies of some accounts by kind.
select account_id, kind, count(*) as count
  from ibkr.v_anomalies
 where account_id = any(:accounts::bigint[]) and closed_at is null
 group by account_id, kind
 order by account_id, kind;

-- name: open_quarantine
-- Rows in quarantine that wait for a decision, by the account they name and by reason.
select account_code, reason, count(*) as count
  from ibkr.v_quarantine
 where state = 'open'
 group by account_code, reason
 order by account_code, reason;

-- name: open_breaks
-- Open differences between broker and book by kind and cause.
select book_id, kind, cause, count(*) as count, min(first_seen_at) as oldest_at
  from ledger.v_breaks
 where book_id = any(:books::text[]) and resolved_at is null
 group by book_id, kind, cause
 order by book_id, kind, cause;

-- name: account_runs
-- A page of an account's runs, newest first.
select run_id, source, kind, is_backfill, state, started_at, finished_at, requested_from, requested_to, covered_from, covered_to,
       earliest_seen_at, latest_seen_at, is_complete, counts, error_class
  from ibkr.v_account_runs
 where account_id = :account_id
   and (started_at, run_id) < (coalesce(:after_at::timestamptz, 'infinity'),
                               coalesce(:after_id::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
 order by started_at desc, run_id desc
 limit :limit;

-- name: coverage_days
-- Each account and day of a span, with the last run that settled or reached it; state null: before its first run or after its last.
select a.account_id, d.day::date as day, c.state,
       case c.state when 'settled' then r.settled_by when 'provisional' then r.reached_by end as run_id
  from unnest(:accounts::bigint[]) as a(account_id)
 cross join generate_series(:from_day::date::timestamp, :to_day::date::timestamp, interval '1 day') as d(day)
  left join ibkr.v_coverage_days c on c.account_id = a.account_id and c.day = d.day::date
  left join (select account_id, day,
                    (array_agg(run_id order by started_at desc, run_id desc)
                         filter (where source = 'flex' and is_complete))[1] as settled_by,
                    (array_agg(run_id order by started_at desc, run_id desc))[1] as reached_by
               from ibkr.v_day_runs
              where account_id = any(:accounts::bigint[]) and day between :from_day::date and :to_day::date
                and covered_to > :from_day::date::timestamp at time zone 'UTC' - interval '1 day'
                and covered_from < :to_day::date::timestamp at time zone 'UTC' + interval '2 days'
              group by account_id, day) r
    on r.account_id = a.account_id and r.day = d.day::date
 order by a.account_id, d.day;
