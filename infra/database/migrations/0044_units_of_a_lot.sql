-- A lot that was closed before a split never went through it and counts in the units of its own time, while marks of its instrument
-- are told in today's: a past day was worth half of what it was where all of it was sold before shares were doubled. What is held at
-- such a moment is counted in today's units, as its price is. Source: tracker.md 4.3; ledger.md 8.

-- How many of today's units one of a lot's is: the splits after its opening, less those it went through; 1 but for a lot that ended
-- before one of them.
create function ledger.units_missed(book text, name text, opened timestamptz, factor numeric)
returns numeric language sql stable as $$
    select coalesce(round(exp(sum(ln(j.ratio_num::numeric(40,20) / j.ratio_den))) / factor, 10), 1)
      from (select distinct on (adjustment_id) * from ledger.v_split_history
             where book_id = book and instrument = name
             order by adjustment_id, version desc) as j
     where not j.is_void and j.effective_at > opened
$$;
revoke all on function ledger.units_missed(text, text, timestamptz, numeric) from public;
grant execute on function ledger.units_missed(text, text, timestamptz, numeric)
    to ledger_reader, ledger_writer, ledger_maintenance, tracker_reader, snapshot_reader;

-- As before, but for the units.
create or replace function ledger.worth_at(asked_books text[], asked_ns integer[], asked_held timestamptz[], asked_valued timestamptz[])
returns table (n integer, book_id text, currency text, open_positions bigint, unrealized numeric, lacks_unrealized bigint, net numeric,
               gross numeric, lacks_worth bigint, outlay numeric, lacks_outlay bigint, stale bigint, missing_marks text[])
language sql stable as $$
    with asked as (
        select x.book_id, array_agg(x.n order by x.held_at, x.n) as ns, array_agg(x.held_at order by x.held_at, x.n) as held_ats,
               array_agg(x.valued_at order by x.held_at, x.n) as valued_ats, min(x.held_at) as first_at, max(x.held_at) as last_at
          from unnest(asked_books, asked_ns, asked_held, asked_valued) as x(book_id, n, held_at, valued_at)
         group by x.book_id
    ), split as materialized (
        select distinct j.book_id, j.instrument from asked a join ledger.v_split_history j on j.book_id = a.book_id
    ), lots as materialized (
        select l.book_id, l.position_id, sum(l.quantity_open) as quantity,
               case when bool_and(l.cost_basis is not null) then sum(l.cost_basis * l.quantity_open / l.quantity) end as basis,
               case when bool_and(l.fees is not null) then sum(l.fees * l.quantity_open / l.quantity) end as fees
          from asked a
         cross join lateral (select * from ledger.v_lots o where o.book_id = a.book_id and o.quantity_open > 0 offset 0) as l
         group by l.book_id, l.position_id
    )
    select w.n, w.book_id, w.currency, count(*), coalesce(sum(w.unrealized), 0), count(*) filter (where w.unrealized is null),
           coalesce(sum(w.sign * w.worth), 0), coalesce(sum(abs(w.worth)), 0), count(*) filter (where w.worth is null),
           coalesce(sum(w.outlay), 0), count(*) filter (where w.outlay is null), count(*) filter (where w.is_stale),
           coalesce(array_agg(distinct w.symbol order by w.symbol) filter (where w.price is null), '{}')
      from (select m.n, p.book_id, p.currency, p.symbol, k.price, k.as_of < m.valued_at - interval '15 minutes 1 microsecond' as is_stale, s.sign,
                   k.price * h.quantity * p.multiplier as worth,
                   s.sign * (k.price * h.quantity * p.multiplier - h.basis) as unrealized,
                   case when p.cash_style = 'full' then s.sign * h.basis else h.fees end as outlay
              from asked a
             cross join lateral (
                   (select * from ledger.v_positions q
                     where q.book_id = a.book_id and q.status = 'OPEN' and q.opened_at <= a.last_at offset 0)
                   union all
                   (select * from ledger.v_positions q
                     where q.book_id = a.book_id and q.status = 'CLOSED' and q.closed_at > a.first_at and q.opened_at <= a.last_at
                       and width_bucket(q.opened_at - interval '1 microsecond', a.held_ats)
                           < width_bucket(q.closed_at - interval '1 microsecond', a.held_ats)
                     order by q.closed_at, q.opened_at offset 0)) as p
              left join lots l on l.book_id = p.book_id and l.position_id = p.position_id
             cross join lateral generate_series(
                   width_bucket(p.opened_at - interval '1 microsecond', a.held_ats) + 1,
                   coalesce(width_bucket(p.closed_at - interval '1 microsecond', a.held_ats), cardinality(a.held_ats))) as i
             cross join lateral (select a.ns[i] as n, a.held_ats[i] as held_at, a.valued_ats[i] as valued_at) as m
             cross join lateral (
                   select case p.direction when 'LONG' then 1 else -1 end as sign,
                          p.status = 'OPEN' and p.last_action_at <= m.held_at as is_still,
                          p.quantity_closed = 0 and p.cash_style = 'full' as is_whole,
                          (p.book_id, p.instrument_id) in (select * from split) as is_split) as s
             cross join lateral (
                   select case when s.is_whole then p.quantity_open else l.quantity end as quantity,
                          case when s.is_whole then p.cost_basis else l.basis end as basis,
                          case when not s.is_whole then l.fees end as fees
                    where s.is_still
                   union all
                   (select sum(v.held * v.units), case when bool_and(v.cost_basis is not null) then sum(v.cost_basis * v.held / v.quantity) end,
                           case when bool_and(v.fees is not null) then sum(v.fees * v.held / v.quantity) end
                      from (select o.quantity, o.cost_basis, o.fees, o.quantity - coalesce(c.quantity, 0) as held,
                                   case when s.is_split
                                        then ledger.units_missed(o.book_id, p.instrument_id, o.opened_at, o.split_factor)
                                        else 1 end as units
                              from ledger.v_lots o
                              left join lateral (
                                    select sum(v.quantity) as quantity from ledger.v_closings v
                                     where v.book_id = o.book_id and v.lot_id = o.lot_id and v.executed_at <= m.held_at offset 0) as c on true
                             where not s.is_still and o.book_id = p.book_id and o.position_id = p.position_id
                               and o.opened_at <= m.held_at
                            offset 0) as v
                     where v.held > 0 and not s.is_still)) as h
              left join lateral (
                   select v.price, v.marked_at as as_of from ledger.v_mark_history v
                    where not s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                      and v.bucket_at < m.valued_at and v.bucket_at >= m.valued_at - interval '4 days' and v.marked_at < m.valued_at
                    order by v.bucket_at desc limit 1) as r on true
              left join lateral (
                   (select v.price, v.marked_at as as_of from ledger.v_mark_history v
                     where not s.is_split and r.price is null and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at - interval '4 days' and v.marked_at < m.valued_at
                     order by v.bucket_at desc limit 1)
                   union all
                   (select v.price, v.as_of from ledger.v_marks v
                     where s.is_split and v.book_id = p.book_id and v.instrument_id = p.instrument_id
                       and v.bucket_at < m.valued_at and v.as_of < m.valued_at
                     order by v.bucket_at desc limit 1)) as e on true
             cross join lateral (select coalesce(r.price, e.price) as price, coalesce(r.as_of, e.as_of) as as_of) as k
             where h.quantity > 0) as w
     group by w.n, w.book_id, w.currency
$$;
