-- What a screen of linked MT5 accounts still lacked: pages of trades and runs that walk an index from their place on.
--
-- Row-level security lets a comparison reach an index only when nothing in it could tell of other tenants' rows. That holds for
-- case, not for coalesce, and not for enums: hence the expression below. A trade whose opening is not known stands behind all
-- others, at 1970: no deal can be that old. The view has no order of its own, so that a page of it ends where the page ends.
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

grant select on mt5.v_account_runs to mt5_reader, mt5_writer, desk_operator;
