-- What a screen of broker trades still lacked: pages of one status, and the run that stands behind each covered day.
-- Sources: ibkr.md 12, tracker.md 5.

-- A status that few trades have (cancelled, expired) is found without walking all the others.
create index trades_status_idx on ibkr.trades (status, coalesce(last_executed_at, fetched_at) desc, id desc);

create view ibkr.v_day_runs as
    select c.account_id, g.day::date as day, c.run_id, r.source, c.is_complete, r.started_at, c.covered_from, c.covered_to
      from ibkr.sync_coverage c
      join ibkr.sync_runs r on r.id = c.run_id and r.kind = 'executions'
      join ibkr.accounts a on a.id = c.account_id
     cross join lateral generate_series(
         date_trunc('day', c.covered_from at time zone a.flex_time_zone),
         date_trunc('day', (c.covered_to - interval '1 microsecond') at time zone a.flex_time_zone),
         interval '1 day') as g(day)
     where c.covered_from is not null;
comment on view ibkr.v_day_runs is 'Each run of executions with every day, in the account''s statement zone, that its coverage touches.';

grant select on ibkr.v_day_runs to ibkr_reader, ibkr_writer, desk_operator;
