-- Has anything changed since an answer was read? Each room says so in one text that differs after every change of what it shows:
-- made of the transactions (xmin) that wrote the newest rows of its tables, found through indexes, so that it costs a handful of
-- pages whatever the size. A row's writer is told anew by every update, a row that comes late enters the newest ones, and nothing
-- depends on clocks that may stand still or be set back but the choice of which rows are the newest. What is numbered anyway (the
-- sequence of a book, the version of a ticker, of words, of an account) is asked by its number and needs no view here.
-- Sources: tracker.md 2; decision 0046.

create index audits_newest on ledger.audits (ran_at desc);
create index reconciliations_newest on ledger.reconciliations (recorded_at desc);
create index breaks_newest on ledger.breaks (updated_at desc);
create index chain_anchors_newest on ledger.chain_anchors (recorded_at desc);
create index publications_newest on metrics.publications (seq desc);

create view ledger.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, a.xmin::text as writer from (select xmin from ledger.audits order by ran_at desc limit 50) a)
            union all
            (select 2, r.xmin::text from (select xmin from ledger.reconciliations order by recorded_at desc limit 50) r)
            union all
            (select 3, b.xmin::text from (select xmin from ledger.breaks order by updated_at desc limit 50) b)
            union all
            (select 4, c.xmin::text from (select xmin from ledger.chain_anchors order by recorded_at desc limit 50) c)) n;
comment on view ledger.v_stamp is 'Differs after every audit, comparison, break and anchor; bookings have the sequence of their book.';

create view ibkr.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, xmin::text as writer from ibkr.accounts)
            union all
            (select 2, xmin::text from ibkr.sync_cursors)
            union all
            (select 3, r.xmin::text from (select xmin from ibkr.sync_runs order by started_at desc limit 50) r)
            union all
            (select 4, t.xmin::text
               from (select xmin from ibkr.trades order by coalesce(last_executed_at, fetched_at) desc, id desc limit 50) t)) n;
comment on view ibkr.v_stamp is 'Differs after every run; while one goes on, at the latest when it ends.';

create view notify.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, xmin::text as writer from notify.channels)
            union all
            (select 2, a.xmin::text from (select xmin from notify.attempts order by started_at desc, attempt_id limit 50) a)
            union all
            (select 3, r.xmin::text from (select xmin from notify.reconcile_runs order by queued_at desc, run_id limit 50) r)
            union all
            (select 4, m.xmin::text
               from notify.channels c
              cross join unnest(array['pending', 'sending', 'ambiguous', 'dead']) as s(state)
              cross join lateral (select o.xmin from notify.messages o
                                   where o.channel_id = c.channel_id and o.state = s.state
                                     and o.state in ('pending', 'sending', 'ambiguous', 'dead')
                                   order by o.pending_since desc limit 25) m)) n;
comment on view notify.v_stamp is 'Differs after every request, run and decision of a person; what is wanted anew waits, and is seen waiting.';

create view metrics.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, xmin::text as writer from metrics.metrics_daily)
            union all
            (select 2, p.xmin::text from (select xmin from metrics.publications order by seq desc limit 50) p)) n;
comment on view metrics.v_stamp is 'Differs after every publication; there is one published row a day.';

create view replay.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, r.xmin::text as writer
               from (select xmin from replay.run_records order by created_at desc, run_id desc limit 50) r)
            union all
            (select 2, w.xmin::text
               from (select xmin from replay.run_records
                      where status in ('planned', 'running') order by created_at desc, run_id desc limit 50) w)
            union all
            (select 3, c.xmin::text
               from (select xmin from replay.comparisons order by recorded_at desc, comparison_id desc limit 50) c)) n;
comment on view replay.v_stamp is 'Differs with every bucket of a run and every comparison.';

create view outbox.v_stamp as
    select md5(coalesce(string_agg(n.writer, ',' order by n.part, n.writer), '')) as stamp
      from ((select 1 as part, e.xmin::text as writer from (select xmin from outbox.events order by id desc limit 50) e)
            union all
            (select 2, p.xmin::text
               from (select xmin from outbox.events where parked_at is not null order by parked_at desc limit 50) p)
            union all
            (select 3, i.xmin::text from (select xmin from outbox.inbox order by received_at desc limit 50) i)) n;
comment on view outbox.v_stamp is 'Differs after every event that is written, given up, or taken in by a consumer.';

create or replace view signal.v_freshness as
    select book_id, ticker, last_ts, newest_ts, last_receipt_id, updated_at, version from signal.ticker_states;

-- An account is read at the desk's own time, which may stand still between two runs; who wrote its rows is always another.
create or replace view mt5.v_account_states with (security_invoker = true) as
    select a.id as account_id, a.tenant_id, a.book_id, a.is_active, a.connection_status, a.sync_failure_count,
           a.last_successful_sync_at, case when isfinite(s.next_due_at) then s.next_due_at end as next_due_at, a.updated_at,
           a.xmin::text || '.' || s.xmin::text as writers
      from mt5.trading_accounts a join mt5.account_sync_state s on s.account_id = a.id;

grant select on ledger.v_stamp to ledger_reader;
grant select on ibkr.v_stamp to ibkr_reader;
grant select on notify.v_stamp to notify_reader;
grant select on metrics.v_stamp to snapshot_reader, tracker_reader;
grant select on replay.v_stamp to replay_reader, tracker_reader;
grant select on outbox.v_stamp to outbox_reader;
