-- A run that was called off ends nothing: when its worker comes back it finds its run abandoned, and neither covers anything nor
-- moves a cursor. What it brought stays stored; the run of whoever took the job over says what is covered.

-- End a run: {id, source, state, now, counts, error_class, error_detail, client_version, coverage: [{account_id, covered_from,
-- covered_to, earliest_seen_at, latest_seen_at, is_complete, settles_from, settles_to}], anomalies: rows of ibkr.open_anomalies}
-- -> {ended, moved: [account_id]}. Only a complete part moves its cursor, never backwards; ended false: it was called off before.
create or replace function ibkr.end_run(document jsonb) returns jsonb
language plpgsql volatile as $$
declare
    the_run  constant uuid := (document->>'id')::uuid;
    desk_now constant timestamptz := (document->>'now')::timestamptz;
    moved    jsonb;
begin
    update ibkr.sync_runs
       set state = document->>'state', finished_at = desk_now, counts = document->'counts',
           error_class = document->>'error_class', error_detail = document->>'error_detail',
           client_version = coalesce(document->>'client_version', '')
     where id = the_run and state = 'running';
    if not found then
        return jsonb_build_object('ended', false, 'moved', '[]'::jsonb);
    end if;
    insert into ibkr.sync_coverage (account_id, run_id, covered_from, covered_to, earliest_seen_at, latest_seen_at, is_complete,
                                    settles_from, settles_to)
    select r.account_id, the_run, r.covered_from, r.covered_to, r.earliest_seen_at, r.latest_seen_at, r.is_complete,
           r.settles_from, r.settles_to
      from jsonb_to_recordset(document->'coverage') as r(
               account_id bigint, covered_from timestamptz, covered_to timestamptz, earliest_seen_at timestamptz,
               latest_seen_at timestamptz, is_complete boolean, settles_from date, settles_to date)
     order by r.account_id;
    with written as (
        insert into ibkr.sync_cursors as c (account_id, source, high_water_at, run_id)
        select r.account_id, document->>'source', r.covered_to, the_run
          from jsonb_to_recordset(document->'coverage') as r(account_id bigint, covered_to timestamptz, is_complete boolean)
         where r.is_complete and r.covered_to is not null
         order by r.account_id
        on conflict on constraint sync_cursors_pkey do update
           set high_water_at = excluded.high_water_at, run_id = excluded.run_id
         where c.high_water_at < excluded.high_water_at
        returning account_id)
    select coalesce(jsonb_agg(account_id order by account_id), '[]') into moved from written;
    perform ibkr.open_anomalies(jsonb_build_object('run_id', the_run, 'now', desk_now, 'rows', document->'anomalies'));
    return jsonb_build_object('ended', true, 'moved', moved);
end
$$;
