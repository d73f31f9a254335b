-- What a screen of linked MT5 accounts still lacked: pages of trades and runs that walk an index from their place on, and the
-- little that says of every account of a large fleet how it is followed.
--
-- Row-level security lets a comparison reach an index only when nothing in it could tell of other tenants' rows. That holds for
-- case, not for coalesce, and not for enums: hence the expression below. A trade whose opening is not known stands behind all
-- others, at 1970: no deal can be that old. Runs come in no order, so that a page of them ends where the page ends.
-- Sources: tracker.md 5, 6.

create index trades_account_page_ix on mt5.trades
    (account_id, (case when open_time is null then '1970-01-01 00:00:00+00'::timestamptz else open_time end) desc, id desc);
create index trades_tenant_page_ix on mt5.trades
    (tenant_id, (case when open_time is null then '1970-01-01 00:00:00+00'::timestamptz else open_time end) desc, id desc);

create view mt5.v_account_runs with (security_invoker = true) as
    select l.account_id, l.tenant_id, l.id, l.run_id, l.sync_type, l.status, l.started_at, l.completed_at, l.trades_synced,
           l.attempts, l.error_code, l.error_message, l.duration_ms
      from mt5.sync_logs l;
comment on view mt5.v_account_runs is 'Logged outcomes of accounts, in no order.';

create view mt5.v_account_states with (security_invoker = true) as
    select a.id as account_id, a.tenant_id, a.book_id, a.is_active, a.connection_status, a.sync_failure_count,
           a.last_successful_sync_at, case when isfinite(s.next_due_at) then s.next_due_at end as next_due_at
      from mt5.trading_accounts a join mt5.account_sync_state s on s.account_id = a.id;
comment on view mt5.v_account_states is 'How each account is followed, without counters: next_due_at null: due at once, or not scheduled.';

grant select on mt5.v_account_runs, mt5.v_account_states to mt5_reader, mt5_writer, desk_operator;
