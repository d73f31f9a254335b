-- What the read API needs of other rooms for its figures: bands of scores, later versions in the order in which they became known,
-- moves of the board without what followed them, and how far the schema is.

-- The ten points in which a score lies, as text; null for what is none.
create function ledger.score_band(score text) returns text
language sql immutable parallel safe
return case when score ~ '^[0-9]{1,3}([.][0-9]+)?$'
            then least(floor(score::numeric / 10)::integer, 9) * 10 || '-' || least(floor(score::numeric / 10)::integer, 9) * 10 + 10 end;
comment on function ledger.score_band(text) is 'Bands of ten points; the upper end belongs to the next, 100 to the last.';

create view ledger.v_corrections as
    select book_id, tenant_id, action_id, version, state, known_from, cause, position_id, ticker, direction, action_type, quantity,
           price, realized_pnl, currency
      from ledger.v_action_history where version > 1;
comment on view ledger.v_corrections is 'Later versions of actions: corrections, knock-on changes and busts.';
create index execution_actions_corrections on ledger.execution_actions (book_id, recorded_at desc) where version > 1;

create view signal.v_moves as
    select book_id, ticker, seq, from_lane, lane, rule, reason, price, score, entered_at, receipt_id, action_ids
      from signal.lane_history;
comment on view signal.v_moves is 'Moves of the shown lane by themselves: read in the order of their time without looking at what followed.';

-- The table is the migrations' own, so that a schema without it says that nothing was applied.
create function ops.applied_migration() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    found text;
begin
    if to_regclass('ops.migration_version') is not null then
        execute 'select max(version_num) from ops.migration_version' into found;
    end if;
    return found;
end
$$;
create view ops.v_migration as select ops.applied_migration() as version;
comment on view ops.v_migration is 'The newest migration that was applied.';

do $$
declare
    reader name;
begin
    foreach reader in array array['ledger_reader', 'ledger_writer', 'replay_writer', 'tracker_reader', 'snapshot_reader',
                                  'notify_reader', 'replay_reader'] loop
        execute format('grant select on ledger.v_corrections to %I', reader);
        execute format('grant execute on function ledger.score_band(text) to %I', reader);
    end loop;
end
$$;
revoke all on function ops.applied_migration() from public;
grant usage on schema ops to tracker_reader;
grant select on ops.v_migration to tracker_reader;
grant execute on function ops.applied_migration() to tracker_reader;
grant select on signal.v_moves to signal_reader, tracker_reader, desk_operator;
