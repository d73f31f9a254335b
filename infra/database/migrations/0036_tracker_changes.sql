-- Has anything changed since an answer was read? Each room that is asked keeps a small board: every statement that changes what the
-- room shows writes on a row of it that is free, and the stamp is made of the transactions (xmin) that wrote on its rows last.
--
-- So any row's change is seen, new or old, however far behind the newest, as soon as it is committed and not before; no clock and
-- no number that is drawn before the commit takes part. A row that another transaction holds is passed over, so that nobody waits
-- for anybody and no two can wait for each other; where all are held there is one more, so that a board has as many rows as there
-- ever were writers at once. A statement that happens to change nothing is told too: then an answer is read again in vain.
-- Before, the newest fifty rows of each table were looked at. Sources: tracker.md 2; decisions 0046 and 0055.

do $do$
declare
    rooms constant text[] := '{ledger, ibkr, notify, metrics, replay}';
    room text;
begin
    foreach room in array rooms loop
        execute format($sql$
            create table %1$I.changes (
                slot   integer not null generated always as identity,
                writer xid8    not null default pg_current_xact_id(),
                constraint changes_pk primary key (slot)
            ) with (fillfactor = 20)$sql$, room);
        execute format($sql$comment on table %1$I.changes is 'Who changed what the room shows: each row was written on last by some transaction.'$sql$, room);
        execute format($sql$insert into %1$I.changes select from generate_series(1, 8)$sql$, room);
        execute format($sql$
            create function %1$I.note_change() returns trigger
            language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
            begin
                -- under another isolation a row that was written on meanwhile is no failure of the writer's: it takes a new one
                if current_setting('transaction_isolation') = 'read committed' then
                    update %1$I.changes c set writer = pg_current_xact_id()
                     where c.slot = (select f.slot from %1$I.changes f order by f.slot limit 1 for update skip locked);
                    if found then
                        return null;
                    end if;
                end if;
                insert into %1$I.changes default values;
                return null;
            end $$$sql$, room);
        execute format($sql$comment on function %1$I.note_change() is 'Writes on a free row of the room''s board.'$sql$, room);
        execute format($sql$
            create or replace view %1$I.v_stamp as
                select md5(coalesce(string_agg(c.xmin::text, ',' order by c.slot), '')) as stamp from %1$I.changes c$sql$, room);
    end loop;
end $do$;

comment on view ledger.v_stamp is 'Differs after every audit, comparison, break and anchor; bookings have the sequence of their book.';
comment on view ibkr.v_stamp is 'Differs after every run, and after every decision of a person about a row.';
comment on view notify.v_stamp is 'Differs after every request, run of the proof and decision of a person.';
comment on view metrics.v_stamp is 'Differs after every publication.';
comment on view replay.v_stamp is 'Differs with every bucket of a run and every comparison.';

-- Rows of ledger's tables go only with the book of a replay that begins anew, which is another book by its sequence then.
do $do$
declare
    shown constant text[] := array[
        'ledger.audits', 'ledger.reconciliations', 'ledger.breaks', 'ledger.chain_anchors',
        'ibkr.accounts', 'ibkr.account_aliases', 'ibkr.sync_runs', 'ibkr.sync_coverage', 'ibkr.sync_cursors',
        'ibkr.execution_payloads', 'ibkr.trades', 'ibkr.trade_keys', 'ibkr.trade_executions', 'ibkr.anomalies', 'ibkr.quarantine',
        'notify.channels', 'notify.messages', 'notify.attempts', 'notify.reconcile_runs', 'notify.findings',
        'metrics.metrics_daily', 'metrics.snapshot_versions', 'metrics.restatements', 'metrics.publications',
        'replay.run_records', 'replay.checkpoints', 'replay.comparisons', 'replay.divergences'];
    one text;
begin
    foreach one in array shown loop
        execute format('create trigger note_change after insert or update%s on %s for each statement execute function %I.note_change()',
                       case when one not like 'ledger.%' then ' or delete or truncate' else '' end, one, split_part(one, '.', 1));
    end loop;
end $do$;

drop index ledger.audits_newest, ledger.reconciliations_newest, ledger.breaks_newest, ledger.chain_anchors_newest;
drop index metrics.publications_newest;
