-- One look at whether anything changed.

-- name: stamps, planned once
-- What differs after every change of the rooms asked for; a room that is not asked for is not looked at.
select case when :ledger::boolean then (
           select json_agg(json_build_array(b.book_id, b.seq, b.last_recorded_at::text) order by b.book_id)
             from ledger.v_books b
            where b.tenant_id = :tenant_id
              and case when :books::text[] is null then :replays::boolean or b.book_id not like 'replay:%'
                       else b.book_id = any(:books::text[]) end) end as books,
       case when :ledger::boolean then (select v.stamp from ledger.v_stamp v) end as ledger,
       case when :signal::boolean then (
           select json_agg(json_build_array(f.book_id, f.tickers, f.versions) order by f.book_id)
             from (select s.book_id, count(*) as tickers, sum(s.version) as versions
                     from signal.v_freshness s
                    where case when :books::text[] is null then :replays::boolean or s.book_id not like 'replay:%'
                               else s.book_id = any(:books::text[]) end
                    group by s.book_id) f) end as signal,
       case when :ibkr::boolean then (select v.stamp from ibkr.v_stamp v) end as ibkr,
       case when :mt5::boolean then (
           select json_build_array(count(*), md5(string_agg(v.writers, ',' order by v.account_id)))
             from mt5.v_account_states v
            where v.tenant_id = :tenant_id and (:account_id::uuid is null or v.account_id = :account_id::uuid)
              and (:trade_id::uuid is null
                   or v.account_id = (select t.account_id from mt5.account_trades t
                                       where t.tenant_id = :tenant_id and t.id = :trade_id::uuid))) end as mt5,
       case when :notify::boolean then (select v.stamp from notify.v_stamp v) end as notify,
       case when :metrics::boolean then (select v.stamp from metrics.v_stamp v) end as metrics,
       case when :replay::boolean then (select v.stamp from replay.v_stamp v) end as replay,
       case when :outbox::boolean then (select v.stamp from outbox.v_stamp v) end as outbox,
       case when :annotations::boolean then (
           select json_build_array(count(*), coalesce(sum(n.version), 0))
             from tracker.v_annotations n
            where n.tenant_id = :tenant_id) end as annotations;
