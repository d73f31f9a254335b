-- Statements about linked MT5 accounts: views of room mt5 only, walled by tenant, and named by the accounts a reader may see.

-- name: desk_now
-- Tell the room's views what time the desk has, until the end of the transaction.
select set_config('fillbook.now', :now::text, true);

-- name: linked_books
-- The tenant's linked accounts, or one of them, with the book of each.
select v.account_id, v.book_id
  from mt5.v_account_states v
 where v.tenant_id = :tenant_id and (:account_id::uuid is null or v.account_id = :account_id::uuid)
 order by v.account_id;

-- name: linked_states
-- The tenant's linked accounts with what says how each is followed.
select v.account_id, v.book_id, v.is_active, v.connection_status, v.sync_failure_count, v.last_successful_sync_at, v.next_due_at
  from mt5.v_account_states v
 where v.tenant_id = :tenant_id
 order by v.account_id;

-- name: linked_accounts
-- Some linked accounts with what they hold open and what closed since an instant.
select h.account_id, h.platform, h.broker_name, h.server, h.login_number, h.account_name, h.book_id, h.is_active, h.currency,
       h.balance, h.equity, h.margin, h.free_margin, h.margin_level, h.credit, h.floating_profit, h.info_at, h.positions_at,
       h.last_sync_at, h.last_successful_sync_at, h.sync_failure_count, h.last_error_code, h.last_connection_error,
       h.connection_status, h.next_due_at, h.cash_state, h.last_deal_at, h.backfill_state, h.backfill_floor, h.backfill_pct,
       h.lag_seconds, o.open_positions, o.close_pending, c.closed_today
  from mt5.account_sync_health h
 cross join lateral (select count(*) as open_positions, count(*) filter (where t.status = 'close_pending') as close_pending
                       from mt5.account_trades t
                      where t.account_id = h.account_id and t.status <> 'closed') o
 cross join lateral (select count(*) as closed_today
                       from mt5.account_trades t
                      where t.account_id = h.account_id and t.status = 'closed' and t.close_time >= :day_start) c
 where h.tenant_id = :tenant_id and h.account_id = any(:accounts::uuid[])
 order by h.account_id;

-- name: linked_health
-- How some linked accounts are followed.
select h.account_id, h.broker_name, h.login_number, h.account_name, h.book_id, h.is_active, h.last_sync_at,
       h.last_successful_sync_at, h.sync_failure_count, h.last_error_code, h.last_connection_error, h.connection_status,
       h.next_due_at, h.successes_24h, h.partials_24h, h.failures_24h, h.skips_24h, h.lag_seconds, h.cash_state
  from mt5.account_sync_health h
 where h.tenant_id = :tenant_id and h.account_id = any(:accounts::uuid[])
 order by h.account_id;

-- name: linked_runs
-- A page of an account's logged runs, newest first.
select l.id, l.run_id, l.sync_type, l.status, l.started_at, l.completed_at, l.trades_synced, l.attempts, l.error_code,
       l.error_message, l.duration_ms, l.steps
  from mt5.v_account_runs l
 where l.tenant_id = :tenant_id and l.account_id = :account_id
   and (l.started_at, l.id) < (coalesce(:after_at::timestamptz, 'infinity'),
                               coalesce(:after_id::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
 order by l.started_at desc, l.id desc
 limit :limit;

-- name: linked_coverage
-- Each account and server day of a span, with the check that says so; days before the reading or still to come are unknown.
select a.account_id, d.day::date as day, coalesce(c.state, 'unknown') as state, c.run_id
  from unnest(:accounts::uuid[]) as a(account_id)
 cross join generate_series(:from_day::date::timestamp, :to_day::date::timestamp, interval '1 day') as d(day)
  left join (select v.account_id, v.day, v.state, v.run_id
               from mt5.coverage_days v
              where v.tenant_id = :tenant_id and v.account_id = any(:accounts::uuid[])
                and v.day between :from_day::date and :to_day::date) c
    on c.account_id = a.account_id and c.day = d.day::date
 order by a.account_id, d.day;

-- name: linked_page
-- Ids of a page of trades, newest first by when they were opened; those whose opening is not known come last, as if of 1970.
select t.id, case when t.open_time is null then '1970-01-01 00:00:00+00'::timestamptz else t.open_time end as sorted_at
  from mt5.account_trades t
 where t.tenant_id = :tenant_id
   and (:account_id::uuid is null or t.account_id = :account_id::uuid)
   and (:account_id::uuid is not null or t.account_id = any(:accounts::uuid[]))
   and (:status::text is null or t.status = :status::mt5.trade_status)
   and (:symbol::text is null or t.symbol = :symbol::text or t.symbol_norm = :symbol::text)
   and (:include_hidden::boolean or not exists (
        select from tracker.v_annotations n
         where n.tenant_id = :tenant_id and n.kind = 'mt5_trade' and n.book_id = '' and n.subject_id = t.id
           and n.hidden_at is not null))
   and (case when t.open_time is null then '1970-01-01 00:00:00+00'::timestamptz else t.open_time end, t.id)
       < (coalesce(:after_at::timestamptz, 'infinity'), coalesce(:after_id::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
 order by case when t.open_time is null then '1970-01-01 00:00:00+00'::timestamptz else t.open_time end desc, t.id desc
 limit :limit;

-- name: linked_live_page
-- The same of trades that are not closed: they are few, so that all of them are found first and then put in order.
with live as materialized (
    select t.id, case when t.open_time is null then '1970-01-01 00:00:00+00'::timestamptz else t.open_time end as sorted_at
      from mt5.account_trades t
     where t.tenant_id = :tenant_id and t.account_id = any(:accounts::uuid[])
       and t.status <> 'closed' and t.status = :status::mt5.trade_status
       and (:symbol::text is null or t.symbol = :symbol::text or t.symbol_norm = :symbol::text)
       and (:include_hidden::boolean or not exists (
            select from tracker.v_annotations n
             where n.tenant_id = :tenant_id and n.kind = 'mt5_trade' and n.book_id = '' and n.subject_id = t.id
               and n.hidden_at is not null)))
select l.id, l.sorted_at
  from live l
 where (l.sorted_at, l.id)
       < (coalesce(:after_at::timestamptz, 'infinity'), coalesce(:after_id::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
 order by l.sorted_at desc, l.id desc
 limit :limit;

-- name: linked_trades
-- Some trades by their ids.
select t.id as trade_id, t.account_id, t.book_id, t.platform, t.broker_name, t.server, t.login_number, t.account_name, t.currency,
       t.position_id::text as position_id, t.episode, t.ticket::text as ticket, t.symbol, t.symbol_norm, t.type, t.status,
       t.volume, t.open_volume, t.open_price, t.close_price, t.open_time as open_at, t.close_time as close_at, t.stop_loss,
       t.take_profit, t.current_price, t.profit, t.swap, t.commission, t.fee, t.realized_profit, t.realized_swap, t.net_pnl,
       t.comment, t.magic::text as magic, t.close_reason, t.entry_complete, t.identity_quality, t.pending_polls, t.ledger_state,
       t.updated_at
  from mt5.account_trades t
 where t.tenant_id = :tenant_id and t.id = any(:ids::uuid[]);

-- name: linked_deals
-- The deals of a position as they stand, in the order of its server's clock.
select d.currency_digits, d.deal_ticket, d.revision, d.position_id, d.order_id, d.time_server_msc, d.deal_type, d.entry, d.reason,
       d.symbol, d.volume, d.price, d.profit, d.commission, d.swap, d.fee, d.magic, d.comment, d.external_id, d.withdrawn,
       d.recorded_at
  from mt5.v_position_deals d
 where d.tenant_id = :tenant_id and d.account_id = :account_id and d.position_id = :position_id::bigint
 order by d.time_server_msc, d.deal_ticket
 limit :limit;
