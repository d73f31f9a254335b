-- Room replay: what a comparison and a gap report read of signal, and the earliest difference of a comparison first.
--
-- A ticker whose outcomes are equal and of which only a figure differs comes after those whose outcomes differ: where two runs
-- part is the first line of the list.

grant select on signal.v_freshness, signal.v_why to replay_writer;

create or replace view replay.v_comparison as
    select c.comparison_id, c.a, c.b, c.identical, c.totals, c.positions, c.tickers, c.divergent, c.recorded_at,
           (select jsonb_agg(to_jsonb(d) - 'comparison_id'
                             order by coalesce(d.detail ? 'figuresOnly', false), d.ts, d.ticker)
              from replay.divergences d where d.comparison_id = c.comparison_id) as divergences
      from replay.comparisons c;
comment on view replay.v_comparison is 'Comparisons with the first difference of each ticker: where the runs part comes first.';

create index comparisons_by_left on replay.comparisons (a, recorded_at desc);
create index comparisons_by_right on replay.comparisons (b, recorded_at desc);
