-- The figures of a day before a split, published again after it, counted what was closed between the two in the units of its own
-- time, while marks are told in today's: the day was worth half of what it had said on its evening. Moves of quantity are counted in
-- today's units. Source: tracker.md 4.3; ledger.md 8; decision 0080.
--
-- A materialized view cannot be changed in place: those that stand on it go with it, and are made again in the same transaction from
-- what the catalog says of them, their indexes, comments and grants included. Nobody sees it missing.

-- second step of 0024: whoever asks for these views finds them as before, with the same columns, when this transaction is over
do $$
declare
    made_again text[];
    one        text;
    found_path text := current_setting('search_path');
begin
    perform set_config('search_path', 'pg_catalog', true);
    with recursive standing as (
        select 'metrics.day_moves'::regclass::oid as view
        union
        select r.ev_class
          from standing s
          join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = s.view and d.classid = 'pg_rewrite'::regclass
          join pg_rewrite r on r.oid = d.objid
    )
    select array_agg(x.made order by c.oid, x.n)
      into made_again
      from standing s
      join pg_class c on c.oid = s.view and s.view <> 'metrics.day_moves'::regclass
     cross join lateral (
           select 1 as n, format('create %s %s as %s', case c.relkind when 'm' then 'materialized view' else 'view' end,
                                 c.oid::regclass, pg_get_viewdef(c.oid)) as made
           union all
           select 2, pg_get_indexdef(i.indexrelid) from pg_index i where i.indrelid = c.oid
           union all
           select 3, format('comment on %s %s is %L', case c.relkind when 'm' then 'materialized view' else 'view' end,
                            c.oid::regclass, obj_description(c.oid, 'pg_class'))
            where obj_description(c.oid, 'pg_class') is not null
           union all
           select 4, format('grant %s on %s to %I', g.privilege_type, c.oid::regclass, pg_get_userbyid(g.grantee))
             from aclexplode(c.relacl) g where g.grantee <> c.relowner) as x;

    drop materialized view metrics.day_moves cascade;

    -- As before, but for the units.
    create materialized view metrics.day_moves as
        with split as materialized (
            select distinct p.book_id, p.instrument_id
              from metrics.day_positions p
              join ledger.v_split_history j on j.book_id = p.book_id and j.instrument = p.instrument_id
        )
        select p.report_date, p.book_id, p.position_id, m.happened_at, metrics.minute_of(m.happened_at, d.session_open) as minute,
               case when m.happened_at <= d.previous_close then 0 when m.happened_at < d.window_start then 1 else 2 end as stretch,
               m.is_opening, m.quantity * u.units as quantity, coalesce(m.basis, 0) as basis,
               case when m.basis is null then m.quantity * u.units else 0 end as of_unknown,
               m.quantity * m.price as notional, m.realized_pnl
          from metrics.day_positions p
          join metrics.work_days d on d.report_date = p.report_date
         cross join lateral (
               (select true as is_opening, l.opened_at as happened_at, l.quantity, l.cost_basis as basis, l.price,
                       null::numeric as realized_pnl, l.opened_at, l.split_factor
                  from ledger.v_lots l
                 where l.book_id = p.book_id and l.position_id = p.position_id and l.opened_at <= d.last_at
                 order by l.opened_at offset 0)
               union all
               (select false, c.executed_at, -c.quantity, -(l.cost_basis * c.quantity / l.quantity), l.price, c.realized_pnl,
                       l.opened_at, l.split_factor
                  from (select * from ledger.v_closings c
                         where c.book_id = p.book_id and c.position_id = p.position_id and c.executed_at <= d.last_at
                         order by c.executed_at offset 0) as c
                 cross join lateral (select * from ledger.v_lots l where l.book_id = p.book_id and l.lot_id = c.lot_id offset 0) as l
                offset 0)) as m
         cross join lateral (
               select case when (p.book_id, p.instrument_id) in (select * from split)
                           then ledger.units_missed(p.book_id, p.instrument_id, m.opened_at, m.split_factor)
                           else 1 end as units) as u
         where p.is_counted;
    comment on materialized view metrics.day_moves is 'Openings and closings of the days'' positions as signed moves of quantity (in today''s units), basis and notional.';

    foreach one in array made_again loop
        execute one;
    end loop;
    perform set_config('search_path', found_path, true);
end
$$;
